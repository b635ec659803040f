"""Decode every image in threads, and find equal and similar ones.

Similar images are found by a difference hash (dHash) of 64 bits and confirmed by a thumbnail. It is
ten lines here; the package imagehash would bring PIL, SciPy and PyWavelets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from darknet_builder.errors import ImageError
from darknet_builder.images.files import decode_image
from darknet_builder.images.header import stated_size
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.readable import FileCounter
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.support.files import read_bounded

_THREADS, _BATCH = 8, 16
_HASH_SIDE, _THUMBNAIL_SIDE = 8, 16
_MOST_BITS = 10
"""Number of different bits of 64 up to which two images are compared by their thumbnails."""
_MOST_DIFFERENCE = 6.0
"""Mean difference of the grey levels of two thumbnails, of 255, up to which images are similar.
JPEG compression and a change of size stay below 3."""
_PAIRS = 2**22
"""Number of pairs that are compared at once, which takes about 100 MB."""
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Look:
    """What an image looks like.

    Attributes:
        path: the file.
        size: width and height in pixels after decoding.
        stated: width and height that the file states; None if it is not known.
        digest: equal for images with equal pixels.
        bits: (8,) uint8, the difference hash.
        thumbnail: (256,) uint8, grey levels of 16 x 16 pixels.
        is_truncated: True if the end of the file is missing.
    """

    path: Path
    size: tuple[int, int]
    stated: tuple[int, int] | None
    digest: bytes
    bits: np.ndarray
    thumbnail: np.ndarray
    is_truncated: bool = False

    @property
    def is_rotated(self) -> bool:
        """Whether decoding turns the image by 90 degrees, as its EXIF data say."""
        return self.stated is not None and self.stated != self.size


def look_at(
    paths: Sequence[Path], counter: FileCounter | None = None
) -> tuple[dict[Path, Look], dict[Path, ImageError]]:
    """Decode images.

    Args:
        paths: the files; repeated ones count once.
        counter: receives the number of files, and each one when it is done; None to report nothing.

    Returns:
        What they look like, and the reason for each that cannot be decoded.
    """
    different = list(dict.fromkeys(paths))
    if counter is not None:
        counter.grow(len(different))
    looks: dict[Path, Look] = {}
    failed: dict[Path, ImageError] = {}
    with (
        noting_truncated(quietly=True) as truncated,
        closing(read_ahead(_look, different, batch=_BATCH, threads=_THREADS)) as results,
    ):
        for path, result in zip(different, results, strict=True):
            if isinstance(result, ImageError):
                failed[path] = result
            else:
                looks[path] = result
            if counter is not None:
                counter.advance()
    for path in looks.keys() & set(map(Path, truncated)):
        looks[path] = replace(looks[path], is_truncated=True)
    return looks, failed


def _look(path: Path) -> Look | ImageError:
    try:
        data = read_bounded(path, _MOST_BYTES)
        image = decode_image(data, path)
    except OSError as error:
        return ImageError(error.strerror or str(error), path=path)
    except ImageError as error:
        return error
    cv2 = load_opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
    digest.update(repr(image.shape).encode())
    thumbnail = cv2.resize(grey, (_THUMBNAIL_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    size = image.shape[1], image.shape[0]
    bits, stated = difference_hash(grey), stated_size(data)
    return Look(path, size, stated, digest.digest(), bits, thumbnail.reshape(-1))


def difference_hash(grey: np.ndarray) -> np.ndarray:
    """Return 64 bits: whether each pixel of a small picture is brighter than its left neighbour.

    Args:
        grey: (H, W) uint8.

    Returns:
        (8,) uint8.

    Example:
        >>> ramp = np.tile(np.arange(90, dtype=np.uint8), (40, 1))
        >>> difference_hash(ramp).tolist()
        [255, 255, 255, 255, 255, 255, 255, 255]
    """
    cv2 = load_opencv()
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1], axis=1).reshape(-1)


def equal_pairs(first: Sequence[Look], second: Sequence[Look]) -> Iterator[tuple[Look, Look]]:
    """Yield each image of ``second`` with the first one of ``first`` that has the same pixels."""
    known: dict[bytes, Look] = {}
    for look in first:
        known.setdefault(look.digest, look)
    for look in second:
        if look.digest in known:
            yield known[look.digest], look


def similar_pairs(first: Sequence[Look], second: Sequence[Look]) -> Iterator[tuple[Look, Look]]:
    """Yield each image of ``second`` with the most similar one of ``first``, if they are similar.

    Images with the same pixels are left out.
    """
    if not first:
        return
    hashes = _signs(first)
    thumbnails = np.stack([look.thumbnail for look in first]).astype(np.int16)
    step = max(1, _PAIRS // len(first))
    for start in range(0, len(second), step):
        rows = second[start : start + step]
        # (R, 64) @ (64, N) -> (R, N): the number of equal bits minus that of different ones
        distance = (_HASH_SIDE**2 - _signs(rows) @ hashes.T) / 2
        for look, distances in zip(rows, distance, strict=True):
            near = np.flatnonzero(distances <= _MOST_BITS)
            if not len(near):
                continue
            difference = np.abs(thumbnails[near] - look.thumbnail).mean(1)
            best = int(difference.argmin())
            other = first[int(near[best])]
            if difference[best] <= _MOST_DIFFERENCE and other.digest != look.digest:
                yield other, look


def _signs(looks: Sequence[Look]) -> np.ndarray:
    """Return (N, 64) float32, the bits of the hashes as 1 and -1."""
    bits = np.unpackbits(np.stack([look.bits for look in looks]), axis=1)
    return bits.astype(np.float32) * 2 - 1
