"""Scenes that the package draws itself: the data set of its tests, and what the bundled model
learnt from.

A scene is a textured background with 1 to 10 objects of eight kinds: rotated, shaded, outlined,
partly covering one another, then blurred and covered with noise. Everything follows from the seed.
A box goes around what can be seen of an object, and an object is only placed where most of it and
of each one under it stays to be seen: what a label says can be told from the picture, and nothing
that can be told from the picture goes without a label.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from darknet_builder.data.scene_names import SCENE_NAMES, SCENE_SIZE
from darknet_builder.errors import DataError
from darknet_builder.images.files import write_image
from darknet_builder.images.opencv import load_opencv
from darknet_builder.support.files import write_text, writing

MOST_OBJECTS = 10
_SMALLEST, _LARGEST = 20.0, 54.0
"""Radii in pixels of a scene of ``SCENE_SIZE``."""
_LEAST_VISIBLE = 0.7
_LEAST_CONTRAST = 100
"""Of some channel, in grey levels, between an object and what is under it."""
_ATTEMPTS = 12
_SHIFT = 4
"""Fraction bits of the corners that OpenCV fills between."""
_MANY = 200
"""From so many scenes on, starting a process on every core pays."""
_SPLITS = {"train": 0, "valid": 1}
"""Scenes of different splits never share a seed."""


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: (H, W, 3) uint8, blue, green, red.
        boxes: (T, 5) float32, rows x, y, w, h (centre and size, relative to the image), class.
    """

    image: np.ndarray
    boxes: np.ndarray

    def label_text(self) -> str:
        """Darknet's label file: ``class x y w h`` a line."""
        return "".join(
            f"{int(row[4])} " + " ".join(f"{value:.6f}" for value in row[:4]) + "\n"
            for row in self.boxes
        )


def draw_scene(seed: int, *, split: str = "valid", size: int = SCENE_SIZE) -> Scene:
    """The scene of a seed; the same one every time.

    Args:
        seed: its number within the split.
        split: ``train`` or ``valid``.
        size: of the square picture in pixels.

    Raises:
        DataError: for an unknown split.
    """
    if split not in _SPLITS:
        raise DataError(f"split={split!r} is unknown; expected {' or '.join(_SPLITS)}")
    random = np.random.default_rng((_SPLITS[split], seed))
    canvas = _background(random, size)
    owners = np.zeros((size, size), np.uint8)  # which object each pixel shows, counted from 1
    areas: list[int] = []
    classes: list[int] = []
    for _ in range(int(random.integers(1, MOST_OBJECTS + 1))):
        kind = int(random.integers(len(SCENE_NAMES)))
        if _place(random, canvas, owners, areas, _outline(kind, random)):
            classes.append(kind)
    return Scene(_photograph(random, canvas), _boxes(owners, classes))


# ---- the kinds of objects: outlines in a circle of radius 1 --------------------------------------


def _polar(angles: np.ndarray, radii: np.ndarray | float) -> np.ndarray:
    return np.stack((np.cos(angles), np.sin(angles)), -1) * np.asarray(radii).reshape(-1, 1)


def _regular(corners: int) -> np.ndarray:
    return _polar(np.arange(corners) * 2 * np.pi / corners, 1.0)


def _star() -> np.ndarray:
    return _polar(np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, 0.42, 1.0))


def _cross() -> np.ndarray:
    arm = np.array([(0.32, -0.95), (0.32, -0.32), (0.95, -0.32)])
    quarter = np.array([(0, -1), (1, 0)])
    turns = [np.linalg.matrix_power(quarter, turn) for turn in range(4)]
    return np.concatenate([arm @ turn.T for turn in turns])


def _heart() -> np.ndarray:
    t = np.arange(40) * 2 * np.pi / 40
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((16 * np.sin(t) ** 3, -y - 2.5), -1) / 16.5


def _arrow() -> np.ndarray:
    return np.array(
        [
            (1, 0),
            (0.1, -0.75),
            (0.1, -0.28),
            (-0.95, -0.28),
            (-0.95, 0.28),
            (0.1, 0.28),
            (0.1, 0.75),
        ]
    )


_OUTLINES: tuple[Callable[[], np.ndarray], ...] = (
    lambda: _regular(40),
    lambda: _regular(4),
    lambda: _regular(3),
    _star,
    _cross,
    lambda: _regular(40),
    _heart,
    _arrow,
)
_RING = SCENE_NAMES.index("ring")
_HOLE = 0.58
"""Inner radius of a ring."""


def _outline(kind: int, random: np.random.Generator) -> list[np.ndarray]:
    """The closed curves of one object, turned and stretched: (P, 2) each, of radius about 1."""
    stretch = np.array([1.0, random.uniform(0.75, 1.0)])
    angle, tilt = random.uniform(0, 2 * np.pi, 2)
    curve = _OUTLINES[kind]() @ _rotation(tilt) * stretch @ _rotation(angle)
    return [curve, curve * _HOLE] if kind == _RING else [curve]


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


# ---- putting an object into the scene ------------------------------------------------------------


def _place(
    random: np.random.Generator,
    canvas: np.ndarray,
    owners: np.ndarray,
    areas: list[int],
    curves: list[np.ndarray],
) -> bool:
    """Draw the object somewhere where enough of everything stays to be seen; False when no place
    was found.
    """
    cv2 = load_opencv()
    size = len(owners)
    unit = size / SCENE_SIZE
    for _ in range(_ATTEMPTS):
        # Even on a logarithmic scale: small objects are as frequent as large ones.
        radius = unit * float(np.exp(random.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
        centre = random.uniform(radius * 0.6, size - radius * 0.6, 2)
        points = [
            np.round((curve * radius + centre) * 2**_SHIFT).astype(np.int32) for curve in curves
        ]
        mask = np.zeros_like(owners)
        cv2.fillPoly(mask, points, 255, cv2.LINE_AA, _SHIFT)
        solid = mask > 127
        whole = _whole_area(curves) * radius**2
        if int(solid.sum()) < _LEAST_VISIBLE * whole or not _leaves_enough(owners, solid, areas):
            continue
        _paint(random, canvas, mask, points, radius)
        owners[solid] = len(areas) + 1
        areas.append(round(whole))
        return True
    return False


def _whole_area(curves: list[np.ndarray]) -> float:
    """Of the object as if nothing covered it, in units of its radius squared (the shoelace
    formula).
    """
    areas = [
        abs(
            float(
                (
                    curve[:, 0] * np.roll(curve[:, 1], -1) - curve[:, 1] * np.roll(curve[:, 0], -1)
                ).sum()
            )
        )
        / 2
        for curve in curves
    ]
    return areas[0] - sum(areas[1:])


def _leaves_enough(owners: np.ndarray, solid: np.ndarray, areas: list[int]) -> bool:
    visible = np.bincount(owners[~solid], minlength=len(areas) + 1)
    return all(visible[index] >= _LEAST_VISIBLE * area for index, area in enumerate(areas, start=1))


def _paint(
    random: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    points: list[np.ndarray],
    radius: float,
) -> None:
    """Fill with a shaded colour, sometimes with stripes or a rim, on the canvas (H, W, 3)
    float32.
    """
    cv2 = load_opencv()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    height, width = window[0].stop - window[0].start, window[1].stop - window[1].start
    y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(radius)
    direction = random.uniform(-1, 1, 2)
    shade = 35 * (direction[0] * (x - x.mean()) + direction[1] * (y - y.mean()))
    if random.random() < 0.3:
        shade = shade + random.uniform(15, 40) * np.sign(
            np.sin((x * direction[0] + y * direction[1]) * 9)
        )
    share = (mask[window] / np.float32(255))[..., None]
    under = (canvas[window] * share).sum((0, 1)) / share.sum()
    fill = _other_colour(random, under) + shade[..., None]
    if random.random() < 0.4:
        rim = np.zeros_like(mask)
        cv2.polylines(rim, points, True, 255, max(1, round(radius * 0.12)), cv2.LINE_AA, _SHIFT)
        rim_share = (rim[window] / np.float32(255))[..., None]
        fill = fill * (1 - rim_share) + random.uniform(0, 255, 3) * rim_share
    canvas[window] = canvas[window] * (1 - share) + fill * share


def _other_colour(random: np.random.Generator, under: np.ndarray) -> np.ndarray:
    """A colour that can be told from what it is painted over."""
    while True:
        colour: np.ndarray = random.uniform(0, 255, 3)
        if np.abs(colour - under).max() > _LEAST_CONTRAST:
            return colour


# ---- the background, and the camera --------------------------------------------------------------


def _background(random: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) float32 in [0, 255]: blobs of several sizes, stripes, stray lines."""
    cv2 = load_opencv()
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = random.uniform(30, 225, 3)
    for cells in random.choice([2, 4, 9, 20, 50], 2, replace=False):
        noise = random.normal(0, random.uniform(5, 25), (int(cells), int(cells), 3)).astype(
            np.float32
        )
        canvas += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    if random.random() < 0.5:
        y, x = np.mgrid[:size, :size].astype(np.float32) / np.float32(size)
        wave = np.sin(
            (x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) * random.uniform(20, 160)
        )
        canvas += (np.sign(wave) if random.random() < 0.5 else wave)[..., None] * random.uniform(
            -20, 20, 3
        )
    for _ in range(int(random.integers(6))):
        ends = random.integers(0, size, 4).tolist()
        cv2.line(
            canvas,
            ends[:2],
            ends[2:],
            random.uniform(0, 255, 3).tolist(),
            int(random.integers(1, 4)),
            cv2.LINE_AA,
        )
    return canvas


def _photograph(random: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Blur and noise -> uint8."""
    cv2 = load_opencv()
    if random.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.4, 1.4))
    grain = random.standard_normal(canvas.shape, np.float32) * np.float32(random.uniform(0, 10))
    return np.clip(canvas + grain, 0, 255).round().astype(np.uint8)


def _boxes(owners: np.ndarray, classes: list[int]) -> np.ndarray:
    """(T, 5): around the visible pixels of each object."""
    size = len(owners)
    rows = np.zeros((len(classes), 5), np.float32)
    for index, kind in enumerate(classes):
        y, x = np.nonzero(owners == index + 1)
        left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
        rows[index] = (
            (left + right) / 2 / size,
            (top + bottom) / 2 / size,
            (right - left) / size,
            (bottom - top) / size,
            kind,
        )
    return rows


# ---- a whole data set ----------------------------------------------------------------------------


def write_scenes(
    folder: str | Path, counts: dict[str, int], *, seed: int = 0, size: int = SCENE_SIZE
) -> Path:
    """Draw a data set as Darknet reads it: images, label files, lists, names and a ``.data`` file.

    Args:
        folder: made where it is not there.
        counts: how many scenes of ``train`` and of ``valid``.
        seed: number of the first scene of each.
        size: of the pictures in pixels.

    Returns:
        The path of the ``.data`` file.

    Raises:
        DataError: when something cannot be written.
    """
    target = Path(folder)
    for split, count in counts.items():
        _write_split(target, split, range(seed, seed + count), size)
    _write_text(target / "scenes.names", "".join(f"{name}\n" for name in SCENE_NAMES))
    lists = "".join(f"{split} = {split}.txt\n" for split in counts)
    data = target / "scenes.data"
    _write_text(
        data, f"classes = {len(SCENE_NAMES)}\n{lists}names = scenes.names\nbackup = backup\n"
    )
    return data


def _write_split(folder: Path, split: str, seeds: range, size: int) -> None:
    for kind in ("images", "labels"):
        with writing(folder / kind / split, DataError):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    write = partial(_write_scene, folder, split, size)
    if len(seeds) < _MANY:
        paths = [write(seed) for seed in seeds]
    else:
        with ProcessPoolExecutor() as pool:
            paths = list(pool.map(write, seeds, chunksize=_MANY // 10))
    _write_text(folder / f"{split}.txt", "".join(f"{path}\n" for path in paths))


def _write_scene(folder: Path, split: str, size: int, seed: int) -> str:
    """One image and its labels; its line in the list."""
    scene = draw_scene(seed, split=split, size=size)
    path = f"images/{split}/{seed:06d}.jpg"
    write_image(folder / path, scene.image)
    _write_text(folder / "labels" / split / f"{seed:06d}.txt", scene.label_text())
    return path


def _write_text(path: Path, text: str) -> None:
    with writing(path, DataError):
        write_text(path, text)
