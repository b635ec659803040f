"""Images: reading, Darknet's resize bit for bit, the way back, videos, and a clear word where
OpenCV is missing."""

from __future__ import annotations

import itertools
import os
import struct
import threading
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from darknet_builder.errors import DarknetError, ImageError, InputError, MissingExtraError
from darknet_builder.images import opencv
from darknet_builder.images.files import check_image, read_image, write_image
from darknet_builder.images.fits import RESIZE_MODES
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.resize import Placement, resize_bilinear, to_input
from darknet_builder.images.video import open_video, write_video
from tests.conftest import GOLDEN

RNG = np.random.default_rng(7)


def photo(width: int, height: int) -> np.ndarray:
    """Something to read and write."""
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def message(call: object, *arguments: object) -> str:
    """The text of the DarknetError that a call must raise."""
    with pytest.raises(DarknetError) as raised:
        call(*arguments)  # type: ignore[operator]
    return str(raised.value)


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
    """Recorded from the C program."""
    name, size, mode = case.split("/")
    width, height = map(int, size.split("x"))
    with np.load(GOLDEN / "postprocess" / "resize.npz") as recorded:
        ours, _ = to_input(recorded[f"{name}/pixels"], (width, height), mode)
        assert np.array_equal(ours.numpy(), recorded[case])


def test_the_last_row_is_darknets_bit_for_bit() -> None:
    """47 -> 160 is a height whose last place does not fall on the last row in float32."""
    with np.load(GOLDEN / "postprocess" / "resize.npz") as recorded:
        ours, _ = to_input(recorded["image0/pixels"], (160, 160))
        assert np.array_equal(ours[:, -2:].numpy(), recorded["image0/160x160/stretch/last_rows"])


@pytest.mark.pack
def test_every_recorded_resize(pack: Path) -> None:
    """Three images, four sizes, both ways."""
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
    """PyTorch's own agrees, but for the last row, where Darknet has its own mind."""
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
    """Red first, in [0, 1]."""
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
    """image.c:1399 pixel by pixel, in float32, red first."""
    one, (width, height) = np.float32(1), size
    pixels = image.astype(np.float32) / np.float32(255)
    x_step, y_step = (
        np.float32(old - 1) / np.float32(new - 1) for old, new in zip(image.shape[1::-1], size)
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
    """Larger and smaller; colour, grey, and arrays in any order of memory."""
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
    """Beside a photograph of 12 megapixels less than its own bytes; as float32 it would be four
    times these."""
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
    """A pool of readers would multiply them."""
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
    """Integer truncation (image.c:1006)."""
    placement = Placement.plan(image_size, net_size, "letterbox")
    assert placement.inner_size == inner
    assert placement.offset == offset


def test_what_surrounds_a_letterboxed_image_is_grey() -> None:
    """Exactly .5."""
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
    """Relative is relative."""
    boxes = np.random.default_rng(0).random((5, 4), np.float32)
    assert np.array_equal(Placement.plan((61, 47), (64, 96), "stretch").undo(boxes), boxes)


def test_unknown_way_of_resizing() -> None:
    """With the nearest known word."""
    assert (
        message(Placement.plan, (1, 1), (1, 1), "leterbox")
        == "resize='leterbox' is unknown; expected stretch or letterbox; did you mean 'letterbox'?"
    )


# ---- arrays from outside -------------------------------------------------------------------------


def test_grey_and_alpha_arrays() -> None:
    """Grey is repeated, alpha is dropped."""
    grey = photo(4, 3)[..., 0]
    assert np.array_equal(check_image(grey), np.stack([grey] * 3, -1))
    assert np.array_equal(check_image(grey[..., None]), np.stack([grey] * 3, -1))
    alpha = RNG.integers(0, 256, (3, 4, 4), np.uint8)
    assert np.array_equal(check_image(alpha), alpha[..., :3])


WHAT = (
    "expected a path or a NumPy array (H, W, 3) of uint8 in BGR order, as cv2.imread returns it; got "
)
SHAPE = "expected an image of shape (H, W, 3), one or more pixels wide and high, got "


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (torch.zeros(3, 4, 4), WHAT + "a Tensor"),
        (None, WHAT + "a NoneType"),
        (np.zeros((4, 4, 3)), WHAT + "an array of float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), SHAPE + "(2, 4, 4, 3); give several images as a list"),
        (np.zeros((4, 4, 2), np.uint8), SHAPE + "(4, 4, 2); give several images as a list"),
        (np.zeros((0, 4, 3), np.uint8), SHAPE + "(0, 4, 3); give several images as a list"),
    ],
)
def test_what_is_no_image(array: object, text: str) -> None:
    """One line that says what was expected."""
    assert message(check_image, array) == text


def test_networks_of_other_channels() -> None:
    """Images have three."""
    assert (
        message(to_input, photo(4, 4), (4, 4), "stretch", 4)
        == "the network takes 4 channels; images have 3, or 1 as grey"
    )


# ---- files ---------------------------------------------------------------------------------------


def test_png_round_trip(tmp_path: Path) -> None:
    """Names beyond ASCII included."""
    image, path = photo(9, 5), tmp_path / "größe 猫.png"
    write_image(path, image)
    assert np.array_equal(read_image(path), image)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_reading_gives_three_channels_of_eight_bits(tmp_path: Path) -> None:
    """Grey, 16 bits, alpha."""
    for name, image in {
        "grey": photo(4, 4)[..., 0],
        "deep": RNG.integers(0, 65536, (4, 4, 3), np.uint16),
        "alpha": RNG.integers(0, 256, (4, 4, 4), np.uint8),
    }.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        read = read_image(tmp_path / f"{name}.png")
        assert (read.shape, read.dtype) == ((4, 4, 3), np.uint8)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF segment that holds nothing but the orientation behind the first marker of a
    JPEG."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda image: image),
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: np.rot90(image, -1)),
        (8, lambda image: np.rot90(image)),
        (2, lambda image: image[:, ::-1]),
    ],
)
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, turn: object) -> None:
    """A phone's photograph stands upright, as in Darknet with OpenCV."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:8, :16] = 255  # the bright corner says which way is up
    data = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "photo.jpg").write_bytes(with_orientation(data, orientation))
    expected = turn(image)  # type: ignore[operator]
    read = read_image(tmp_path / "photo.jpg")
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() < 60


def test_files_that_are_no_images(tmp_path: Path) -> None:
    """Each in one line."""
    truncated = cv2.imencode(".jpg", photo(64, 64))[1].tobytes()[:600]
    for name, content in {"empty.jpg": b"", "page.jpg": b"<html>", "cut.jpg": truncated}.items():
        (tmp_path / name).write_bytes(content)
    folder = str(tmp_path)
    assert (
        message(read_image, f"{folder}/none.jpg") == f"{folder}/none.jpg: No such file or directory"
    )
    assert message(read_image, folder) == f"{folder}: Is a directory"
    assert message(read_image, f"{folder}/empty.jpg") == f"{folder}/empty.jpg: the file is empty"
    assert (
        message(read_image, f"{folder}/page.jpg")
        == f"{folder}/page.jpg: not an image that OpenCV can read"
    )
    assert (
        message(read_image, f"{folder}/cut.jpg")
        == f"{folder}/cut.jpg: not an image that OpenCV can read"
    )
    with pytest.raises(ImageError):
        read_image(f"{folder}/none.jpg")


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is left behind."""
    assert message(write_image, tmp_path / "a.xyz", photo(4, 4)).startswith(
        f"{tmp_path}/a.xyz: cannot be written: "
    )
    assert (
        message(write_image, tmp_path / "none" / "a.png", photo(4, 4))
        == f"{tmp_path}/none/a.png: cannot be written: No such file or directory"
    )
    assert not list(tmp_path.iterdir())


# ---- reading ahead -------------------------------------------------------------------------------


def test_read_ahead_keeps_the_order() -> None:
    """However long each takes; none is lost."""

    def read(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return -number

    for batch in (1, 3):
        assert list(read_ahead(read, range(20), batch=batch)) == [-number for number in range(20)]
    assert list(read_ahead(read, [], batch=2)) == []


def test_read_ahead_reads_on_but_not_far() -> None:
    """While one is used the next ones are read, two batches and one a thread of them."""
    read = []
    ahead = read_ahead(lambda number: read.append(number) or number, itertools.count(), batch=2)
    assert next(ahead) == 0
    until = time.monotonic() + 10
    while len(read) < 6 and time.monotonic() < until:
        time.sleep(0.001)
    assert sorted(read) == list(range(6))
    ahead.close()
    assert len(read) == 6


def test_read_ahead_raises_at_the_items_turn() -> None:
    """Those before it come first; those after it never."""
    found = []
    with pytest.raises(ZeroDivisionError):
        for value in read_ahead(lambda number: 1 / number, [2, 1, 0, 4], batch=4):
            found.append(value)
    assert found == [0.5, 1]


def test_one_thread_reads_one_after_the_other() -> None:
    """What a video needs."""
    inside = threading.Lock()

    def read(number: int) -> int:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        inside.release()
        return number

    assert list(read_ahead(read, range(30), batch=4, threads=1)) == list(range(30))


# ---- videos --------------------------------------------------------------------------------------


def test_video_round_trip(tmp_path: Path) -> None:
    """Frames, size and speed come back."""
    path = tmp_path / "clip.mp4"
    with write_video(path, 12.5) as append:
        for grey in (0, 100, 200):
            append(np.full((48, 64, 3), grey, np.uint8))
        assert not path.exists()  # it appears when it is whole
    with open_video(path) as video:
        assert (video.fps, video.num_frames) == (12.5, 3)
        frames = list(video.frames())
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert [round(float(frame.mean())) for frame in frames] == pytest.approx([0, 100, 200], abs=6)


def test_a_video_that_fails_is_not_left_behind(tmp_path: Path) -> None:
    """Not even half of it."""
    with (
        pytest.raises(RuntimeError, match="stop"),
        write_video(tmp_path / "clip.mp4", 10) as append,
    ):
        append(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    """Each in one line."""
    (tmp_path / "text.mp4").write_text("hello")
    for name, text in {
        "none.mp4": "No such file or directory",
        "text.mp4": "not a video that OpenCV can read",
    }.items():
        with pytest.raises(ImageError) as raised, open_video(tmp_path / name):
            pass
        assert str(raised.value) == f"{tmp_path / name}: {text}"


def test_videos_that_cannot_be_written(tmp_path: Path) -> None:
    """No folder; no size that the codec takes."""
    with pytest.raises(InputError) as raised, write_video(tmp_path / "none" / "a.mp4", 10):
        pass
    assert (
        str(raised.value) == f"{tmp_path}/none/a.mp4: cannot be written: No such file or directory"
    )
    with pytest.raises(InputError) as raised, write_video(tmp_path / "a.mp4", 10) as append:
        append(np.zeros((1, 1, 3), np.uint8))
    assert str(raised.value) == f"{tmp_path}/a.mp4: OpenCV cannot write a video of 1x1 pixels"
    assert not list(tmp_path.iterdir())


# ---- OpenCV itself -------------------------------------------------------------------------------


def test_a_missing_opencv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""

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
    """What a bare Debian says when it imports opencv-python 5."""

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
    """What it would write of a broken file is in our error; a level that the user sets stays."""
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "48")
    load_opencv()
    assert (
        os.environ["OPENCV_LOG_LEVEL"] == "SILENT" and os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "48"
    )


def test_opencv_is_imported_in_one_place() -> None:
    """So that its absence is told in one way; ``peer_worker.py`` has an interpreter and an OpenCV
    of its own."""
    package = Path(opencv.__file__).parents[1]
    importing = [
        path.name
        for path in package.rglob("*.py")
        if any(
            line.lstrip().startswith(("import cv2", "from cv2"))
            for line in path.read_text().splitlines()
        )
        or '"cv2"' in path.read_text()
    ]
    assert sorted(importing) == ["opencv.py", "peer_worker.py"]
