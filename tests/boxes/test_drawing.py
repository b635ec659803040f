"""Annotated pictures: inside the picture, readable, a stable colour a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes import drawing
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.drawing import class_color, draw_detections
from darknet_builder.errors import InputError

NAMES = tuple(f"object {index}" for index in range(90))
GREY = 120


def canvas(width: int, height: int) -> np.ndarray:
    """A picture with nothing on it."""
    return np.full((height, width, 3), GREY, np.uint8)


def found(
    width: int, height: int, *boxes: tuple[float, float, float, float], class_id: int = 0
) -> Detections:
    """Detections with falling scores."""
    scores = np.linspace(0.95, 0.3, len(boxes))
    return Detections(
        np.array(boxes).reshape(-1, 4), scores, [class_id] * len(boxes), NAMES, (width, height)
    )


def placed(monkeypatch: pytest.MonkeyPatch, image: np.ndarray, detections: Detections) -> list[Any]:
    """Where each label came to lie: left, top, right, bottom."""
    places = []
    original = drawing._write

    def spy(cv2: Any, image: np.ndarray, label: Any, place: Any, color: Any) -> None:
        places.append(place)
        original(cv2, image, label, place, color)

    monkeypatch.setattr(drawing, "_write", spy)
    draw_detections(image, detections)
    return places


def test_the_picture_itself_is_not_touched() -> None:
    """A copy is drawn on, and only at the box and its label."""
    image = canvas(200, 100)
    drawn = draw_detections(image, found(200, 100, (50, 40, 150, 90)))
    assert (image == GREY).all()
    assert (drawn[60:70, 80:120] == GREY).all()  # within the box
    assert (drawn[95:, :] == GREY).all() and (drawn[:, :40] == GREY).all()
    assert (drawn[:, 50:53] != GREY).any()


def test_nothing_found_changes_nothing() -> None:
    """Not a pixel."""
    assert np.array_equal(draw_detections(canvas(50, 40), found(50, 40)), canvas(50, 40))


@pytest.mark.parametrize("class_id", [0, 3, 20, 40, 89])
def test_lines_have_the_classes_colour(class_id: int) -> None:
    """In the middle of an edge."""
    drawn = draw_detections(
        canvas(400, 400), found(400, 400, (100, 100, 300, 300), class_id=class_id)
    )
    assert tuple(drawn[200, 100]) == class_color(class_id)
    assert tuple(drawn[300, 200]) == class_color(class_id)


def test_colours_are_stable_and_apart() -> None:
    """The first 45 classes have 45 colours."""
    colors = [class_color(index) for index in range(45)]
    assert colors[0] == (0x4B, 0x19, 0xE6)
    assert len(set(colors)) == 45
    assert class_color(45) == colors[0]
    assert all(0 <= value <= 255 for color in colors for value in color)


@pytest.mark.parametrize(
    "size", [(8, 6), (64, 48), (640, 480), (480, 640), (4000, 3000), (1000, 20)]
)
@pytest.mark.parametrize(
    "where", [(0, 0), (0.5, 0.5), (0.95, 0.95), (0.95, 0), (-0.3, -0.2), (0.9, -0.5)]
)
def test_labels_stay_inside(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], where: tuple[float, float]
) -> None:
    """Whatever the size of the picture and the place of the box."""
    width, height = size
    left, top = where[0] * width, where[1] * height
    box = (left, top, left + 0.6 * width, top + 0.6 * height)
    for left, top, right, bottom in placed(monkeypatch, canvas(*size), found(*size, box)):
        assert 0 <= left < right <= width
        assert top >= 0 and (
            bottom <= height or height < 30
        )  # eight pixels of text need their room


def test_lines_and_letters_grow_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the size, about ten times the label."""
    heights = []
    for scale in (1, 10):
        size = (400 * scale, 300 * scale)
        ((_, top, _, bottom),) = placed(
            monkeypatch, canvas(*size), found(*size, (100, 100, 200, 200))
        )
        heights.append(bottom - top)
    assert heights[0] >= 12
    assert heights[1] / heights[0] == pytest.approx(10, rel=0.3)
    assert drawing._style(400, 300).line == 1
    assert drawing._style(4000, 3000).line == 14


def test_labels_keep_clear_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three objects in one place have three labels to read."""
    box = (100, 100, 300, 300)
    places = placed(monkeypatch, canvas(640, 480), found(640, 480, box, box, box))
    assert len(places) == 3
    for index, first in enumerate(places):
        assert not any(drawing._overlap(first, second) for second in places[index + 1 :])


def test_the_best_label_is_written_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """If labels overlap, the best one covers the others."""
    boxes = [(0, 0, 60, 30)] * 12
    texts = []
    monkeypatch.setattr(
        drawing, "_write", lambda cv2, image, label, place, color: texts.append(label.text)
    )
    draw_detections(canvas(60, 30), found(60, 30, *boxes))
    assert texts[-1] == "object 0 95%"
    assert texts[0] == "object 0 30%"


def test_text_stands_out_from_its_colour() -> None:
    """Black on bright, white on dark."""
    for class_id in (2, 5):  # yellow, purple
        drawn = draw_detections(
            canvas(640, 480), found(640, 480, (100, 100, 300, 300), class_id=class_id)
        )
        label = drawn[70:98, 100:200].reshape(-1, 3).astype(int)
        wanted = 0 if class_id == 2 else 255
        assert (np.abs(label - wanted).max(1) < 30).any()
        assert not (np.abs(label - (255 - wanted)).max(1) < 10).any()


def test_grey_pictures_become_coloured() -> None:
    """An array that is not a picture raises an error."""
    assert draw_detections(canvas(50, 40)[..., 0], found(50, 40, (5, 5, 30, 30))).shape == (
        40,
        50,
        3,
    )
    with pytest.raises(InputError, match="^expected a path or a NumPy array"):
        draw_detections(np.zeros((4, 4, 3)), found(4, 4))
