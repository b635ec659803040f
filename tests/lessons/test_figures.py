"""The numbers in the figures of the lessons, and the files that the pages show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder.boxes.overlap import iou
from scripts.figures import FIGURES, FOLDER, THEMES, draw, numbers

DOCS = Path(__file__).parents[2] / "docs"


def test_the_grids_are_those_of_the_lessons_network() -> None:
    large, small = numbers.grids()
    assert (large.cells, large.stride, small.cells, small.stride) == (8, 8.0, 16, 4.0)
    assert large.anchors == ((20.0, 20.0), (28.0, 36.0), (44.0, 40.0))
    assert small.anchors == ((6.0, 6.0), (9.0, 12.0), (14.0, 10.0))


def test_stretch_fills_the_input_and_letterbox_has_margins() -> None:
    stretched, placement = numbers.fitted("stretch")
    assert stretched.shape == (192, 192, 3) and placement.inner_size == (192, 192)
    boxed, placement = numbers.fitted("letterbox")
    assert placement.inner_size == (192, 115)
    assert (boxed[:38] == 0.5).all() and (boxed[38] != 0.5).any()
    # Red, green, blue as in the picture, which nothing has turned round.
    means = numbers.wide_picture().reshape(-1, 3).mean(0) / 255
    assert np.allclose(stretched.reshape(-1, 3).mean(0), means, atol=0.01)


def test_overlaps_and_their_gradients() -> None:
    positions = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
    found = numbers.overlaps(positions)
    value, gradient = found["IoU"]
    # 1 x 3.4 and 2 x 2, half of whose width overlaps at x = 1: 0.5 * 2 of 3.4 + 4 - 1.
    assert value[3] == pytest.approx(1 / 6.4) and value[0] == 0
    assert gradient[0].tolist() == [0, 0, 0, 0] and gradient[3, 0] < 0 < gradient[1, 0]
    for name in ("GIoU", "DIoU", "CIoU"):
        value, gradient = found[name]
        assert value[0] < 0 and gradient[0, 0] > 0 > gradient[4, 0], name
    assert found["CIoU"][1][2, 2] > found["DIoU"][1][2, 2]  # the box is too narrow


def test_the_gradient_is_the_slope() -> None:
    step = 1e-3
    boxes = torch.tensor([[1.0 - step, 0.0, *numbers.MOVING_SIZE], [1 + step, 0, 1, 3.4]])
    low, high = iou(boxes.double(), torch.tensor(numbers.TRUTH).double())
    gradient = numbers.overlaps(torch.tensor([1.0]))["IoU"][1]
    assert gradient[0, 0] == pytest.approx(float(high - low) / (2 * step), rel=1e-3)


def test_the_optimiser_has_nothing_of_a_plain_list() -> None:
    seen = numbers.seen_by_optimiser()
    assert [sum(column) for column in zip(*seen["plain list"], strict=True)] == [0, 29]
    assert [sum(column) for column in zip(*seen["nn.ModuleList"], strict=True)] == [29, 29]
    assert len(seen["plain list"]) == 20


def test_the_rates_are_those_of_lesson_8() -> None:
    page = (DOCS / "lessons.md").read_text(encoding="utf-8")
    rates = numbers.rates()
    shown = dict(re.findall(r"^(\w+) +(\d{50})$", page, re.MULTILINE))
    assert list(shown) == list(rates)
    for policy, digits in shown.items():
        curve = [rates[policy][update - 1] / numbers.RATE for update in range(8, 401, 8)]
        assert "".join(str(round(9 * height)) for height in curve) == digits


def test_the_gradient_at_a_route_is_the_sum_of_its_readers() -> None:
    whole, parts = numbers.gradients_at_route()
    assert torch.allclose(whole, parts[7] + parts[16])
    half = len(whole) // 2
    assert not parts[7][:half].any() and parts[7][half:].any()
    assert all(parts[16].flatten(1).any(1))


def test_training_made_the_weights_wider() -> None:
    for name, (before, after) in numbers.weights_before_and_after().items():
        assert 1.9 < after.std() / before.std() < 5.1, name


def test_the_pages_show_every_figure_in_both_themes() -> None:
    for page in ("lessons.md", "lessons.zh-CN.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        shown = set(re.findall(r'(?:src|srcset)="(images/lessons/[^"]+)"', text))
        assert shown == {
            f"images/lessons/{name}-{theme.name}.{suffix}"
            for name, (_, suffix) in FIGURES.items()
            for theme in THEMES
        }
        assert all((DOCS / path).is_file() for path in shown)
    assert {path.name for path in FOLDER.iterdir()} == {Path(path).name for path in shown}


def test_a_figure_is_written_for_both_themes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra evaluate)")
    light, dark = draw("rates", tmp_path)
    assert THEMES[0].ink in light.read_text() and THEMES[1].ink in dark.read_text()
    assert "policy=sgdr" in light.read_text() and "<dc:date>" not in light.read_text()
