"""OpenCV is loaded in one place, quietly, and its absence is reported."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from darknet_builder.errors import MissingExtraError
from darknet_builder.images import opencv
from darknet_builder.images.files import read_image
from darknet_builder.images.opencv import load_opencv


def test_a_missing_opencv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""

    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(opencv, "import_module", fail)
    with pytest.raises(MissingExtraError) as raised:
        load_opencv()
    assert (
        str(raised.value)
        == "OpenCV is not installed (No module named 'cv2'): pip install opencv-python, or "
        "opencv-python-headless, which needs no system libraries"
    )


def test_a_missing_library_of_the_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of opencv-python 5 on a bare Debian is explained."""

    def fail(name: str) -> None:
        raise ImportError("libxcb.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(opencv, "import_module", fail)
    with pytest.raises(MissingExtraError) as raised:
        read_image("photo.jpg")
    assert (
        str(raised.value)
        == "OpenCV cannot be loaded: libxcb.so.1: cannot open shared object file: No such file or"
        " directory; install the system libraries that it needs (Debian, Ubuntu: apt-get"
        " install libgl1 libglib2.0-0), or use the build without them (pip uninstall"
        " opencv-python, then pip install opencv-python-headless)"
    )


def test_opencv_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's log is off, unless the user sets a level."""
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "48")
    load_opencv()
    assert (
        os.environ["OPENCV_LOG_LEVEL"] == "SILENT" and os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "48"
    )


def test_opencv_is_imported_in_one_place() -> None:
    """One module reports its absence; ``peer_worker.py`` has an OpenCV of its own, and so has what
    the reader of a chapter writes."""
    package = Path(opencv.__file__).parents[1]
    statement = re.compile(r'^\s*(import|from) cv2|"cv2"', re.MULTILINE)
    importing = [path.name for path in package.rglob("*.py") if statement.search(path.read_text())]
    assert sorted(importing) == ["chapter6.py", "opencv.py", "peer_worker.py"]
