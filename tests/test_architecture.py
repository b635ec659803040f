"""House rules that a machine can hold: imports go one way, rooms stay small, nothing prints."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from darknet_builder import layers as _layers  # noqa: F401  (registers every section)
from darknet_builder.layers.base import Head, Layer, register, registered_sections
from tests.helpers.rooms import ORDER, PACKAGE, SOURCES, module_name, rank_of, room_of, rooms

UPWARD = {("network.network", "engines.optimized")}
"""The one import that may go up: ``Network.optimized`` makes a fast path, as ``Module.compile``
does in PyTorch."""
FAMILIES = {"layers", "cli.commands"}
"""Rooms of equal siblings, which may have more files than others."""
ROOM_SIZES = range(3, 13)
FREE = (
    "layers", "losses", "network.folding", "engines.fused", "cfg.synonyms", "compat.opencv.names",
    "lessons.scratch", "lessons.marker",
)  # fmt: skip
"""What may name sections: those who make them, those who teach them, those whose trade is
convolutions, a table of another program's words for them, and the lesson that writes them again
without the package."""
PLAIN_WORDS = {
    ("images.fits", "crop"): "a way to fit an image",
    ("images.crop", "crop"): "a way to fit an image",
    ("pages.diagram", "route"): "a kind of line",
    ("pages.templates", "route"): "the colour of a kind of line",
}
"""(module, word): words that happen to be a section's name too, and what they mean there."""


def is_free(module: str) -> bool:
    """Whether a module may name sections."""
    return any(module == free or module.startswith(f"{free}.") for free in FREE)


@cache
def tree_of(path: Path) -> ast.Module:
    """A file, read once for all rules; no rule changes it."""
    return ast.parse(path.read_text())


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file."""
    return tuple(ast.walk(tree_of(path)))


def runtime_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node but those for type checkers alone."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def as_module(dotted: str) -> str:
    """``darknet_builder.boxes`` -> ``boxes.__init__``; ``darknet_builder.errors`` -> ``errors``."""
    name = dotted.removeprefix("darknet_builder").lstrip(".")
    is_folder = (PACKAGE / name.replace(".", "/")).is_dir()
    return f"{name}.__init__".lstrip(".") if is_folder else name


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The package's modules that a file imports."""
    return frozenset(imported_modules(tree_of(path)))


def imported_modules(tree: ast.Module) -> set[str]:
    """The package's modules that a file imports, inside functions and by a string as well."""
    names: set[str] = set()
    for node in runtime_nodes(tree):
        if isinstance(node, ast.ImportFrom) and room_of(node.module or "") == "darknet_builder":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                path = PACKAGE.parent / whole.replace(".", "/")
                is_module = path.with_suffix(".py").is_file() or path.is_dir()
                names.add(as_module(whole if is_module else node.module or ""))
        elif isinstance(node, ast.Import):
            names |= {
                as_module(alias.name)
                for alias in node.names
                if alias.name.startswith("darknet_builder.")
            }
        elif isinstance(node, ast.Call) and _called(node) == "import_module":
            literal = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            names |= {
                as_module(str(text)) for text in literal if str(text).startswith("darknet_builder")
            }
    return names - {"__init__"}


def _called(node: ast.Call) -> str:
    """The last word of what is called: ``importlib.import_module`` -> ``import_module``."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def test_imports_go_one_way() -> None:
    """To the own room and to rooms further left; one import is permitted by name."""
    arrows = {
        (module_name(path), other)
        for path in SOURCES
        if module_name(path) != "__init__"
        for other in imports_of(path)
    }
    assert {
        (name, other)
        for name, other in arrows - UPWARD
        if room_of(other) != room_of(name) and rank_of(other) >= rank_of(name)
    } == set()


def test_imports_in_functions_and_by_name_are_seen() -> None:
    """The ways to hide an import from a quick look."""
    source = """
import importlib
from importlib import import_module
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from darknet_builder.cli import main
def late():
    from darknet_builder.engines.optimized import optimize
    import_module("darknet_builder.weights.loader")
    importlib.import_module("darknet_builder.boxes")
"""
    assert imported_modules(ast.parse(source)) == {
        "engines.optimized",
        "weights.loader",
        "boxes.__init__",
    }


def test_no_circle() -> None:
    """A file can be read before those that import it."""
    arrows = {module_name(path): set(imports_of(path)) for path in SOURCES}
    for source, target in UPWARD:
        assert target in arrows[source], "the permitted import is not used any more"
        arrows[source].discard(target)
    rest = {name: set(others) for name, others in arrows.items()}
    while rest:
        leaves = {name for name, others in rest.items() if not others & rest.keys()}
        assert leaves, f"a circle among {sorted(rest)}"
        rest = {name: others for name, others in rest.items() if name not in leaves}


@pytest.mark.parametrize("room", sorted(set(rooms()) - {""}))
def test_a_room_has_3_to_12_files(room: str) -> None:
    """So that it can be kept in the head; sections and commands may be more."""
    assert room in FAMILIES or len(rooms()[room]) in ROOM_SIZES, rooms()[room]


def test_the_top_level_is_the_architecture() -> None:
    """Rooms, and the two files that all rooms use."""
    assert sorted(rooms()[""]) == ["errors", "shapes"]
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= set(" ".join(ORDER).split())


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("cli/commands/*.py")), ids=module_name)
def test_commands_do_not_import_each_other(path: Path) -> None:
    """What two of them need is in the library."""
    others = {f"cli.commands.{stem}" for stem in rooms()["cli.commands"]}
    assert not imports_of(path) & others


@pytest.mark.parametrize("room", sorted(set(rooms()) - {""}))
def test_a_face_name_hides_no_module(room: str) -> None:
    """``from room import name`` gives the public name, not a module of that name."""
    face = import_module(f"darknet_builder.{room}")
    names = getattr(face, "__all__", [])
    assert not set(names) & set(rooms()[room])
    assert all(hasattr(face, name) for name in names)


def test_the_package_never_prints() -> None:
    """Commands write to the stream they are given."""
    assert [
        (module_name(path), node.lineno)
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ] == []


OPTION = re.compile(r'(?<![{;("])--[A-Za-z]')
"""An option such as --init; the properties of a style sheet (``var(--color)``) do not count."""


def below_the_command_line(path: Path) -> bool:
    """Whether a module is used by programs, not only by commands."""
    return room_of(module_name(path)) != "cli"


def test_the_library_does_not_speak_the_command_line() -> None:
    """Its texts name arguments; the command line names its own options
    (``DarknetError.describe``)."""
    assert [
        (module_name(path), node.lineno, node.value)
        for path in SOURCES
        if below_the_command_line(path)
        for node in nodes_of(path)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and OPTION.search(node.value)
    ] == []


def test_sizes() -> None:
    """No body of a function over 40 lines, no file over 400; everything annotated, documented."""
    for path in SOURCES:
        name, tree = module_name(path), tree_of(path)
        assert len(path.read_text().splitlines()) <= 400, name
        assert ast.get_docstring(tree), f"{name} does not say what it is for"
        nested = _nested_functions(path)
        for node in functions_of(path):
            where = f"{name}: {node.name}"
            assert body_lines(node) <= 40, where
            assert node.returns is not None or node.name == "__init__", where
            # Of overloads, the implementation has the docstring (ruff D418).
            if not node.name.startswith("_") and not _is_overload(node):
                assert ast.get_docstring(node) or node in nested, f"{where} has no docstring"


def functions_of(path: Path) -> list[ast.FunctionDef]:
    """The functions of a file, of its classes and of its functions."""
    return [node for node in nodes_of(path) if isinstance(node, ast.FunctionDef)]


def body_lines(function: ast.FunctionDef) -> int:
    """The lines of a function without its docstring."""
    first, whole = function.body[0], (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    return whole - ((first.end_lineno or 0) - first.lineno + 1)


def _is_overload(function: ast.FunctionDef) -> bool:
    """Whether a function is only a signature of another one."""
    return any(getattr(decorator, "id", "") == "overload" for decorator in function.decorator_list)


def _nested_functions(path: Path) -> set[ast.AST]:
    """What stands inside a function of a file."""
    return {
        inner
        for function in functions_of(path)
        for inner in ast.walk(function)
        if inner is not function
    }


def test_most_functions_are_short() -> None:
    """Nine of ten bodies under 20 lines."""
    lengths = sorted(body_lines(node) for path in SOURCES for node in functions_of(path))
    assert lengths[int(len(lengths) * 0.9)] < 20


@pytest.mark.parametrize(("name", "layer_class"), registered_sections().items())
def test_layer_contract(name: str, layer_class: type[Layer]) -> None:
    """Everything that Darknet knows of a section is in its class."""
    assert name in layer_class.spellings and layer_class.section == layer_class.spellings[0]
    assert layer_class.from_block.__func__ is not Layer.from_block.__func__  # type: ignore[attr-defined]
    assert layer_class.forward is not Layer.forward or hasattr(layer_class, "step")
    assert layer_class.dialects
    if issubclass(layer_class, Head):
        assert (
            layer_class.is_head and layer_class.has_loss and layer_class.decode is not Head.decode
        )
    assert "Block" not in str(inspect.signature(layer_class.__init__))


def words_compared(path: Path) -> set[str]:
    """The strings of a file that something is compared with or looked up by, or that stand in a
    list to do so."""
    nodes: list[ast.AST | None] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Compare):
            nodes += [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            nodes += node.keys
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            nodes += node.elts
        elif isinstance(node, ast.Subscript):
            nodes.append(node.slice)
        elif isinstance(node, ast.MatchValue):
            nodes.append(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
            "get",
            "startswith",
            "endswith",
        ):
            nodes += node.args
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_no_other_module_names_a_section() -> None:
    """What depends on a section is an attribute of its class; the list of exceptions has nothing
    that is not needed."""
    sections = set(registered_sections())
    found = {
        (module_name(path), word)
        for path in SOURCES
        if not is_free(module_name(path))
        for word in words_compared(path) & sections
    }
    assert found == set(PLAIN_WORDS)


def layer_classes_imported(path: Path) -> set[str]:
    """The kinds of layer that a file imports by name, but for the two that all others are made
    of."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "darknet_builder.layers"
        ):
            module = import_module(node.module or "")
            things = {alias.name: getattr(module, alias.name, None) for alias in node.names}
            found |= {
                name
                for name, thing in things.items()
                if isinstance(thing, type)
                and issubclass(thing, Layer)
                and thing not in (Layer, Head)
            }
    return found


def test_no_other_module_imports_the_class_of_a_section() -> None:
    """They ask ``Layer`` and ``Head``."""
    assert {
        (module_name(path), name)
        for path in SOURCES
        if not is_free(module_name(path))
        for name in layer_classes_imported(path)
    } == set()


def test_what_the_search_for_sections_finds(tmp_path: Path) -> None:
    """Each way to ask for a section, and none of the ways to use the same word otherwise."""
    path = tmp_path / "asks.py"
    path.write_text("""
from darknet_builder.layers.base import Head, Layer
from darknet_builder.layers.heads.yolo import Yolo
KINDS = ("route", "sam")
FILES = {"softmax": 1}
def ask(layer, block, sections):
    if layer.section == "yolo" or block.name in ["region"] or "cost" != block.name:
        return sections["crnn"], sections.get("lstm"), block.name.startswith("conv")
    match layer.section:
        case "gru":
            return block.get_int("dropout", 0), f"no [maxpool]", dict(crop=1)
""")
    assert words_compared(path) == {
        "route",
        "sam",
        "softmax",
        "yolo",
        "region",
        "cost",
        "crnn",
        "lstm",
        "conv",
        "gru",
    }
    assert layer_classes_imported(path) == {"Yolo"}


def test_a_section_is_registered_once() -> None:
    """Two files cannot claim one name."""
    with pytest.raises(ValueError, match=r"^\[maxpool\] is registered twice: Maxpool, Other$"):

        @register("maxpool")
        class Other(Layer):
            """Never made."""
