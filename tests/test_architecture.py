"""House rules that a machine can hold: imports go down, nothing prints, every layer keeps the contract."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import darknet_builder
from darknet_builder import layers as _layers  # noqa: F401  (registers every section)
from darknet_builder.layers.base import Head, Layer, register, registered_sections

PACKAGE = Path(darknet_builder.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
RANKS = [
    {"__init__", "audit", "engine_choices", "errors", "files", "interruption", "pages.*", "shapes"},
    {"devices", "diagnostics", "extras", "output", "resources"},
    {"activations", "boxes", "detections", "dialects", "model_files", "parser"},
    {"layers.registry", "layers.representation", "layers.weight_layout"},
    {"arguments", "cfg_files", "images", "options", "trees"},
    {"classifiers", "layers.base"},
    {"layers.heads", "layers.memory", "layers.parts"},
    {"layers.*"},
    {"layers.conv_recurrent", "layers.recurrent"},
    {"layers.__init__", "factory"},
    {"network"},
    {"augmentation", "average_precision", "datasets", "downloads", "drawing", "export_check",
     "folding", "histograms", "initialization", "losses.*", "onnx_graph", "parameter_groups", "postprocess", "scenes",
     "schedules", "score", "sources", "summary", "task", "torch_files", "weights"},
    {"averaging", "checkpoints", "classifier_data", "darknet_files", "diagram", "processes", "tracing",
     "training_chart", "training_curves"},
    {"oddities", "step_totals", "training_data", "training_validation", "trials"},
    {"sample_sheet", "training_line"},
    {"run_log"},
    {"training_settings"},
    {"training_files"},
    {"training_checkpoints"},
    {"fused", "memory"},
    {"engines"},
    {"memory"},
    {"benchmark", "inference"},
    {"loading"},
    {"*"},
    {"benchmark_pipeline", "benchmark_training", "validators"},
    {"training_lists"},
    {"commands.*"},
    {"cli"},
]
"""From the bottom up; a file imports lower ranks only. ``*`` is whatever no other rank names."""
FREE = ("layers", "losses", "folding", "fused")
"""What may name sections: those who make them, those who teach them, and those whose trade is convolutions."""
PLAIN_WORDS = {
    ("activations", "logistic"): "an activation",
    ("classifiers", "crop"): "a way to fit an image",
    ("diagram", "route"): "a kind of line",
    ("images", "crop"): "a way to fit an image",
    ("pages.__init__", "route"): "the colour of a kind of line",
}
"""(module, word): words that happen to be a section's name too, and what they mean there."""
UPWARD = {("network", "inference")}
"""The one import that may go up: ``Network.optimized`` makes a fast path, as ``Module.compile`` does in PyTorch."""


def module_name(path: Path) -> str:
    """``darknet_builder/layers/yolo.py`` -> ``layers.yolo``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def rank_of(name: str) -> int:
    """The index of the rank that names a module, or its folder, or everything."""
    folder = f"{name.split('.')[0]}.*" if "." in name else "*"
    for wanted in (name, folder, "*"):
        for index, names in enumerate(RANKS):
            if wanted in names:
                return index
    raise AssertionError(name)


def imported_modules(path: Path) -> set[str]:
    """The package's modules that a file imports when it runs (not those for type checkers alone)."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "darknet_builder":
            base = node.module.split(".")[1:]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                names.add(whole if (PACKAGE / f"{whole.replace('.', '/')}.py").is_file() else ".".join(base))
    return {name for name in names if name}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    """Within a folder of one rank (losses, commands), a file may use its package's base."""
    name = module_name(path)
    for other in imported_modules(path):
        if (name, other) in UPWARD:
            continue
        folder = name.split(".")[0] if "." in name else ""
        if folder in ("losses", "commands") and other.split(".")[0] == folder:
            continue
        target = other if (PACKAGE / f"{other.replace('.', '/')}.py").is_file() else f"{other}.__init__"
        assert rank_of(target) < rank_of(name), f"{name} imports {other}"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("commands/*.py")), ids=module_name)
def test_commands_do_not_import_each_other(path: Path) -> None:
    """What two of them need is in the library."""
    assert not [name for name in imported_modules(path) if name.startswith("commands.")]


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_the_package_never_prints(path: Path) -> None:
    """Commands write to the stream they are given."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if getattr(node.func, "id", "") == "print"]


COMMAND_LINE = {"arguments", "cli", "detection_files", "model_arguments", "output", "progress"}
"""Modules that may name options of the command line, as all of ``commands`` may."""
OPTION = re.compile(r'(?<![{;"])--[A-Za-z]')
"""An option such as --init; the properties of a style sheet (``{--color: ...}``) are none."""


def below_the_command_line(path: Path) -> bool:
    """Whether a module is used by programs, not only by commands."""
    return module_name(path) not in COMMAND_LINE and not module_name(path).startswith("commands.")


@pytest.mark.parametrize("path", [path for path in SOURCES if below_the_command_line(path)], ids=module_name)
def test_the_library_does_not_speak_the_command_line(path: Path) -> None:
    """Its texts name arguments; the command line names its own options (``DarknetError.describe``)."""
    strings = [node for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [(node.lineno, node.value) for node in strings if OPTION.search(node.value)] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_sizes(path: Path) -> None:
    """No function over 60 lines, no file over 400; everything annotated and documented."""
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree), "a module says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
            assert node.returns is not None or node.name == "__init__", node.name
            if not node.name.startswith("_"):
                assert ast.get_docstring(node) or _is_nested(tree, node), f"{node.name} has no docstring"


def _is_nested(tree: ast.Module, function: ast.FunctionDef) -> bool:
    """Whether a function stands inside another one."""
    return any(function in ast.walk(node) and node is not function
               for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_most_functions_are_short() -> None:
    """Nine of ten under 25 lines."""
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for path in SOURCES
                     for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    assert lengths[int(len(lengths) * .9)] < 25


@pytest.mark.parametrize(("name", "layer_class"), registered_sections().items())
def test_layer_contract(name: str, layer_class: type[Layer]) -> None:
    """Everything that Darknet knows of a section is in its class."""
    assert name in layer_class.spellings and layer_class.section == layer_class.spellings[0]
    assert layer_class.from_block.__func__ is not Layer.from_block.__func__  # type: ignore[attr-defined]
    assert layer_class.forward is not Layer.forward or hasattr(layer_class, "step")
    assert layer_class.dialects
    if issubclass(layer_class, Head):
        assert layer_class.is_head and layer_class.has_loss and layer_class.decode is not Head.decode
    assert "Block" not in str(inspect.signature(layer_class.__init__))


def words_compared(path: Path) -> set[str]:
    """The strings of a file that something is compared with or looked up by, or that stand in a list to do so."""
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
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("get", "startswith", "endswith"):
            nodes += node.args
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_other_module_names_a_section(path: Path) -> None:
    """What depends on a section is an attribute of its class; the list of exceptions has nothing that is not needed."""
    name = module_name(path)
    if name.split(".")[0] in FREE:
        return
    found = words_compared(path) & set(registered_sections())
    assert found == {word for module, word in PLAIN_WORDS if module == name}


def layer_classes_imported(path: Path) -> set[str]:
    """The kinds of layer that a file imports by name, but for the two that all others are made of."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("darknet_builder.layers"):
            module = import_module(node.module or "")
            things = {alias.name: getattr(module, alias.name, None) for alias in node.names}
            found |= {name for name, thing in things.items()
                      if isinstance(thing, type) and issubclass(thing, Layer) and thing not in (Layer, Head)}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_other_module_imports_the_class_of_a_section(path: Path) -> None:
    """They ask ``Layer`` and ``Head``."""
    if module_name(path).split(".")[0] not in FREE:
        assert not layer_classes_imported(path)


def test_what_the_search_for_sections_finds(tmp_path: Path) -> None:
    """Each way to ask for a section, and none of the ways to use the same word otherwise."""
    path = tmp_path / "asks.py"
    path.write_text("""
from darknet_builder.layers.base import Head, Layer
from darknet_builder.layers.yolo import Yolo
KINDS = ("route", "sam")
FILES = {"softmax": 1}
def ask(layer, block, sections):
    if layer.section == "yolo" or block.name in ["region"] or "cost" != block.name:
        return sections["crnn"], sections.get("lstm"), block.name.startswith("conv")
    match layer.section:
        case "gru":
            return block.get_int("dropout", 0), f"no [maxpool]", dict(crop=1)
""")
    assert words_compared(path) == {"route", "sam", "softmax", "yolo", "region", "cost", "crnn", "lstm", "conv", "gru"}
    assert layer_classes_imported(path) == {"Yolo"}


def test_a_section_is_registered_once() -> None:
    """Two files cannot claim one name."""
    with pytest.raises(ValueError, match=r"^\[maxpool\] is registered twice: Maxpool, Other$"):
        @register("maxpool")
        class Other(Layer):
            """Never made."""
