"""Resizing is Darknet's bit for bit, and boxes are mapped back as in Darknet."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from darknet_builder.images.files import read_image
from darknet_builder.images.fits import RESIZE_MODES
from darknet_builder.images.resize import Placement, resize_bilinear, to_input
from tests.conftest import GOLDEN
from tests.helpers.pictures import message, photo

# ---- resizing, against Darknet -------------------------------------------------------------------

GOLDEN_CASES = [
    "image0/32x32/stretch",
    "image0/32x32/letterbox",
    "image2/32x32/stretch",
    "image2/32x32/letterbox",
    "image0/64x96/letterbox",
]


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_resize_is_darknets_bit_for_bit(case: str) -> None:
    """The expected values were recorded from the C program."""
    name, size, mode = case.split("/")
    width, height = map(int, size.split("x"))
    with np.load(GOLDEN / "postprocess" / "resize.npz") as recorded:
        ours, _ = to_input(recorded[f"{name}/pixels"], (width, height), mode)
        assert np.array_equal(ours.numpy(), recorded[case])


def test_the_last_row_is_darknets_bit_for_bit() -> None:
    """From 47 to 160 rows, the last coordinate does not reach the last row in float32."""
    with np.load(GOLDEN / "postprocess" / "resize.npz") as recorded:
        ours, _ = to_input(recorded["image0/pixels"], (160, 160))
        assert np.array_equal(ours[:, -2:].numpy(), recorded["image0/160x160/stretch/last_rows"])


@pytest.mark.pack
def test_every_recorded_resize(pack: Path) -> None:
    """Three images, four sizes and both modes are equal."""
    with np.load(pack / "postprocess" / "resize.npz") as recorded:
        assert recorded.files
        for case in recorded.files:
            name, size, mode = case.split("/")
            width, height = map(int, size.split("x"))
            ours, _ = to_input(
                read_image(pack / "postprocess" / f"{name}.png"), (width, height), mode
            )
            assert np.array_equal(ours.numpy(), recorded[case]), case


@pytest.mark.parametrize("size", [(416, 416), (31, 57), (200, 90), (7, 300)])
def test_resize_is_bilinear_with_aligned_corners(size: tuple[int, int]) -> None:
    """PyTorch's result is equal, except for the last row, in which Darknet differs."""
    image = photo(123, 61)
    planes = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    expected = functional.interpolate(planes, size=size[::-1], mode="bilinear", align_corners=True)[
        0
    ]
    assert torch.allclose(resize_bilinear(image, size)[:, :-1], expected[:, :-1], atol=1e-4)


def test_the_last_row_may_be_black_as_in_darknet() -> None:
    """image.c:1399: 415 * (239 / 415) is 239 less a hair in float32, and the second of the two rows
    is left out."""
    resized = resize_bilinear(np.full((240, 10, 3), 255, np.uint8), (416, 416))
    assert resized[:, :-1].min() > 0.999
    assert resized[:, -1].max() < 1e-4


def test_an_image_of_the_right_size_is_only_scaled() -> None:
    """The result is RGB in [0, 1]."""
    image = photo(32, 16)
    ours, placement = to_input(image, (32, 16))
    assert torch.equal(
        ours, torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    )
    assert placement == Placement((32, 16), (32, 16), (32, 16))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3)])
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_tiny_and_extreme_images(shape: tuple[int, int], mode: str) -> None:
    """One pixel is enough."""
    ours, _ = to_input(np.full((*shape, 3), 51, np.uint8), (32, 32), mode)
    assert ours.shape == (3, 32, 32)
    assert ours.isfinite().all()
    assert ((ours - 0.2).abs() < 1e-6).any()


def test_grey_networks_see_grey() -> None:
    """channels=1 in [net]."""
    ours, _ = to_input(np.full((4, 4, 3), (0, 0, 255), np.uint8), (4, 4), channels=1)
    assert ours.shape == (1, 4, 4)
    assert ours[0, 0, 0].item() == pytest.approx(0.299, abs=0.002)


def test_an_image_need_not_be_contiguous_or_writable() -> None:
    """RGB arrays are turned with [..., ::-1]; arrays from PIL are read-only."""
    image = photo(20, 10)
    image.setflags(write=False)
    assert torch.equal(to_input(image[..., ::-1], (8, 8))[0], to_input(image, (8, 8))[0].flip(0))


def plain_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize pixel by pixel in float32, as in image.c:1399; the result is RGB."""
    one, (width, height) = np.float32(1), size
    pixels = image.astype(np.float32) / np.float32(255)
    x_step, y_step = (
        np.float32(old - 1) / np.float32(new - 1)
        for old, new in zip(image.shape[1::-1], size, strict=True)
    )
    across = np.zeros((image.shape[0], width, image.shape[2]), np.float32)
    for x in range(width):
        place = np.float32(x) * x_step
        left = int(place)
        share = place - np.float32(left)
        across[:, x] = (
            pixels[:, -1]
            if x == width - 1
            else ((one - share) * pixels[:, left] + share * pixels[:, left + 1])
        )
    result = np.zeros((height, width, image.shape[2]), np.float32)
    for y in range(height):
        place = np.float32(y) * y_step
        above = int(place)
        share = place - np.float32(above)
        result[y] = (one - share) * across[above]
        if y < height - 1:
            result[y] += share * across[above + 1]
    return result[..., ::-1].transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(31, 57), (90, 200), (122, 60), (300, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_the_formula_bit_for_bit(size: tuple[int, int], channels: int) -> None:
    """Larger and smaller, colour and grey, with any memory layout."""
    image = photo(123, 61)[..., :channels]
    expected = plain_resize(image, size)
    for same in (
        image,
        np.asfortranarray(image),
        image.repeat(2, 1)[:, ::2],
        image[::-1].copy()[::-1],
    ):
        assert np.array_equal(resize_bilinear(same, size).numpy(), expected)


def test_pixels_that_nobody_reads_cost_nothing() -> None:
    """A photograph of 12 megapixels needs less memory than its own bytes.

    As float32 it would need four times as much.
    """
    huge = np.zeros((3000, 4000, 3), np.uint8)
    tracemalloc.start()
    try:
        resize_bilinear(huge, (416, 416))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < huge.size


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="counts threads as Linux tells them"
)
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_thread_that_resizes_starts_no_others(mode: str) -> None:
    """A pool of readers would multiply the threads."""
    counts = []

    def resize() -> None:
        for _ in range(2):
            counts.append(len(list(Path("/proc/self/task").iterdir())))
            to_input(photo(640, 480), (416, 416), mode)

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        reader = threading.Thread(target=resize)
        reader.start()
        reader.join()
    finally:
        torch.set_num_threads(before)
    assert counts[1] <= counts[0]


# ---- where it lies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_size", "net_size", "inner", "offset"),
    [
        ((200, 100), (64, 64), (64, 32), (0, 16)),
        ((100, 200), (64, 64), (32, 64), (16, 0)),
        ((61, 47), (32, 32), (32, 24), (0, 4)),
        ((61, 47), (64, 96), (64, 49), (0, 23)),  # an odd margin: 47 rows are 23 above and 24 below
        ((64, 48), (64, 48), (64, 48), (0, 0)),
        ((1000, 1), (64, 64), (64, 1), (0, 31)),
    ],
)
def test_letterbox_plan(
    image_size: tuple[int, int],
    net_size: tuple[int, int],
    inner: tuple[int, int],
    offset: tuple[int, int],
) -> None:
    """Integer division truncates (image.c:1006)."""
    placement = Placement.plan(image_size, net_size, "letterbox")
    assert placement.inner_size == inner
    assert placement.offset == offset


def test_what_surrounds_a_letterboxed_image_is_grey() -> None:
    """The margins are exactly .5."""
    ours, placement = to_input(np.zeros((10, 20, 3), np.uint8), (16, 16), "letterbox")
    top = placement.offset[1]
    assert (ours[:, :top] == 0.5).all() and (ours[:, top + placement.inner_size[1] :] == 0.5).all()
    assert (ours[:, top : top + placement.inner_size[1]] == 0).all()


def test_undo_takes_half_the_margin_as_it_is() -> None:
    """yolo_layer.c:939: 47 rows of margin are 23.5 above, not 23."""
    placement = Placement.plan((61, 47), (64, 96), "letterbox")
    inside = np.array(
        [[0.5, 23.5 / 96, 1, 49 / 96], [0.25, (23.5 + 49) / 96, 0.5, 49 / 96 / 2]], np.float32
    )
    found = placement.undo(inside)
    assert (
        np.allclose(found, [[0.5, 0, 1, 1], [0.25, 1, 0.5, 0.5]], atol=1e-6)
        and found.dtype == np.float32
    )
    assert np.array_equal(placement.undo(torch.from_numpy(inside)), found)  # type: ignore[arg-type]


def test_undo_of_a_stretched_image_changes_nothing() -> None:
    """Relative coordinates stay as they are."""
    boxes = np.random.default_rng(0).random((5, 4), np.float32)
    assert np.array_equal(Placement.plan((61, 47), (64, 96), "stretch").undo(boxes), boxes)


def test_unknown_way_of_resizing() -> None:
    """The error has the nearest valid name."""
    assert (
        message(Placement.plan, (1, 1), (1, 1), "leterbox")
        == "resize='leterbox' is unknown; expected stretch or letterbox; did you mean 'letterbox'?"
    )
