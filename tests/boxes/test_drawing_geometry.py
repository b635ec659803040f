"""Where boxes, labels, lines and trails are drawn, in whole pixels, and in which colours."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes import drawing
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.drawing import class_color, draw_detections, draw_line, draw_trails
from darknet_builder.boxes.tracks import LineCounter, Trails
from darknet_builder.images.opencv import load_opencv

CALLS = ("rectangle", "line", "arrowedLine", "polylines", "putText")


class Recorder:
    """OpenCV, but that it notes what it is to draw, without the canvas."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.sizes: tuple[tuple[int, int], int] | None = None
        self.cv2 = load_opencv()

    def __getattr__(self, name: str) -> Any:
        if name == "getTextSize" and self.sizes:
            return lambda *_: self.sizes
        if name not in CALLS:
            return getattr(self.cv2, name)

        def note(canvas: np.ndarray, *args: Any, **options: Any) -> None:
            plain = [arg.tolist() if isinstance(arg, np.ndarray) else arg for arg in args]
            self.calls.append((name, tuple(plain), options))

        return note

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of one function, of each call."""
        return [args for called, args, _ in self.calls if called == name]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Everything in ``drawing`` draws with it."""
    one = Recorder()
    monkeypatch.setattr(drawing, "load_opencv", lambda: one)
    return one


STYLES: list[tuple[tuple[int, int], int, float, int, int]] = [
    ((8, 6), 1, 8, 1, 2),
    ((400, 300), 1, 9.1, 1, 2),
    ((700, 500), 2, 15.6, 2, 4),
    ((500, 1000), 3, 19.5, 2, 5),
    ((500, 1001), 3, 19.513, 2, 5),
    ((4000, 3000), 14, 91, 10, 23),
]


def test_style() -> None:
    """By the mean side: 0.4 % for a line, 2.6 % for a letter, which has 8 pixels or more."""
    for size, line, letters, stroke, padding in STYLES:
        style = drawing._style(*size)
        assert (style.line, style.stroke, style.padding) == (line, stroke, padding)
        assert style.font_scale == pytest.approx(letters / 21)


COLOURS: list[tuple[int, tuple[int, int, int]]] = [
    (0, (75, 25, 230)),
    (1, (75, 180, 60)),
    (14, (128, 159, 255)),
    (15, (165, 140, 242)),  # half-way to white
    (30, (45, 15, 138)),  # 40 % of the way to black
    (36, (146, 127, 40)),
    (45, (75, 25, 230)),
]


def test_colours() -> None:
    """Blue, green, red."""
    for class_id, color in COLOURS:
        assert class_color(class_id) == color


EDGES: list[tuple[tuple[float, ...], tuple[int, ...]]] = [
    ((10.4, 20.6, 97.6, 45.4), (10, 21, 98, 45)),
    ((0, 0, 100, 50), (0, 0, 99, 49)),
    ((98.4, 48.4, 99, 49), (98, 48, 99, 49)),
    ((99.6, 49.6, 100, 50), (99, 49, 99, 49)),
]


def test_edges_of_a_box() -> None:
    """The nearest pixels of an image of 100 x 50."""
    for box, pixels in EDGES:
        assert drawing._to_pixels(list(box), np.zeros((50, 100, 3), np.uint8)) == pixels


def label(width: int = 10, height: int = 6, line: int = 2) -> drawing._Label:
    """A label of a size."""
    return drawing._Label("cat", width, height, 1, drawing._Style(line, 1.0, 1, 2))


PLACES: list[tuple[tuple[int, int, int, int], list[tuple[int, int]]]] = [
        # above, inside at the top, below, inside at the bottom: each on the left, then the right
        ((20, 20, 60, 40), [(19, 13), (51, 13), (19, 21), (51, 21), (19, 41), (51, 41), (19, 33),
                            (51, 33)]),
        ((20, 7, 60, 25), [(19, 0), (51, 0), (19, 8), (51, 8), (19, 26), (51, 26), (19, 18)]),
        # no room above; none on the left
        ((0, 6, 60, 25), [(0, 7), (51, 7), (0, 26), (51, 26), (0, 18), (51, 18), (0, 0), (51, 0)]),
        # just room below; just room on the right
        ((30, 20, 99, 53), [(29, 13), (90, 13), (29, 21), (90, 21), (29, 54), (90, 54), (29, 46)]),
        # no room below, which leaves the place at the edge to the last; none on the right
        ((30, 20, 104, 54), [(29, 13), (90, 13), (29, 21), (90, 21), (29, 47), (90, 47),
                             (29, 54), (90, 54)]),
    ]  # fmt: skip


def test_places_of_labels() -> None:
    """In this order, in an image of 100 x 60: the first that is free."""
    for box, corners in PLACES:
        canvas = np.zeros((60, 100, 3), np.uint8)
        taken: list[tuple[int, int, int, int]] = []
        for x, y in corners:
            assert drawing._place(label(), box, taken, canvas) == (x, y, x + 10, y + 6)
            taken.append((x + 1, y + 1, x + 2, y + 2))


def test_the_first_place_if_all_are_taken() -> None:
    """Better labels cover it."""
    canvas = np.zeros((60, 100, 3), np.uint8)
    everything = [(0, 0, 100, 60)]
    assert drawing._place(label(), (20, 20, 60, 40), everything, canvas) == (19, 13, 29, 19)
    assert drawing._place(label(100, 60), (20, 20, 60, 40), [], canvas) == (0, 0, 100, 60)


SHIFTS: list[int] = [-1, 0, 1]


def test_touching_is_not_overlapping() -> None:
    """On each of the four sides of a rectangle from (10, 10) to (20, 20)."""
    for shift in SHIFTS:
        first = (10, 10, 20, 20)
        for second in (
            (0, 12, 10 + shift, 15),
            (20 - shift, 12, 30, 15),
            (12, 0, 15, 10 + shift),
            (12, 20 - shift, 15, 30),
        ):
            assert drawing._overlap(first, second) is drawing._overlap(second, first) is (shift > 0)
        assert drawing._overlap(first, first)


PLATES: list[tuple[tuple[int, int, int], bool]] = [
    ((255, 0, 0), False),
    ((0, 200, 0), False),
    ((0, 255, 0), True),  # 149.7
    ((0, 0, 255), False),
    ((0, 150, 255), True),  # 164.3
    ((255, 190, 0), True),  # 140.6
    ((255, 188, 0), False),  # 139.4
    ((20, 235, 0), True),  # 140.2
    ((15, 235, 0), False),  # 139.7
    ((2, 232, 12), False),  # 140, which is not above it
    ((255, 0, 255), False),
]


def test_letters_on_a_colour(recorder: Recorder) -> None:
    """Black where the luma, .114 blue + .587 green + .299 red, is above 140; the text begins at
    the padding, and its letters stand on the baseline."""
    for color, is_bright in PLATES:
        recorder.calls.clear()
        cv2: Any = recorder
        one = drawing._Label("cat", 30, 12, 3, drawing._Style(1, 0.5, 2, 4))
        drawing._write(cv2, np.zeros((60, 100, 3), np.uint8), one, (10, 20, 40, 32), color)
        assert recorder.of("rectangle") == [((10, 20), (39, 31), color, cv2.FILLED)]
        letters = (0, 0, 0) if is_bright else (255, 255, 255)
        font = cv2.FONT_HERSHEY_SIMPLEX
        assert recorder.of("putText") == [("cat", (14, 25), font, 0.5, letters, 2, cv2.LINE_AA)]


ROOMS: list[tuple[int, float, int, int]] = [
    (106, 0.5, 3, 106),
    (107, 0.5, 3, 106),
    (105, 0.5 * 0.99, 1, 105),
    (6, 0.5 * 0.01, 1, 6),
]


def test_size_of_a_label() -> None:
    """100 pixels of text and 3 of padding on each side; smaller letters if the image is narrower,
    with at least a pixel for them."""
    for room, scale, stroke, width in ROOMS:

        class Measure(ModuleType):
            FONT_HERSHEY_SIMPLEX = 5

            @staticmethod
            def getTextSize(text: str, font: int, scale: float, stroke: int) -> Any:  # noqa: N802
                assert (text, font) == ("cat", 5)
                height, below = {3: (20, 4), 1: (10, 2)}[stroke]
                return (round(200 * scale), height), below

        found = drawing._fit_label(Measure("cv2"), "cat", drawing._Style(1, 0.5, 3, 3), room)
        assert (found.style.font_scale, found.style.stroke) == (pytest.approx(scale), stroke)
        assert (found.text, found.width, found.style.line, found.style.padding) == (
            "cat",
            width,
            1,
            3,
        )
        assert (found.height, found.below) == ((30, 4) if stroke == 3 else (18, 2))


def test_what_is_drawn_for_objects(recorder: Recorder) -> None:
    """The worst box first, then the worst label; each in the colour of its class."""
    boxes = [[10.2, 30, 60, 80], [100, 50.4, 250, 90]]
    found = Detections(boxes, [0.875, 0.25], [1, 0], ("cat", "dog"), (200, 100))
    draw_detections(np.zeros((100, 200, 3), np.uint8), found)
    outlines = recorder.of("rectangle")[:2]
    smooth = recorder.cv2.LINE_AA
    assert outlines == [
        ((100, 50), (199, 90), class_color(0), 1, smooth),
        ((10, 30), (60, 80), class_color(1), 1, smooth),
    ]
    assert [args[0] for args in recorder.of("putText")] == ["cat 25%", "dog 88%"]
    plates = recorder.of("rectangle")[2:]
    assert [args[2] for args in plates] == [class_color(0), class_color(1)]
    assert [args[0][0] for args in plates] == [100, 10]


@pytest.mark.parametrize("size", [(1000, 40), (40, 1000)])
def test_sizes_follow_the_image(recorder: Recorder, size: tuple[int, int]) -> None:
    """Lines and letters by both sides, the room of a label by the width alone."""
    width, height = size
    found = Detections([[5, 5, 35, 35]], [0.875], [0], ("a cat",), size)
    draw_detections(np.zeros((height, width, 3), np.uint8), found)
    style = drawing._style(width, height)
    outline, plate = recorder.of("rectangle")
    assert outline[3] == style.line == 2
    ((_, _, _, scale, *_),) = recorder.of("putText")
    is_narrow = width == 40
    assert (scale < style.font_scale) == is_narrow
    assert (plate[1][0] - plate[0][0] + 1 == 40) == is_narrow


def test_what_is_drawn_for_trails(recorder: Recorder) -> None:
    """An open line through the centres, to a sixteenth of a pixel."""
    trails = Trails()
    for left in (10, 20.5, 31.25):
        box = [[left, 40, left + 20, 60]]
        trails.update(Detections(box, [0.9], [1], ("cat", "dog"), (200, 100), track_ids=[1]))
    draw_trails(np.zeros((100, 200, 3), np.uint8), trails)
    points = [[[[20 * 16, 50 * 16]], [[488, 50 * 16]], [[660, 50 * 16]]]]
    smooth = recorder.cv2.LINE_AA
    assert recorder.of("polylines") == [(points, False, class_color(1), 1, smooth, 4)]
    style = drawing._style(2000, 1000)
    draw_trails(np.zeros((1000, 2000, 3), np.uint8), trails)
    assert recorder.of("polylines")[1][3] == style.line == 6


LINES: list[tuple[Any, Any, Any, Any, tuple[int, int]]] = [
    ((50, 60, 150, 60), ((50, 60), (150, 60)), (100, 60), (100, 45), (76, 63)),
    ((150, 60, 50, 60), ((150, 60), (50, 60)), (100, 60), (100, 75), (76, 42)),
    ((100, 20, 100, 80), ((100, 20), (100, 80)), (100, 50), (115, 50), (49, 42)),
    ((20, 20, 180, 80), ((20, 20), (180, 80)), (100, 50), (105, 36), (70, 60)),
    # only a part is within the image
    ((-100, 60, 100, 60), ((0, 60), (100, 60)), (50, 60), (50, 45), (26, 63)),
    ((100, -50, 100, 300), ((100, 0), (100, 99)), (100, 50), (115, 50), (49, 42)),
    # no room on the other side
    ((50, 97, 150, 97), ((50, 97), (150, 97)), (100, 97), (100, 82), (76, 85)),
    ((150, 2, 50, 2), ((150, 2), (50, 2)), (100, 2), (100, 17), (76, 0)),
    ((2, 20, 2, 80), ((2, 20), (2, 80)), (2, 50), (17, 50), (0, 42)),
    ((198, 80, 198, 20), ((198, 80), (198, 20)), (198, 50), (183, 50), (152, 42)),
]


def test_what_is_drawn_for_a_line(recorder: Recorder) -> None:
    """Black, and white within. The arrow begins in the middle of the part that can be seen, and is
    8 / 21 * 40 = 15.2 pixels long, towards ``in``. The plate with the counts, 48 x 15, lies 3
    pixels away on the other side."""
    for line, ends, middle, tip, corner in LINES:
        recorder.calls.clear()
        recorder.sizes = (44, 8), 3
        draw_line(np.zeros((100, 200, 3), np.uint8), LineCounter(line))
        smooth = recorder.cv2.LINE_AA
        black, white = (0, 0, 0), (255, 255, 255)
        assert recorder.of("line") == [(*ends, black, 3, smooth), (*ends, white, 1, smooth)]
        arrow = middle, tip
        assert recorder.of("arrowedLine") == [
            (*arrow, black, 3, smooth),
            (*arrow, white, 1, smooth),
        ]
        lengths = [options for name, _, options in recorder.calls if name == "arrowedLine"]
        assert lengths == [{"tipLength": 0.4}] * 2
        opposite = corner[0] + 47, corner[1] + 14
        assert recorder.of("rectangle") == [(corner, opposite, white, recorder.cv2.FILLED)]


def test_the_arrow_grows_with_the_image(recorder: Recorder) -> None:
    """Letters of 39 pixels: 39 / 21 * 40 = 74.3."""
    draw_line(np.zeros((1000, 2000, 3), np.uint8), LineCounter((500, 600, 1500, 600)))
    assert recorder.of("arrowedLine")[0][:2] == ((1000, 600), (1000, 526))


def test_the_counts_of_a_line(recorder: Recorder) -> None:
    """Of all classes together, one number for each direction."""
    counter = LineCounter((0, 50, 200, 50))
    for top in (60, 20, 60, 20):
        boxes = [[90, top, 110, top + 10], [90, top, 110, top + 10], [90, 80 - top, 110, 90 - top]]
        counter.update(
            Detections(boxes, [0.9] * 3, [0, 1, 1], ("cat", "dog"), (200, 100), [1, 2, 3])
        )
    draw_line(np.zeros((100, 200, 3), np.uint8), counter)
    assert recorder.of("putText")[0][0] == "in 5, out 4"
