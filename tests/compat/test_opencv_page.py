"""docs/from-opencv.md: the program before and after differs in one line, and draws what it says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.opencv_names import keep_opencv_names
from tests.project.test_docs import ROOT, check_page, fences

PAGE = ROOT / "docs" / "from-opencv.md"
OLD, NEW = "from cv2 import dnn", "from darknet_builder.compat import opencv as dnn"


def test_one_line_is_changed() -> None:
    """The program after is the program before with the other import."""
    programs = [
        fence.code for fence in fences(PAGE.name, PAGE.read_text()) if "def " not in fence.code
    ]
    (before,) = [code for code in programs if "readNetFromDarknet(" in code and OLD in code]
    (after,) = [code for code in programs if "readNetFromDarknet(" in code and NEW in code]
    changed = [
        pair
        for pair in zip(before.splitlines(), after.splitlines(), strict=True)
        if len(set(pair)) > 1
    ]
    assert changed == [(OLD, NEW)]


@pytest.mark.skipif(hasattr(cv2.dnn, "readNetFromDarknet"), reason="this OpenCV has an importer")
def test_the_old_line_fails_in_this_opencv() -> None:
    """So the program runs because of its new line."""
    with pytest.raises(AttributeError, match="readNetFromDarknet"):
        cv2.dnn.readNetFromDarknet("cfg/shapes.cfg", "weights/shapes.weights")  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_program_draws_its_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of pure red where nothing was red before."""
    monkeypatch.chdir(ROOT)
    keep_opencv_names(monkeypatch)
    with torch.random.fork_rng(devices=[]):
        check_page(PAGE.name, PAGE.read_text(encoding="utf-8"))
    before, after = map(cv2.imread, ("docs/images/scenes/scene-1.jpg", "output/from-opencv.png"))
    assert before is not None and after is not None and before.shape == after.shape
    was_red, is_red = ((np.array([0, 0, 255]) == image).all(2) for image in (before, after))
    assert not was_red.any()
    assert is_red.sum() > 1000 and is_red[153, 130:187].all()  # the upper side of the first ring
    Path("output/from-opencv.png").unlink()
