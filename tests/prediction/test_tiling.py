"""Tiles cover the image, their boxes come back to it, and no object is found twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder import Detector
from darknet_builder.boxes.candidates import ScoredBoxes
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.overlap import iou
from darknet_builder.data.scenes import Scene, draw_field
from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from darknet_builder.prediction import tiling
from darknet_builder.prediction.pipeline import Outcome, stream
from darknet_builder.prediction.tiling import Tile, Tiling
from tests.helpers.toy_detector import BLUE, NAMES, RED, squares, toy_network

# ---- where the tiles are -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1500, 1000), (640, 480), (641, 481), (6000, 4000), (100, 2000)])
@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 0.9])
def test_tiles_cover_the_image(size: tuple[int, int], overlap: float) -> None:
    """All are full sized and inside; neighbours share at least the overlap; no pixel is left out."""
    width, height = min(640, size[0]), min(480, size[1])
    tiles = Tiling(640, 480, overlap).plan(size)
    assert len(set(tiles)) == len(tiles)
    assert {(tile.width, tile.height) for tile in tiles} == {(width, height)}
    lefts = sorted({tile.left for tile in tiles})
    tops = sorted({tile.top for tile in tiles})
    assert len(tiles) == len(lefts) * len(tops)
    for starts, side, length in ((lefts, width, size[0]), (tops, height, size[1])):
        assert starts[0] == 0 and starts[-1] == length - side
        assert all(step <= side * (1 - overlap) for step in np.diff(starts))


def test_what_neighbours_share() -> None:
    """The last tile begins earlier, so it shares more; there is no neighbour at an image's edge."""
    tiles = Tiling(100, 100, 0.2).plan((230, 100))
    assert [(tile.left, tile.shared) for tile in tiles] == [
        (0, (-1, -1, 20, -1)),
        (80, (20, -1, 50, -1)),
        (130, (50, -1, -1, -1)),
    ]
    assert Tiling(100, 100, 0.2, full=True).plan((230, 100))[-1] == Tile(0, 0, 230, 100)
    assert Tiling(100, 100, 0.2, full=True).plan((90, 100)) == [Tile(0, 0, 90, 100)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 31}, "tile=31x31: expected 32 or more pixels, the stride of most networks"),
        (
            {"tile": (640, 0)},
            "tile=640x0: expected 32 or more pixels, the stride of most networks",
        ),
        (
            {"tile": 64, "overlap": 1},
            "overlap=1: expected a number from 0 to below 1",
        ),
        (
            {"tile": 64, "overlap": float("nan")},
            "overlap=nan: expected a number from 0 to below 1",
        ),
        ({"tile_full": True}, "tile_full=True: needs the size of the tiles"),
    ],
)
def test_wrong_arguments(options: dict[str, float], message: str) -> None:
    """One line that names the argument."""
    with pytest.raises(InputError) as raised:
        Detector(toy_network(), **options)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_a_recurrent_network_takes_no_tiles() -> None:
    """It would take them for frames of a video."""
    network = build_network(
        "[net]\nwidth=32\nheight=32\nchannels=3\n[crnn]\nhidden=2\noutput=6\n"
        "size=3\npad=1\nactivation=leaky\n[convolutional]\nfilters=6\nsize=1\nactivation=linear\n[yolo]\nmask=0\nanchors=8,8\nclasses=1\nnum=1\n"
    )
    with pytest.raises(
        InputError, match="^tile=64: its recurrent layers would take the tiles for frames"
    ):
        Detector(network, tile=64)


# ---- what is found in them -----------------------------------------------------------------------


def test_a_small_image_is_one_tile() -> None:
    """Equal to the last bit to the result without tiles."""
    image = squares((RED, 1, 2), (BLUE, 3, 0), size=(61, 47))
    whole = Detector(toy_network(), names=NAMES)(image)
    assert len(whole) and Detector(toy_network(), names=NAMES, tile=64)(image) == whole
    assert Detector(toy_network(), names=NAMES, tile=64, tile_full=True)(image) == whole


def test_squares_are_found_where_they_are() -> None:
    """Three tiles of 32 x 32 in an image of 80 x 32; objects in the overlap are found once."""
    image = np.zeros((32, 80, 3), np.uint8)
    places = [(0, 0, RED), (24, 8, BLUE), (48, 24, RED), (72, 16, BLUE)]
    for left, top, color in places:
        image[top : top + 8, left : left + 8] = color
    detector = Detector(toy_network(), names=NAMES, tile=32, overlap=0.25, batch=2)
    found = detector(image)
    assert found.image_size == (80, 32)
    rows = sorted((tuple(np.round(box, 4)), name) for _, name, _, box in found.rows())
    assert rows == [
        ((left, top, left + 8, top + 8), "red" if color == RED else "blue")
        for left, top, color in places
    ]


def rows(*boxes: tuple[float, float, float, float, float, int]) -> ScoredBoxes:
    """Rows of (left, top, right, bottom, score, class), relative to a tile."""
    values = np.array(boxes, np.float32).reshape(-1, 6)
    low, high = values[:, :2], values[:, 2:4]
    return ScoredBoxes(
        np.zeros(len(values), np.int64),
        np.arange(len(values)),
        np.concatenate([(low + high) / 2, high - low], 1),
        values[:, 4],
        values[:, 5].astype(np.int64),
        values[:, 4],
        2,
    )


def joined(*parts: ScoredBoxes) -> list[float]:
    """Scores that are left of two tiles of 100 x 100 that share 20 pixels, in one of 180 x 100."""
    return sorted(
        tiling._join(parts, Tiling(100, 100, 0.2).plan((180, 100)), (180, 100)).scores.tolist()
    )


WHOLE = (0.1, 0.2, 0.3, 0.4)
"""In the second tile: 90 to 110 of the image."""
HALF = (0.9, 0.2, 1.0, 0.4)
"""The same object in the first tile, which ends at 100."""


def test_a_part_that_the_neighbour_holds_is_left_out() -> None:
    """Whatever its score; its IoU with the whole object is only 0.5."""
    assert joined(rows((*HALF, 0.75, 0)), rows((*WHOLE, 0.5, 0))) == [0.5]


def test_a_part_of_a_long_object_stays_unless_another_tile_has_a_better_one() -> None:
    """Neither tile sees an object from 70 to 130 whole, and their parts share 20 of 30 pixels."""
    left, right = (0.7, 0.2, 1.0, 0.4), (0.0, 0.2, 0.5, 0.4)
    assert joined(rows((*left, 0.75, 0)), rows()) == [0.75]
    assert joined(rows((*left, 0.75, 0)), rows((*right, 0.5, 0))) == [0.75]
    assert joined(rows((*left, 0.75, 0)), rows((*right, 0.5, 1))) == [0.5, 0.75], "another class"
    assert joined(rows((*left, 0.75, 0), (*left, 0.5, 0)), rows()) == [0.5, 0.75], "the same tile"


def test_boxes_at_the_edge_of_the_image_are_not_cut() -> None:
    """No tile sees more of them."""
    at_edge = (0.0, 0.0, 0.1, 0.1)
    assert joined(rows((*at_edge, 0.5, 0)), rows((0.9, 0.9, 1.0, 1.0, 0.75, 0))) == [0.5, 0.75]


# ---- a composed picture --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def field() -> Scene:
    """Twelve scenes side by side: 896 x 672 pixels."""
    return draw_field(4, 3)


@pytest.fixture(scope="module")
def tiled() -> Detector:
    """The bundled detector with tiles of the size of its scenes, which do not meet the scenes."""
    return Detector("shapes", tile=224, overlap=0.3, batch=4)


def hits(found: Detections, field: Scene) -> np.ndarray:
    """The number of boxes of the right class on each object: (T,)."""
    import torch

    boxes = torch.from_numpy(np.array(found.boxes_cxcywh))
    overlap = iou(boxes[:, None], torch.from_numpy(field.boxes[None, :, :4])).numpy()
    same = found.class_ids[:, None] == field.boxes[None, :, 4]
    counts: np.ndarray = ((overlap > 0.5) & same).sum(0)
    return counts


def test_tiles_find_what_the_whole_image_does_not(field: Scene, tiled: Detector) -> None:
    """And no object twice, at a seam or elsewhere."""
    alone = hits(Detector("shapes")(field.image), field)
    counts = hits(tiled(field.image), field)
    assert len(counts) == 71
    assert (alone > 0).sum() <= 3
    assert (counts > 0).sum() >= 62
    assert (counts > 1).sum() == 0


def test_seams_would_double_objects_without_the_rule(
    field: Scene, tiled: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suppression alone leaves parts of objects: boxes that are no object's."""
    good = tiled(field.image)
    monkeypatch.setattr(tiling, "_NEAR", -1.0)  # nothing counts as cut
    assert len(tiled(field.image)) >= len(good) + 5


def test_streams_give_the_same(field: Scene, tiled: Detector, tmp_path: Path) -> None:
    """One image after the other, in order, whatever the batch."""
    images = [field.image, field.image[:300, :500]]
    outcomes = [outcome for outcome in stream(tiled, images) if isinstance(outcome, Outcome)]
    assert [outcome.detections for outcome in outcomes] == tiled(images)
    assert [len(outcome.detections) > 5 for outcome in outcomes] == [True, True]
