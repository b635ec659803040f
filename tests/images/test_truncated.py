"""Files that end too early are read as ``cv2.imread`` reads them."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from darknet_builder.errors import DataWarning, ImageError, TruncatedImageWarning
from darknet_builder.images.files import read_image
from darknet_builder.images.truncated import noting_truncated

TRUNCATED = Path(__file__).parents[1] / "data" / "truncated.jpg"
SCENE = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8),
    (64, 48),
    interpolation=cv2.INTER_CUBIC,
)
KINDS = {
    "jpeg": (".jpg", []),
    "progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "restarts": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
    "png": (".png", []),
    "bmp": (".bmp", []),
    "webp": (".webp", []),
    "tiff": (".tiff", []),
    "ppm": (".ppm", []),
}


def pixels(path: Path) -> np.ndarray | None:
    """The pixels that ``read_image`` gives; None where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedImageWarning)
        try:
            return read_image(path)
        except ImageError:
            return None


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_missing_the_pixels_are_those_of_imread(tmp_path: Path, kind: str) -> None:
    """Every fortieth length, and all of the last 20."""
    suffix, options = KINDS[kind]
    data = cv2.imencode(suffix, SCENE, options)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    read = 0
    for length in (*range(4, len(data), max(len(data) // 40, 1)), *range(-20, 0)):
        path.write_bytes(data[:length])
        expected, found = cv2.imread(str(path)), pixels(path)
        assert (expected is None) == (found is None), length
        if expected is not None and found is not None:
            assert np.array_equal(found, expected), length
            read += 1
    assert (read > 20) == (suffix == ".jpg")


@pytest.mark.parametrize("kind", ["jpeg", "progressive"])
def test_a_jpeg_that_ends_within_a_segment_of_its_header(tmp_path: Path, kind: str) -> None:
    """``imread`` makes a grey image of some; a single end marker would not do."""
    suffix, options = KINDS[kind]
    data = cv2.imencode(suffix, SCENE, options)[1].tobytes()
    path = tmp_path / "cut.jpg"
    start = data.index(b"\xff\xda")
    for length in range(start - 30, start + 16):
        path.write_bytes(data[:length])
        expected, found = cv2.imread(str(path)), pixels(path)
        assert (expected is None) == (found is None), length
        assert expected is None or np.array_equal(found, expected)


def test_a_warning_says_so() -> None:
    with pytest.warns(DataWarning) as caught:
        image = read_image(TRUNCATED)
    assert image.shape == (96, 96, 3) and np.array_equal(image, cv2.imread(str(TRUNCATED)))
    assert [str(warning.message) for warning in caught] == [
        f"{TRUNCATED}: the file ends too early; the missing part is grey or blurred; copy or"
        " download it again"
    ]


def test_a_whole_file_is_read_without_a_word(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", SCENE)[1].tobytes() + b"\0" * 7)
    assert read_image(tmp_path / "a.jpg").shape == SCENE.shape
    assert not recwarn.list


def test_a_png_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(cv2.imencode(".png", SCENE)[1].tobytes()[:-30])
    with pytest.raises(ImageError) as raised:
        read_image(path)
    assert str(raised.value) == f"{path}: the PNG ends too early; copy or download it again"


def test_they_are_counted_once_each_in_all_threads(recwarn: pytest.WarningsRecorder) -> None:
    with noting_truncated() as paths, ThreadPoolExecutor(2) as threads:
        list(threads.map(read_image, [TRUNCATED] * 4))
    assert paths == {str(TRUNCATED)}
    assert [str(warning.message.path) for warning in recwarn.list] == [str(TRUNCATED)]
    with noting_truncated(quietly=True) as paths:
        read_image(TRUNCATED)
    assert paths == {str(TRUNCATED)} and len(recwarn.list) == 1
