"""Draw scenes, the data set of the tests and of the bundled model.

A scene is a textured background with 1 to 10 objects of eight kinds: rotated, shaded, outlined,
partly covering one another, then blurred and covered with noise. Everything follows from the seed.
A box encloses the visible part of an object, and objects are placed so that at least 70 % of each
stays visible.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from darknet_builder.data.outlines import draw_outline
from darknet_builder.data.scene_names import SCENE_NAMES, SCENE_SIZE
from darknet_builder.errors import DataError
from darknet_builder.images.files import write_image
from darknet_builder.images.opencv import load_opencv
from darknet_builder.support.files import write_text, writing

MAX_OBJECTS = 10
_SMALLEST, _LARGEST = 20.0, 54.0
"""Minimum and maximum radius in pixels, at ``SCENE_SIZE``."""
_MIN_VISIBLE = 0.7
"""Minimum visible part of an object's area."""
_MIN_CONTRAST = 100
"""Minimum difference of an object to the background in some channel, in grey levels."""
_ATTEMPTS = 12
_SHIFT = 4
"""Number of fractional bits in the coordinates that OpenCV draws."""
_PARALLEL_FROM = 200
"""Minimum number of scenes for which starting a process on every core saves time."""
_SPLITS = {"train": 0, "valid": 1}
"""A part of the seed, so that scenes of different splits differ."""


@dataclass(frozen=True)
class Scene:
    """A drawn picture and its boxes.

    Attributes:
        image: (H, W, 3) uint8, blue, green, red.
        boxes: (T, 5) float32, rows x, y, w, h (centre and size, relative to the image), class.

    Example:
        >>> boxes = np.array([[0.5, 0.25, 0.125, 0.5, 3]], np.float32)
        >>> Scene(np.zeros((8, 8, 3), np.uint8), boxes).label_text().strip()
        '3 0.500000 0.250000 0.125000 0.500000'
    """

    image: np.ndarray
    boxes: np.ndarray

    def label_text(self) -> str:
        """Return the text of Darknet's label file, ``class x y w h`` a line."""
        lines = []
        for *box, class_id in self.boxes:
            numbers = " ".join(f"{value:.6f}" for value in box)
            lines.append(f"{int(class_id)} {numbers}\n")
        return "".join(lines)


def draw_scene(seed: int, *, split: str = "valid", size: int = SCENE_SIZE) -> Scene:
    """Draw the scene of a seed; equal arguments give equal scenes.

    Args:
        seed: number of the scene within the split, 0 or more.
        split: ``train`` or ``valid``; equal seeds give different scenes in the two.
        size: width and height of the picture in pixels.

    Raises:
        DataError: for an unknown split.

    Example:
        >>> scene = draw_scene(3)
        >>> scene.image.shape
        (224, 224, 3)
        >>> [SCENE_NAMES[int(row[4])] for row in scene.boxes]
        ['circle']
    """
    if split not in _SPLITS:
        raise DataError(f"split={split!r} is unknown; expected {' or '.join(_SPLITS)}")
    random = np.random.default_rng((_SPLITS[split], seed))
    canvas = _background(random, size)
    owners = np.zeros((size, size), np.uint8)  # the object that each pixel shows, from 1; 0: none
    areas: list[int] = []
    classes: list[int] = []
    for _ in range(int(random.integers(1, MAX_OBJECTS + 1))):
        kind = int(random.integers(len(SCENE_NAMES)))
        if _place(random, canvas, owners, areas, draw_outline(SCENE_NAMES[kind], random)):
            classes.append(kind)
    return Scene(_photograph(random, canvas), _boxes(owners, classes))


def draw_field(columns: int, rows: int, *, seed: int = 0, split: str = "valid") -> Scene:
    """Draw scenes side by side as one large picture of many small objects.

    Args:
        columns: number of scenes in a row.
        rows: number of rows.
        seed: number of the first scene; the others are the next ones, row by row.
        split: ``train`` or ``valid``.

    Example:
        >>> field = draw_field(3, 2)
        >>> field.image.shape, len(field.boxes) == sum(len(draw_scene(n).boxes) for n in range(6))
        ((448, 672, 3), True)
    """
    image = np.empty((rows * SCENE_SIZE, columns * SCENE_SIZE, 3), np.uint8)
    boxes = []
    for number in range(columns * rows):
        row, column = divmod(number, columns)
        scene = draw_scene(seed + number, split=split)
        top, left = row * SCENE_SIZE, column * SCENE_SIZE
        image[top : top + SCENE_SIZE, left : left + SCENE_SIZE] = scene.image
        # x, y, w, h of the scene -> of the field; the class stays.
        start = np.array([column, row, 0, 0, 0], np.float32)
        boxes.append((scene.boxes + start) / np.array([columns, rows, columns, rows, 1]))
    return Scene(image, np.concatenate(boxes).astype(np.float32))


# ---- putting an object into the scene ------------------------------------------------------------


def _place(
    random: np.random.Generator,
    canvas: np.ndarray,
    owners: np.ndarray,
    areas: list[int],
    curves: list[np.ndarray],
) -> bool:
    """Draw an object where enough of all objects stays visible.

    Args:
        random: generator of the position, size and colour.
        canvas: (size, size, 3) float32, the picture; drawn on.
        owners: (size, size) uint8, the object that each pixel shows; updated.
        areas: full area of each object in pixels; the new one is appended.
        curves: closed curves of the object, of radius 1.

    Returns:
        False when no position was found.
    """
    cv2 = load_opencv()
    size = len(owners)
    unit = size / SCENE_SIZE
    for _ in range(_ATTEMPTS):
        # Uniform on a logarithmic scale: halving a radius is as frequent as doubling it.
        radius = unit * float(np.exp(random.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
        # Up to 0.4 radii may lie beyond an edge, so that labels with cut-off objects occur.
        centre = random.uniform(radius * 0.6, size - radius * 0.6, 2)
        points = [
            np.round((curve * radius + centre) * 2**_SHIFT).astype(np.int32) for curve in curves
        ]
        mask = np.zeros_like(owners)
        cv2.fillPoly(mask, points, 255, cv2.LINE_AA, _SHIFT)
        solid = mask > 127
        whole = _whole_area(curves) * radius**2
        # The first condition fails when an edge of the picture cuts off too much.
        if int(solid.sum()) < _MIN_VISIBLE * whole or not _leaves_enough(owners, solid, areas):
            continue
        _paint(random, canvas, mask, points, radius)
        owners[solid] = len(areas) + 1
        areas.append(round(whole))
        return True
    return False


def _whole_area(curves: list[np.ndarray]) -> float:
    """Return the area of an uncovered object, in units of its radius squared."""
    areas = []
    for curve in curves:
        # The shoelace formula: the sum of x[i] * y[i + 1] - y[i] * x[i + 1] is twice the area.
        x, y = curve[:, 0], curve[:, 1]
        areas.append(abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2)
    return areas[0] - sum(areas[1:])


def _leaves_enough(owners: np.ndarray, solid: np.ndarray, areas: list[int]) -> bool:
    """Whether enough of each earlier object stays visible beside a new one."""
    visible = np.bincount(owners[~solid], minlength=len(areas) + 1)
    return all(visible[index] >= _MIN_VISIBLE * area for index, area in enumerate(areas, start=1))


def _paint(
    random: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    points: list[np.ndarray],
    radius: float,
) -> None:
    """Fill an object with a shaded colour, sometimes with stripes or a rim.

    Args:
        random: generator of the colour and the pattern.
        canvas: (H, W, 3) float32, values in [0, 255]; drawn on.
        mask: (H, W) uint8, 255 inside the object, less at its antialiased edge.
        points: closed curves in pixels, with ``_SHIFT`` fractional bits.
        radius: of the object, in pixels.
    """
    cv2 = load_opencv()
    # All work is done in the window around the object: it is much smaller than the canvas.
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    height, width = window[0].stop - window[0].start, window[1].stop - window[1].start
    # In units of the radius, so that small and large objects are shaded alike.
    y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(radius)
    direction = random.uniform(-1, 1, 2)
    shade = 35 * (direction[0] * (x - x.mean()) + direction[1] * (y - y.mean()))
    if random.random() < 0.3:
        shade = shade + random.uniform(15, 40) * np.sign(
            np.sin((x * direction[0] + y * direction[1]) * 9)
        )
    # (h, w, 1): how much of each pixel the object covers; its edge is antialiased.
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
    """Draw a colour with enough contrast to the mean colour under the object."""
    while True:
        colour: np.ndarray = random.uniform(0, 255, 3)
        if np.abs(colour - under).max() > _MIN_CONTRAST:
            return colour


# ---- the background, and the camera --------------------------------------------------------------


def _background(random: np.random.Generator, size: int) -> np.ndarray:
    """Draw blobs of several sizes, stripes and lines: (size, size, 3) float32, about [0, 255]."""
    cv2 = load_opencv()
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = random.uniform(30, 225, 3)
    # A small grid of noise, enlarged smoothly, gives blobs; two grid sizes give two scales.
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
        # (size, size, 1) times one amplitude for each of 3 channels
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
    """Add blur and noise, and round to uint8."""
    cv2 = load_opencv()
    if random.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.4, 1.4))
    grain = random.standard_normal(canvas.shape, np.float32) * np.float32(random.uniform(0, 10))
    return np.clip(canvas + grain, 0, 255).round().astype(np.uint8)


def _boxes(owners: np.ndarray, classes: list[int]) -> np.ndarray:
    """Return (T, 5), the boxes around the visible pixels of each object."""
    size = len(owners)
    rows = np.zeros((len(classes), 5), np.float32)
    for index, kind in enumerate(classes):
        y, x = np.nonzero(owners == index + 1)
        # The last pixel belongs to the box, hence + 1.
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
        folder: the folder to write to; created if it does not exist.
        counts: number of scenes for each split, ``train`` and ``valid``.
        seed: number of the first scene of each split, 0 or more.
        size: width and height of the pictures in pixels.

    Returns:
        The path of the ``.data`` file.

    Raises:
        DataError: when something cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = write_scenes(folder, {"train": 2, "valid": 1})
        ...     (data.name, data.with_name("train.txt").read_text().split())
        ('scenes.data', ['images/train/000000.jpg', 'images/train/000001.jpg'])
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
    if len(seeds) < _PARALLEL_FROM:
        paths = [write(seed) for seed in seeds]
    else:
        with ProcessPoolExecutor() as pool:
            paths = list(pool.map(write, seeds, chunksize=_PARALLEL_FROM // 10))
    _write_text(folder / f"{split}.txt", "".join(f"{path}\n" for path in paths))


def _write_scene(folder: Path, split: str, size: int, seed: int) -> str:
    """Write one image and its labels; return its line of the list."""
    scene = draw_scene(seed, split=split, size=size)
    path = f"images/{split}/{seed:06d}.jpg"
    write_image(folder / path, scene.image)
    _write_text(folder / "labels" / split / f"{seed:06d}.txt", scene.label_text())
    return path


def _write_text(path: Path, text: str) -> None:
    with writing(path, DataError):
        write_text(path, text)
