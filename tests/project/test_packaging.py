"""What ``pip install`` brings: the wheel and the sdist, built from a copy of the sources and looked
into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from darknet_builder import __version__

ROOT = Path(__file__).parents[2]
PARTS = ("cfg", "darknet_builder", "docs", "scripts", "tests", "weights")
BUILD = (
    "from setuptools import build_meta; print(build_meta.build_sdist('dist')); "
    "print(build_meta.build_wheel('dist'))"
)
USE = """
import sys
from darknet_builder.cli import main
assert main(["detect", sys.argv[1], "--save-csv", "--quiet"]) == 0
assert main(["dump", "yolov4-tiny"]) == 0
main(["--version"])
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Built:
    """The two files, and what was said while they were made."""

    wheel: Path
    sdist: Path
    log: str

    def wheel_names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def sdist_names(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """From a copy, by the build backend itself: nothing is fetched, and the sources stay clean."""
    pytest.importorskip("setuptools", reason="setuptools, the build backend, is not installed")
    folder = tmp_path_factory.mktemp("sources")
    for part in PARTS:
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "_build")
        )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    result = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    sdist, wheel = (
        folder / "dist" / f"darknet_builder-{__version__}.tar.gz",
        next((folder / "dist").glob("*.whl")),
    )
    yield Built(wheel, sdist, result.stdout + result.stderr)
    shutil.rmtree(folder)


def test_nothing_is_warned_of(built: Built) -> None:
    """But for what the environment of the tests switches off."""
    lines = [
        line
        for line in built.log.splitlines()
        if "warning" in line.lower() or "deprecat" in line.lower()
    ]
    assert [
        line
        for line in lines
        if "byte-compiling" not in line and not line.startswith(("adding", "copying"))
    ] == []


def test_the_wheel_has_everything_that_runs(built: Built) -> None:
    names = built.wheel_names()
    assert built.wheel.name == f"darknet_builder-{__version__}-py3-none-any.whl"
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "darknet_builder").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted |= {f"darknet_builder/bundled_cfg/{path.name}" for path in (ROOT / "cfg").iterdir()}
    wanted.add("darknet_builder/bundled_weights/shapes.weights")
    lesson = (ROOT / "tests" / "golden" / "lesson").iterdir()
    wanted |= {f"darknet_builder/bundled_lesson/{path.name}" for path in lesson}
    assert {name for name in names if ".dist-info/" not in name} == wanted
    with zipfile.ZipFile(built.wheel) as archive:
        for name in ("cfg/yolov4.cfg", "cfg/coco.names", "weights/shapes.weights"):
            assert archive.read(f"darknet_builder/bundled_{name}") == (ROOT / name).read_bytes()
        facts = f"darknet_builder-{__version__}.dist-info"
        assert (
            "darknet-builder = darknet_builder.cli.program:main"
            in archive.read(f"{facts}/entry_points.txt").decode()
        )
        assert f"{facts}/licenses/LICENSE" in names


def test_the_sdist_is_the_whole_project(built: Built) -> None:
    """So that its own tests run from it."""
    names = built.sdist_names()
    wanted = {
        str(path.relative_to(ROOT))
        for part in PARTS
        for path in (ROOT / part).rglob("*")
        if path.is_file() and not {"__pycache__", "_build"} & {*path.parts}
    }
    assert {name for name in wanted - names if not name.startswith("weights/")} == set()
    assert {
        "Makefile",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "README.zh-CN.md",
        "constraints.txt",
        "pyproject.toml",
        "setup.cfg",
        "weights/shapes.weights",
        "weights/README.md",
    } <= names


def test_what_is_in_the_wheel_runs_from_any_folder(built: Built, tmp_path: Path) -> None:
    """With the bundled detector, and a bundled cfg by its name."""
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "work").mkdir()
    shutil.copy(
        ROOT / "docs" / "images" / "scenes" / "scene-1.jpg", tmp_path / "work" / "photo.jpg"
    )
    result = subprocess.run(
        [sys.executable, "-c", USE, "photo.jpg"],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        result.stdout.splitlines()[-1] == f"darknet-builder {__version__}"
        and "38 layers, " in result.stdout
    )
    found = (tmp_path / "work" / "output" / "detections.csv").read_text()
    assert "ring" in found and (tmp_path / "work" / "output" / "photo.jpg").is_file()
