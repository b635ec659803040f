"""Images that state a size beyond any use: one line, before memory is taken for their pixels."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from darknet_builder.cli.program import main
from darknet_builder.errors import ImageError
from darknet_builder.images import video as video_module
from darknet_builder.images.files import read_image, write_image
from darknet_builder.images.header import max_pixels, stated_size
from darknet_builder.images.opencv import LIMIT_VARIABLE, load_opencv
from darknet_builder.images.readable import check_images
from darknet_builder.images.video import open_video, write_video
from tests.helpers.toy_detector import RED, squares, toy_files

GIF = b"GIF89a\x00\x7d\x00\x7d\x80\x00\x00\x00\x00\x00\xff\xff\xff,\0\0\0\0\x00\x7d\x00\x7d\0\x02\x02D\x01\0;"
HINT = f"if that is intended, raise it with {LIMIT_VARIABLE} in the environment"
GIF_TEXT = f"has 32000 x 32000 pixels, more than the limit of 134,217,728; {HINT}"


@pytest.fixture(autouse=True)
def usual_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program that sets nothing; what a test sets is taken back after it."""
    load_opencv()
    monkeypatch.setenv(LIMIT_VARIABLE, str(2**27))


def encoded(suffix: str, width: int = 37, height: int = 21) -> bytes:
    """Encode an image of OpenCV's."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(suffix, image)[1].tobytes())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".ppm"])
def test_the_size_that_a_file_states(suffix: str) -> None:
    """It is that of the decoded image, and no part of the file makes it fail."""
    data = encoded(suffix)
    assert stated_size(data) == (37, 21)
    for end in range(0, min(len(data), 700)):
        assert stated_size(data[:end]) in (None, (37, 21), (3, 21), (37, 2), (3, 2), (37, 0))


def test_webp_without_loss() -> None:
    """It has another header."""
    image = np.zeros((300, 5000, 3), np.uint8)
    data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert data[12:16] == b"VP8L" and stated_size(data) == (5000, 300)
    extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\x0f\xff\0\0"
    assert stated_size(extended) == (2**20, 256)


def test_progressive_jpeg() -> None:
    """Its size is behind another marker."""
    image = np.zeros((30, 50, 3), np.uint8)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert b"\xff\xc2" in data and stated_size(data) == (50, 30)


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG that states another size."""
    data = bytearray(encoded(".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.gif", GIF),
        ("a.jpg", jpeg(32000, 32000)),
        ("a.bmp", encoded(".bmp")[:18] + struct.pack("<ii", 32000, -32000) + encoded(".bmp")[26:]),
        ("a.png", encoded(".png")[:16] + struct.pack(">II", 32000, 32000) + encoded(".png")[24:]),
        ("a.ppm", b"P6\n# made by hand\n32000 32000\n255\n" + bytes(100)),
    ],
)
def test_too_many_pixels(tmp_path: Path, name: str, data: bytes) -> None:
    """In each format, whatever the file is called."""
    for path in (tmp_path / name, tmp_path / "b.jpg"):
        path.write_bytes(data)
        with pytest.raises(ImageError) as error:
            read_image(path)
        assert str(error.value) == f"{path}: {GIF_TEXT}"
    assert str(check_images([tmp_path / name]).unreadable[tmp_path / name]).endswith(GIF_TEXT)


def test_a_chunk_of_four_gigabytes(tmp_path: Path) -> None:
    """OpenCV would take memory for it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 12, 1, 0, 0, 0, 0))
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 0xFFFFFD00) + b"-IDAT")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    with pytest.raises(ImageError, match=r"a\.png: the PNG ends too early; copy or download"):
        read_image(tmp_path / "a.png")


def test_the_limit_is_opencvs_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image at the limit is read, one of a row more is not; nonsense counts as 2^27."""
    for name, height in (("at.png", 20), ("above.png", 21)):
        write_image(tmp_path / name, np.zeros((height, 10, 3), np.uint8))
    monkeypatch.setenv(LIMIT_VARIABLE, "200")
    assert read_image(tmp_path / "at.png").shape == (20, 10, 3)
    with pytest.raises(ImageError, match="has 10 x 21 pixels, more than the limit of 200"):
        read_image(tmp_path / "above.png")
    monkeypatch.setenv(LIMIT_VARIABLE, "many")
    assert max_pixels() == 2**27


def test_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a frame is decoded."""
    with write_video(tmp_path / "a.mp4", 10) as append:
        append(np.zeros((48, 64, 3), np.uint8))
    monkeypatch.setenv(LIMIT_VARIABLE, "3000")
    monkeypatch.setattr(video_module.Video, "frames", None)
    with (
        pytest.raises(ImageError, match=r"a\.mp4: has 64 x 48 pixels"),
        open_video(tmp_path / "a.mp4"),
    ):
        pass


def test_commands_name_their_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a source is skipped; with the option it is not."""
    cfg, weights, names = toy_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("a.gif").write_bytes(GIF)
    write_image("red.png", squares((RED, 1, 2)))
    argv = ["detect", "a.gif", "red.png", "--cfg", cfg, "--weights", weights, "--names", names]
    argv += ["--no-images"]
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.err == f"skipped: a.gif: {GIF_TEXT} (--max-pixels)\n"
    assert "1 image, 1 object: 1 red" in captured.out
    assert main([*argv, "--max-pixels", "1000"]) == 1
    assert capsys.readouterr().err.count("more than the limit of 1,000") == 2
    for wrong in ("0", "-1", "x", "9" * 30):
        with pytest.raises(SystemExit):
            main([*argv, "--max-pixels", wrong])
        assert "expected a whole number above 0" in capsys.readouterr().err


@pytest.mark.slow
def test_other_formats_are_left_to_opencv(tmp_path: Path) -> None:
    """Its own limit is lowered when it is loaded, and its words become the same line."""
    data = bytearray(encoded(".tiff"))
    at = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[at : at + 2], "little")):
        start = at + 2 + 12 * entry
        if int.from_bytes(data[start : start + 2], "little") in (256, 257):  # width, length
            data[start + 8 : start + 12] = struct.pack("<I", 32000)
    (tmp_path / "a.tiff").write_bytes(data)
    script = (
        "import sys; from darknet_builder.images.files import read_image; read_image(sys.argv[1])"
    )
    environment = {name: value for name, value in os.environ.items() if name != LIMIT_VARIABLE}
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.tiff")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "a.tiff: has too many pixels, more than the limit of 134,217,728" in result.stderr
