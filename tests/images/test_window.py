"""A window, with a stand-in for OpenCV's."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from darknet_builder.errors import InputError
from darknet_builder.images import window
from darknet_builder.images.window import Window, check_window

IMAGE = np.zeros((48, 64, 3), np.uint8)


class Fake(SimpleNamespace):
    """The functions of OpenCV's windows; keys are pressed one after the other."""

    WINDOW_NORMAL, WND_PROP_VISIBLE = 0, 4

    def __init__(self, *keys: int) -> None:
        self.keys, self.calls, self.visible = list(keys), [], 1.0
        for name in ("namedWindow", "resizeWindow", "imshow", "destroyWindow"):
            setattr(self, name, lambda *words, name=name: self.calls.append(name))

    def waitKey(self, milliseconds: int) -> int:
        """The next key; -1 for none."""
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, title: str, which: int) -> float:
        """1 while it can be seen."""
        return self.visible


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """OpenCV without a screen."""
    stand_in = Fake()
    monkeypatch.setattr(window, "load_opencv", lambda: stand_in)
    return stand_in


def test_frames(fake: Fake) -> None:
    """One window for all of them."""
    shown = Window("camera")
    assert [shown.show(IMAGE), shown.show(IMAGE)] == [True, True]
    shown.close()
    assert fake.calls == ["namedWindow", "resizeWindow", "imshow", "imshow", "destroyWindow"]


def test_a_photograph_waits_for_a_key(fake: Fake) -> None:
    """Any key goes on."""
    fake.keys = [-1, -1, ord("n")]
    assert Window("photo").show(IMAGE, wait=True)
    assert fake.keys == []


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27, 0x10001B])
def test_keys_that_end(fake: Fake, key: int) -> None:
    """q and Esc, also with the bits of Caps Lock above them."""
    fake.keys = [key]
    assert not Window("camera").show(IMAGE)


def test_a_closed_window(fake: Fake) -> None:
    """Is an end as well, and is not waited for."""
    fake.visible = 0.0
    shown = Window("camera")
    assert not shown.show(IMAGE, wait=True)
    shown.close()
    assert "destroyWindow" not in fake.calls


def test_a_window_that_was_never_needed(fake: Fake) -> None:
    """Nothing to close."""
    Window("camera").close()
    assert fake.calls == []


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (1, "error: The function is not implemented. Rebuild the library with ...",
         "this OpenCV is built without windows; pip uninstall opencv-python-headless, then pip"
         " install opencv-python"),
        (-6, "could not connect to display :9", "the screen cannot be reached"),
    ],
)  # fmt: skip
def test_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, status: int, stderr: str, reason: str
) -> None:
    """The reason in one line."""
    result = SimpleNamespace(returncode=status, stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: result)
    monkeypatch.setenv("DISPLAY", ":9")
    with pytest.raises(InputError) as raised:
        check_window()
    assert str(raised.value) == f"no window can be opened: {reason}"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is on Linux")
def test_a_screen_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV aborts the other process, not this one."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", "127.0.0.1:9999")
    with pytest.raises(InputError, match="no window can be opened: "):
        check_window()
    assert os.environ["DISPLAY"] == "127.0.0.1:9999"
