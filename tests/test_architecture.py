"""House rules that a machine can hold: imports go one way, rooms stay small, nothing prints."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
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


def runtime_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node but those for type checkers alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    yield from ast.walk(tree)


def as_module(dotted: str) -> str:
    """``darknet_builder.boxes`` -> ``boxes.__init__``; ``darknet_builder.errors`` -> ``errors``."""
    name = dotted.removeprefix("darknet_builder").lstrip(".")
    is_folder = (PACKAGE / name.replace(".", "/")).is_dir()
    return f"{name}.__init__".lstrip(".") if is_folder else name


def imported_modules(source: str) -> set[str]:
    """The package's modules that a file imports, inside functions and by a string as well."""
    names: set[str] = set()
    for node in runtime_nodes(ast.parse(source)):
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
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            literal = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            names |= {
                as_module(str(text)) for text in literal if str(text).startswith("darknet_builder")
            }
    return names - {"__init__"}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    """To the own room and to rooms further left; one import is permitted by name."""
    name = module_name(path)
    if name == "__init__":
        return
    for other in imported_modules(path.read_text()):
        allowed = room_of(other) == room_of(name) or (name, other) in UPWARD
        assert allowed or rank_of(other) < rank_of(name), f"{name} imports {other}"


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
    assert imported_modules(source) == {"engines.optimized", "weights.loader", "boxes.__init__"}


def test_no_circle() -> None:
    """A file can be read before those that import it."""
    arrows = {module_name(path): imported_modules(path.read_text()) for path in SOURCES}
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
    assert not imported_modules(path.read_text()) & others


@pytest.mark.parametrize("room", sorted(set(rooms()) - {""}))
def test_a_face_name_hides_no_module(room: str) -> None:
    """``from room import name`` gives the public name, not a module of that name."""
    face = import_module(f"darknet_builder.{room}")
    names = getattr(face, "__all__", [])
    assert not set(names) & set(rooms()[room])
    assert all(hasattr(face, name) for name in names)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_the_package_never_prints(path: Path) -> None:
    """Commands write to the stream they are given."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if getattr(node.func, "id", "") == "print"]


OPTION = re.compile(r'(?<![{;("])--[A-Za-z]')
"""An option such as --init; the properties of a style sheet (``var(--color)``) do not count."""


def below_the_command_line(path: Path) -> bool:
    """Whether a module is used by programs, not only by commands."""
    return room_of(module_name(path)) != "cli"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if below_the_command_line(path)], ids=module_name
)
def test_the_library_does_not_speak_the_command_line(path: Path) -> None:
    """Its texts name arguments; the command line names its own options
    (``DarknetError.describe``)."""
    strings = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [(node.lineno, node.value) for node in strings if OPTION.search(node.value)] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_sizes(path: Path) -> None:
    """No body of a function over 40 lines, no file over 400; everything annotated, documented."""
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree), "a module says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert body_lines(node) <= 40, node.name
            assert node.returns is not None or node.name == "__init__", node.name
            # Of overloads, the implementation has the docstring (ruff D418).
            if not node.name.startswith("_") and not _is_overload(node):
                assert ast.get_docstring(node) or _is_nested(tree, node), (
                    f"{node.name} has no docstring"
                )


def body_lines(function: ast.FunctionDef) -> int:
    """The lines of a function without its docstring."""
    first, whole = function.body[0], (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    return whole - ((first.end_lineno or 0) - first.lineno + 1)


def _is_overload(function: ast.FunctionDef) -> bool:
    """Whether a function is only a signature of another one."""
    return any(getattr(decorator, "id", "") == "overload" for decorator in function.decorator_list)


def _is_nested(tree: ast.Module, function: ast.FunctionDef) -> bool:
    """Whether a function stands inside another one."""
    return any(
        function in ast.walk(node) and node is not function
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    )


def test_most_functions_are_short() -> None:
    """Nine of ten bodies under 20 lines."""
    lengths = sorted(
        body_lines(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    )
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
    for node in ast.walk(ast.parse(path.read_text())):
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


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_other_module_names_a_section(path: Path) -> None:
    """What depends on a section is an attribute of its class; the list of exceptions has nothing
    that is not needed."""
    name = module_name(path)
    if is_free(name):
        return
    found = words_compared(path) & set(registered_sections())
    assert found == {word for module, word in PLAIN_WORDS if module == name}


def layer_classes_imported(path: Path) -> set[str]:
    """The kinds of layer that a file imports by name, but for the two that all others are made
    of."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
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


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_other_module_imports_the_class_of_a_section(path: Path) -> None:
    """They ask ``Layer`` and ``Head``."""
    if not is_free(module_name(path)):
        assert not layer_classes_imported(path)


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
