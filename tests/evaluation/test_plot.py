"""Precision-recall curves as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder.errors import InputError
from darknet_builder.evaluation.darknet_map import ImageBoxes, mean_average_precision
from darknet_builder.evaluation.plot import plot_curves
from darknet_builder.support.figures import check_plot

pytest.importorskip("matplotlib", reason="the extra 'evaluate' is not installed")


def boxes(classes: int) -> list[ImageBoxes]:
    """One object of each class but the last; those of even number are found."""
    truths = np.array([[0.5, 0.5, 0.2, 0.2, index] for index in range(classes - 1)], np.float32)
    found = truths[::2]
    return [
        ImageBoxes(
            found[:, :4],
            np.linspace(0.9, 0.5, len(found)).astype(np.float32),
            found[:, 4].astype(np.int32),
            truths,
            (100, 100),
        )
    ]


def texts(path: Path) -> list[str]:
    """Return the texts of an SVG, which matplotlib writes as comments beside the outlines."""
    return [
        line.strip()[5:-4]
        for line in path.read_text().splitlines()
        if line.strip().startswith("<!-- ")
    ]


def test_few_classes_are_named_the_best_first(tmp_path: Path) -> None:
    result = mean_average_precision(boxes(5), ["a", "b", "c", "d", "never"])
    plot_curves(result, tmp_path / "x.svg", "title")
    assert texts(tmp_path / "x.svg")[-5:] == [
        "a  1.000",
        "c  1.000",
        "b  0.000",
        "d  0.000",
        "mean of 4 classes  0.500",
    ]
    assert "title" in texts(tmp_path / "x.svg")


def test_dollars_are_no_formula(tmp_path: Path) -> None:
    r"""Matplotlib reads what is between two ``$`` as a formula; ``\q`` is none."""
    names = ["$1 and $2", r"$\q$", "c"]
    plot_curves(mean_average_precision(boxes(3), names), tmp_path / "x.svg", "$x$")
    words = texts(tmp_path / "x.svg")
    assert words[-3:-1] == ["$1 and $2  1.000", r"$\q$  0.000"] and "$x$" in words


def test_many_classes_are_grey(tmp_path: Path) -> None:
    result = mean_average_precision(boxes(41), [f"class{index}" for index in range(41)])
    plot_curves(result, tmp_path / "x.svg")
    words = texts(tmp_path / "x.svg")
    assert words[-1] == "mean of 40 classes  0.500"
    assert not [word for word in words if word.startswith("class")]


def test_nothing_to_draw(tmp_path: Path) -> None:
    nothing = mean_average_precision(
        [
            ImageBoxes(
                np.zeros((0, 4), np.float32),
                np.zeros(0, np.float32),
                np.zeros(0, np.int32),
                np.zeros((0, 5), np.float32),
                (10, 10),
            )
        ],
        ["a"],
    )
    plot_curves(nothing, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    check_plot(tmp_path / "x.PNG")
    with pytest.raises(InputError, match="cannot be written: No such file or directory$"):
        plot_curves(mean_average_precision(boxes(3), ["a", "b", "c"]), tmp_path / "no" / "x.png")
