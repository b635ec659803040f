"""``from darknet_builder import ...``: one list of public names, which the pages use alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from types import ModuleType

import pytest

import darknet_builder
from tests.project.test_docs import PAGES, ROOT, Fence, fences

PROMISED = [
    "build_network",
    "load_weights",
    "save_weights",
    "Network",
    "parse_cfg",
    "format_cfg",
    "Block",
    "Detector",
    "Classifier",
    "Detections",
    "draw_detections",
    "read_names",
    "Trainer",
    "TrainSettings",
    "export_network",
    "ExportSettings",
    "mean_average_precision",
    "find_boxes",
    "find_unregistered",
    "summarize",
    "DarknetError",
    "CfgError",
    "CfgWarning",
    "DataError",
    "DataWarning",
    "DownloadError",
    "ExportError",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "ShapeError",
    "Suppression",
    "WeightsError",
]
"""What a user needs for the whole way from a cfg to numbers."""
DOORS = "darknet_builder.compat"
"""The room whose modules are public: each has the names of another program."""
SHOWS_INSIDES = {"CONTRIBUTING.md", "docs/contributing.md"}
"""Pages for those who change the package."""


def python_blocks() -> list[Fence]:
    """Those of README.md and docs/."""
    names = {str(page.relative_to(ROOT)): page for page in PAGES}
    return [
        block
        for name, page in names.items()
        if name not in SHOWS_INSIDES
        for block in fences(name, page.read_text())
        if block.language == "python"
    ]


def inner_modules(code: str) -> set[str]:
    """The modules within the package that code imports from."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    inner = {name for name in found if name.startswith("darknet_builder.")}
    return {name for name in inner if name != DOORS and not name.startswith(f"{DOORS}.")}


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_public(name: str) -> None:
    """They stand in the one list."""
    assert name in darknet_builder.__all__


@pytest.mark.parametrize("name", darknet_builder.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    """None of them is a module that happens to have the name."""
    assert not isinstance(getattr(darknet_builder, name), ModuleType)


def test_every_kind_of_error_is_public() -> None:
    """Whoever catches one needs its name."""
    from darknet_builder import errors

    kinds = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type)
        and issubclass(thing, darknet_builder.DarknetError | Warning)
        and thing.__module__ == errors.__name__
    }
    assert kinds <= set(darknet_builder.__all__)


def test_an_unknown_name_fails_as_usual() -> None:
    """With the words of Python's own error."""
    with pytest.raises(
        AttributeError, match="^module 'darknet_builder' has no attribute 'load_wieghts'$"
    ):
        darknet_builder.load_wieghts  # noqa: B018


def test_the_face_imports_nothing_heavy() -> None:
    """A public name brings what it needs, and no other."""
    code = (
        "import sys; from darknet_builder import DIALECTS, parse_cfg, read_names;"
        "sys.exit(str([name for name in ('cv2', 'numpy', 'torch') if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr == "[]\n"


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: f"{block.page}:{block.line}")
def test_pages_import_public_names_alone(block: Fence) -> None:
    """No reader needs to know in which room a name lives."""
    assert not inner_modules(block.code)


def test_inner_imports_are_found() -> None:
    """In each way to write them, wherever they stand."""
    code = """
import darknet_builder, torch
import darknet_builder.images as images
from darknet_builder import parse_cfg
from darknet_builder.compat import opencv as dnn
def late():
    from darknet_builder.boxes.drawing import draw_detections
"""
    assert inner_modules(code) == {"darknet_builder.images", "darknet_builder.boxes.drawing"}
    assert python_blocks(), "there are pages to look at"
