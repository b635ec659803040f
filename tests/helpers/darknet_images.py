"""The shared photographs, pixel for pixel as Darknet's own JPEG decoder gives them.

Darknet reads JPEG with stb_image, OpenCV with libjpeg-turbo. The two differ in up to an eighth of
the values, by up to 3 grey levels, which moves a box's probability by up to .04.
``golden/jpeg.npz`` holds the differences (stb_image 2.27 minus OpenCV, lossless), so that what was
recorded from Darknet can be held to float32's own noise.
"""

from __future__ import annotations

import hashlib
import lzma
from functools import cache
from pathlib import Path

import numpy as np

from darknet_builder.images.files import read_image

_DIFFERENCES = Path(__file__).parents[1] / "golden" / "jpeg.npz"
PHOTOGRAPHS = ("dog", "eagle", "giraffe", "horses", "person", "scream")


@cache
def darknet_image(folder: Path, name: str) -> np.ndarray:
    """(H, W, 3) uint8, blue, green, red, of ``folder``/``name``.jpg."""
    image = read_image(folder / f"{name}.jpg")
    with np.load(_DIFFERENCES) as file:
        difference = np.frombuffer(lzma.decompress(file[name].tobytes()), np.int8).reshape(
            image.shape
        )
        expected = file[f"{name}/sha256"].tobytes()
    pixels = (image + difference.astype(np.int16)).astype(np.uint8)
    # A mismatch means that this OpenCV decodes JPEG otherwise than the one the differences were
    # taken from.
    assert hashlib.sha256(pixels.tobytes()).digest() == expected, (
        f"OpenCV decodes {name}.jpg in another way"
    )
    return pixels
