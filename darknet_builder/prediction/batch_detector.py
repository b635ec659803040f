"""``BatchDetector``: detect in the columns of a batch, inside an engine for large data sets.

Ray Data, Spark, Dask and ``datasets`` copy a function to their workers and call it with batches of
columns. None of them is imported here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.files import Buffer
from darknet_builder.images.inputs import Image
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.pipeline import Outcome, Unreadable, stream
from darknet_builder.support.extras import load_extra
from darknet_builder.support.web.remote import file_at

RESULTS = ("width", "height", "error", "class_id", "class_name", "score", "box")
"""The columns that ``BatchDetector`` adds."""
_BYTES, _PATH = "bytes", "path"
_SIZES = ("width", "height")
_LOADING = threading.Lock()
Columns = Mapping[str, Sequence[Any] | np.ndarray]
"""Values by the name of the column; all columns are equally long."""


class BatchDetector:
    """Detect objects in batches of columns, as Ray, Spark, Dask and ``datasets`` pass them.

    An instance holds the arguments alone, so it can be pickled. Each process loads the model when
    it gets its first batch, and keeps it for all copies of the instance. Images are decoded here
    and not by the engine, because scores depend on the decoder.

    A batch has the column ``bytes`` (contents of image files), or else ``path`` (paths of files,
    or addresses such as ``s3://bucket/a.jpg``). The result has
    all columns of the batch but ``bytes``, and one row for each image in these further columns:

    - ``width``, ``height``: int32, pixels of the image; 0 if it cannot be read.
    - ``error``: why the image cannot be read; empty if it can.
    - ``class_id``, ``class_name``, ``score``: lists with a value for each object.
    - ``box``: list with left, top, right, bottom of each object in pixels of the image.

    Args:
        cfg: the name of a model or a folder, or a path, as for ``Detector``. Every worker must
            have the files.
        weights: path of the ``.weights`` file, as for ``Detector``.
        names: class names, as for ``Detector``.
        **options: further keyword arguments of ``Detector``. ``batch`` is the number of images in
            a call of the network; the batches of the engine may be larger.

    Raises:
        InputError: if ``cfg`` is not a name or a path.
        TypeError: if ``Detector`` has no such argument.

    Example:
        >>> from darknet_builder.data.scenes import draw_scene
        >>> from darknet_builder.images.files import encode_jpeg
        >>> scene = encode_jpeg(draw_scene(3).image, quality=95)
        >>> batch = {"path": ["scene.jpg", "broken.jpg"], "bytes": [scene, b"not an image"]}
        >>> found = BatchDetector("shapes", batch=8)(batch)
        >>> found["class_name"].tolist(), found["width"].tolist()
        ([['circle'], []], [224, 0])
        >>> found["error"].tolist()
        ['', 'not an image that OpenCV can read']
    """

    def __init__(
        self,
        cfg: str | Path,
        weights: str | Path | None = None,
        names: str | Path | Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(cfg, str | Path):
            raise InputError(
                f"expected the name or the files of a model, got {type(cfg).__name__}; every worker"
                " loads the model itself"
            )
        signature(Detector).bind(cfg, weights, names, **options)  # raises for a wrong option
        listed = names if names is None or isinstance(names, str | Path) else tuple(names)
        self._arguments = (cfg, weights, listed), tuple(sorted(options.items()))

    def __call__(self, columns: Columns) -> dict[str, np.ndarray]:
        """Detect objects in the images of a batch; see the class for the columns.

        Args:
            columns: ``bytes`` or ``path``, and any others; arrays or lists.

        Raises:
            DarknetError: as ``Detector``, when the model is loaded.
            InputError: if the columns are wrong.
        """
        images = _find_images(columns)
        with _LOADING:  # Dask calls in several threads
            detector = _load(*self._arguments)
        kept = {name: _as_array(columns[name]) for name in columns if name != _BYTES}
        return {**kept, **_result_columns(stream(detector, images))}


@dataclass(frozen=True)
class _Unusable:
    """A value that is not an image, as a file object that cannot be read."""

    reason: str

    def read(self) -> bytes:
        """Raise the reason."""
        raise ImageError(self.reason)


# A worker may serve several jobs one after the other, and most have one model each.
@lru_cache(maxsize=2)
def _load(files: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> Detector:
    return Detector(*files, **dict(options))


def _find_images(columns: Columns) -> list[Image]:
    """Return the images of a batch.

    Raises:
        InputError: if the columns are wrong.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if _BYTES not in columns and _PATH not in columns:
        raise InputError(f"no column {_BYTES} or {_PATH}; the columns are {', '.join(columns)}")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"the columns have different lengths: {listed}")
    for name in RESULTS:
        if name in columns:
            raise InputError(f"the column {name} is also a result; rename it before")
    if _BYTES in columns:
        return [_encoded(value) for value in columns[_BYTES]]
    return [_file_at(value) for value in columns[_PATH]]


def _encoded(value: object) -> Image:
    if isinstance(value, Buffer):
        return value
    return _Unusable(f"expected bytes, got {type(value).__name__}")


def _file_at(value: object) -> Image:
    if isinstance(value, str | Path):
        return file_at(value) if str(value) else _Unusable("the path is empty")
    return _Unusable(f"expected a path, got {type(value).__name__}")


def _result_columns(outcomes: Iterable[Outcome | Unreadable]) -> dict[str, np.ndarray]:
    rows = [_row(outcome) for outcome in outcomes]
    columns = zip(*rows, strict=True) if rows else [()] * len(RESULTS)
    found = {name: _objects(values) for name, values in zip(RESULTS, columns, strict=True)}
    return {**found, **{name: found[name].astype(np.int32) for name in _SIZES}}


def _row(outcome: Outcome | Unreadable) -> tuple[Any, ...]:
    """Return the values of one image, in the order of ``RESULTS``."""
    if isinstance(outcome, Unreadable):
        # Without the path, which is a column of its own.
        parts = (outcome.error.message, outcome.error.hint)
        return 0, 0, "; ".join(filter(None, parts)), [], [], [], []
    shown = outcome.detections.shown()
    boxes = shown.boxes_xyxy.tolist()
    return (
        *shown.image_size,
        "",
        shown.class_ids.tolist(),
        shown.labels,
        shown.scores.tolist(),
        boxes,
    )


def _as_array(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else _objects(values)


def _objects(values: Sequence[Any]) -> np.ndarray:
    """Return an array of Python objects; NumPy itself would make a table of lists."""
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    return array


def arrow_table(columns: Mapping[str, np.ndarray]) -> Any:
    """Return the result of ``BatchDetector`` as a ``pyarrow.Table``.

    Its types are the same for every batch. Engines guess the types of plain columns, and guess
    others for a batch in which nothing was found.

    Args:
        columns: the result of a call.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    arrow = load_extra("pyarrow", "ray")
    number, text, real = arrow.int32(), arrow.string(), arrow.float32()
    listed = [number, number, text, arrow.list_(arrow.int64()), arrow.list_(text)]
    types = [*listed, arrow.list_(real), arrow.list_(arrow.list_(real))]
    known = dict(zip(RESULTS, types, strict=True))
    return arrow.table(
        {name: arrow.array(values, known.get(name)) for name, values in columns.items()}
    )
