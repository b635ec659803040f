"""What answers at once: help, mistakes, lists and cfg text come without PyTorch."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from darknet_builder.cli.commands import command_names

ROOT = Path(__file__).parents[2]
CFG = str(ROOT / "cfg" / "yolov3-tiny.cfg")
PROBE = """
import json, sys
from darknet_builder.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as stop:  # argparse
    status = stop.code
imported = [name for name in ("cv2", "numpy", "torch") if name in sys.modules]
sys.stderr.write("\\n" + json.dumps([status, imported]))
"""


def run(*words: str) -> tuple[int, list[str]]:
    """The program in a process of its own: its exit status, and which heavy packages it imported."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True
    )
    status, imported = json.loads(result.stderr.splitlines()[-1])
    return status, imported


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["help"], 0),
        (["help", "train"], 0),
        ([], 0),
        (["detct"], 2),
        (["detect", "a.jpg", "--fromat", "json"], 2),
        (["get-weights", "--list"], 0),
        (["get-weights", "yolov3-tny"], 2),
        (["dump", CFG, "--what", "blocks"], 0),
        (["dump", "none.cfg", "--what", "blocks"], 2),
        (["check", "none.cfg"], 1),
        (["adapt-cfg", CFG, "--output", "my.cfg"], 2),
        (["darknet", "detecter", "test"], 1),
        (["darknet"], 1),
        (["lesson", "fault", "list"], 0),
        (["lesson", "fault", "solution", "best_is_lost"], 2),
        (["adapt-cfg", "none.cfg", "--classes", "3", "--output", "my.cfg"], 2),
    ],
)
def test_nothing_heavy_is_imported(words: list[str], status: int) -> None:
    """Commands that build no network import neither PyTorch nor NumPy nor OpenCV."""
    assert run(*words) == (status, [])


def test_completion_imports_nothing_heavy() -> None:
    """Although the script has the options of every command."""
    pytest.importorskip("shtab")
    assert run("completion", "bash") == (0, [])


@pytest.mark.parametrize("name", command_names())
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    """Choices and defaults come from modules without PyTorch."""
    assert run(name, "--help") == (0, [])


def test_what_builds_layers_imports_torch() -> None:
    """So that the tests above would notice it."""
    status, imported = run("check", CFG)
    assert status == 0 and "torch" in imported


NEEDLESS = "matplotlib onnx onnxruntime openvino pandas supervision sympy tensorboard torch._dynamo"
"""What detecting does not need; importing sympy alone takes half a second."""


def needless_imports(code: str, *words: str) -> list[str]:
    """Return those of ``NEEDLESS`` that a process has imported after running some code."""
    end = f"\nimport sys\nprint([name for name in {NEEDLESS.split()} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code + end, *words], capture_output=True, text=True, check=True
    )
    found: list[str] = ast.literal_eval(result.stdout.splitlines()[-1])
    return found


def test_building_imports_no_compiler() -> None:
    """PyTorch imports its compiler for random values without memory, and sympy for allocating."""
    code = """
import sys
from darknet_builder import build_network
for section, dialect in (("implicit", "alexeyab"), ("deconvolutional", "pjreddie")):
    build_network(f"[net]\\nwidth=8\\nheight=8\\nchannels=3\\n[{section}]\\n", dialect=dialect)
"""
    assert needless_imports(code) == []


def test_detecting_imports_only_what_it_needs(tmp_path: Path) -> None:
    code = "import sys\nfrom darknet_builder.cli import main\nassert main(sys.argv[1:]) == 0"
    scene = str(ROOT / "docs" / "images" / "scenes" / "scene-0.jpg")
    assert needless_imports(code, "detect", scene, "--output", str(tmp_path)) == []
