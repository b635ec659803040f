"""House rules that a machine can hold: imports go down, nothing prints, every layer keeps the contract."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import darknet_builder
from darknet_builder import layers as _layers  # noqa: F401  (registers every section)
from darknet_builder.layers.base import Head, Layer, register, registered_sections

PACKAGE = Path(darknet_builder.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
RANKS = [
    {"__init__", "audit", "errors", "files", "interruption", "pages.*", "shapes"},
    {"devices", "engine_names", "extras", "output", "resources"},
    {"activations", "boxes", "detections", "dialects", "model_files", "parser"},
    {"arguments", "cfg_files", "images", "layers.base", "options", "trees"},
    {"layers.heads", "layers.memory", "layers.parts"},
    {"layers.*"},
    {"layers.conv_recurrent", "layers.recurrent"},
    {"layers.__init__", "factory"},
    {"network"},
    {"augmentation", "average_precision", "classifiers", "datasets", "downloads", "drawing", "export_check",
     "folding", "histograms", "initialization", "losses.*", "onnx_graph", "parameter_groups", "postprocess", "scenes",
     "schedules", "sources", "summary", "torch_files", "weights"},
    {"averaging", "checkpoints", "classifier_data", "darknet_files", "diagram", "processes", "tracing",
     "training_data"},
    {"oddities", "run_log", "trials"},
    {"step_totals", "training_settings"},
    {"fused", "memory"},
    {"engine_base", "engines"},
    {"compile_engine", "onnxruntime_engine", "openvino_engine", "torch_engine"},
    {"engine_choice"},
    {"benchmark", "inference"},
    {"loading"},
    {"*"},
    {"benchmark_pipeline", "benchmark_training"},
    {"commands.*"},
    {"cli"},
]
"""From the bottom up; a file imports lower ranks only. ``*`` is whatever no other rank names."""


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
        folder = name.split(".")[0] if "." in name else ""
        if folder in ("losses", "commands") and other.split(".")[0] == folder:
            continue
        target = other if (PACKAGE / f"{other.replace('.', '/')}.py").is_file() else f"{other}.__init__"
        assert rank_of(target) < rank_of(name), f"{name} imports {other}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_the_package_never_prints(path: Path) -> None:
    """Commands write to the stream they are given."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if getattr(node.func, "id", "") == "print"]


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
        assert layer_class.is_head and layer_class.decode is not Head.decode
    assert "Block" not in str(inspect.signature(layer_class.__init__))


def test_a_section_is_registered_once() -> None:
    """Two files cannot claim one name."""
    with pytest.raises(ValueError, match=r"^\[maxpool\] is registered twice: Maxpool, Other$"):
        @register("maxpool")
        class Other(Layer):
            """Never made."""
