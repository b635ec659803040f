"""Results of a detector: a frozen, validated, indexable list of objects in image pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from darknet_builder.boxes.conversion import (
    coco_annotations,
    pandas_table,
    supervision_detections,
)
from darknet_builder.cfg.names import find_classes
from darknet_builder.errors import InputError

HIDDEN = "dont_show"
"""Classes whose name begins like this are detected, but neither drawn nor listed (image.c:306,
network.c:1032).
"""


Index = int | np.integer[Any]
Selection = slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]
NO_TRACK = -1
"""In ``track_ids``: the object has no identity, or none yet."""
_COLUMNS = ("boxes_xyxy", "scores", "class_ids", "track_ids")
"""Attributes with a value for each object."""


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects in one image.

    ``len``, iteration and ``==`` work as on a list. An index, a slice, a boolean mask or a list of
    indices selects objects: ``detections[0]``, ``detections[:3]``,
    ``detections[detections.scores > .5]``.

    Attributes:
        boxes_xyxy: (N, 4) float32, left, top, right, bottom in pixels of the image. As in Darknet
            they may extend beyond its edges; ``clipped()`` cuts them off there.
        scores: (N,) float32, the probability of the class times the objectness. A detector returns
            the best first.
        class_ids: (N,) int64, indices into ``names``.
        names: names of all classes of the network.
        image_size: (width, height) of the image in pixels.
        track_ids: (N,) int64, the identity of each object in a video, from 1; -1 for an object
            without one. None if nobody has tracked them.

    Raises:
        InputError: if shapes, lengths or values do not fit together.

    Example:
        >>> detections = Detections(
        ...     [[10, 20, 50, 80], [0, 0, 30, 30]], [0.9, 0.4], [1, 0], ("cat", "dog"), (100, 100)
        ... )
        >>> detections
        Detections(1 dog, 1 cat in 100x100)
        >>> detections[detections.scores > 0.5].labels
        ['dog']
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    names: tuple[str, ...]
    image_size: tuple[int, int]
    track_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._freeze("boxes_xyxy", np.array(self.boxes_xyxy, np.float32))
        self._freeze("scores", np.array(self.scores, np.float32))
        self._freeze("class_ids", _whole_numbers("class_ids", self.class_ids))
        if self.track_ids is not None:
            self._freeze("track_ids", _whole_numbers("track_ids", self.track_ids))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "image_size", (int(self.image_size[0]), int(self.image_size[1])))
        self._check()

    def _freeze(self, name: str, values: np.ndarray) -> None:
        # A frozen dataclass protects its attributes, but not the arrays' contents.
        values.setflags(write=False)
        object.__setattr__(self, name, values)

    def _check(self) -> None:
        if self.boxes_xyxy.ndim != 2 or self.boxes_xyxy.shape[1] != 4:
            raise InputError(f"boxes_xyxy: expected the shape (N, 4), got {self.boxes_xyxy.shape}")
        for name in _COLUMNS[1:]:
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.boxes_xyxy),):
                raise InputError(
                    f"{name}: expected the shape ({len(self.boxes_xyxy)},), one value per box, got"
                    f" {values.shape}"
                )
        if not np.isfinite(self.boxes_xyxy).all() or not np.isfinite(self.scores).all():
            raise InputError("boxes_xyxy and scores: expected finite numbers")
        if (self.boxes_xyxy[:, 2:] < self.boxes_xyxy[:, :2]).any():
            raise InputError("boxes_xyxy: expected left <= right and top <= bottom")
        if ((self.class_ids < 0) | (self.class_ids >= len(self.names))).any():
            raise InputError(
                f"class_ids: expected 0 to {len(self.names) - 1} for {len(self.names)} names, "
                f"got {sorted(set(self.class_ids.tolist()))}"
            )
        tracks = () if self.track_ids is None else self.track_ids.tolist()
        if any(track < 1 and track != NO_TRACK for track in tracks):
            raise InputError(
                f"track_ids: expected 1 or more, or {NO_TRACK} for none, got {sorted(set(tracks))}"
            )
        if min(self.image_size) < 1:
            raise InputError(
                f"image_size: expected (width, height) of 1 or more pixels, got {self.image_size}"
            )

    # ---- selection -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, key: Index) -> Detection: ...

    @overload
    def __getitem__(self, key: Selection) -> Detections: ...

    def __getitem__(self, key: Index | Selection) -> Detections:
        """Return one object as a ``Detection``, or several as ``Detections`` in the given order.

        Raises:
            IndexError: if an object does not exist, or a mask has the wrong length.
        """
        if isinstance(key, slice):
            return self._take(key)
        if isinstance(key, int | np.integer) and not isinstance(key, bool):
            return self._one(int(key))
        rows = np.asarray(key)
        if rows.ndim == 1 and not rows.size and rows.dtype != bool:
            rows = rows.astype(np.int64)  # NumPy makes an empty list float
        # Not left to NumPy, which takes an empty mask for any number of objects.
        is_mask = rows.dtype == bool and rows.shape == (len(self),)
        is_list = rows.ndim == 1 and np.issubdtype(rows.dtype, np.integer)
        if not is_mask and not is_list:
            raise IndexError(
                f"expected an index, a slice, {len(self)} booleans or a list of indices, got"
                f" {key!r}"
            )
        return self._take(rows)

    def _one(self, row: int) -> Detection:
        if not -len(self) <= row < len(self):
            raise IndexError(f"object {row} does not exist: there are {len(self)}")
        rows = slice(row % len(self), row % len(self) + 1)
        return Detection(**self._columns(rows), names=self.names, image_size=self.image_size)

    def _take(self, rows: slice | np.ndarray) -> Detections:
        return Detections(**self._columns(rows), names=self.names, image_size=self.image_size)

    def _columns(self, rows: slice | np.ndarray) -> dict[str, Any]:
        """Return the values of some objects by the name of the attribute."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return {name: None if values is None else values[rows] for name, values in columns.items()}

    def __iter__(self) -> Iterator[Detection]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal to the last bit, in the same order."""
        if not isinstance(other, Detections):
            return NotImplemented
        return (self.names, self.image_size) == (other.names, other.image_size) and all(
            _equal(getattr(self, name), getattr(other, name)) for name in _COLUMNS
        )

    __hash__ = None  # type: ignore[assignment]

    # ---- other forms of the values ---------------------------------------------------------------

    @property
    def labels(self) -> list[str]:
        """The class name of each object."""
        return [self.names[class_id] for class_id in self.class_ids.tolist()]

    @property
    def titles(self) -> list[str]:
        """The class name of each object, after its identity where it has one: ``#3 dog``."""
        if self.track_ids is None:
            return self.labels
        marks = [f"#{track} " if track != NO_TRACK else "" for track in self.track_ids.tolist()]
        return [mark + label for mark, label in zip(marks, self.labels, strict=True)]

    @property
    def boxes_cxcywh(self) -> np.ndarray:
        """(N, 4) float32, centre and size relative to the image, as in Darknet's label files."""
        low, high = self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:]
        return np.concatenate(((low + high) / 2, high - low), 1) / np.array(
            self.image_size * 2, np.float32
        )

    def shown(self) -> Detections:
        """Return the objects to draw and list, without those of classes named ``dont_show...``.

        Darknet hides these in its pictures, its lines and its JSON, and counts them everywhere
        else: in mAP, in COCO's results and in label files.
        """
        return self[[not label.startswith(HIDDEN) for label in self.labels]]

    def keep(self, classes: Sequence[str | int] | None = None, min_size: float = 0) -> Detections:
        """Return the objects of some classes, and of a minimum size.

        Args:
            classes: names or numbers of classes; None for all.
            min_size: pixels of the shorter side of a box, 0 or more.

        Raises:
            InputError: if a class does not exist or ``min_size`` is out of range.

        Example:
            >>> boxes = [[10, 20, 50, 80], [0, 0, 30, 30]]
            >>> found = Detections(boxes, [0.9, 0.4], [1, 0], ("cat", "dog"), (100, 100))
            >>> found.keep(classes=["dog"]), found.keep(min_size=40)
            (Detections(1 dog in 100x100), Detections(1 dog in 100x100))
        """
        if not 0 <= min_size < float("inf"):
            raise InputError("expected 0 or more pixels", argument="min_size", value=min_size)
        sides = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
        kept = sides.min(axis=1, initial=np.inf) >= min_size
        if classes is not None:
            kept &= np.isin(self.class_ids, find_classes(classes, self.names))
        return self[kept]

    def clipped(self) -> Detections:
        """Return the objects with boxes cut off at the image's edges.

        Objects that are entirely outside the image are left out.
        """
        boxes = self.boxes_xyxy.clip(0, np.array(self.image_size * 2, np.float32))
        clipped = replace(self, boxes_xyxy=boxes)
        # A box outside has no width or no height after clipping.
        return clipped[np.asarray((boxes[:, 2:] > boxes[:, :2]).all(1))]

    def rows(self) -> Iterator[tuple[int, str, float, list[float]]]:
        """Yield (class_id, name, score, [left, top, right, bottom]) of each object.

        All are plain Python values.
        """
        return zip(
            self.class_ids.tolist(),
            self.labels,
            self.scores.tolist(),
            self.boxes_xyxy.tolist(),
            strict=True,
        )

    def tracks(self) -> list[int | None]:
        """Return the identity of each object; None where it has none."""
        if self.track_ids is None:
            return [None] * len(self)
        return [None if track == NO_TRACK else track for track in self.track_ids.tolist()]

    def counts(self) -> dict[str, int]:
        """Return the number of objects of each class, the most frequent first."""
        return dict(Counter(self.labels).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return lists, strings and numbers that JSON can hold.

        Tracked objects have the key ``track``, which is None without an identity.
        """
        detections: list[dict[str, Any]] = [
            {"class_id": class_id, "name": name, "score": score, "box_xyxy": box}
            for class_id, name, score, box in self.rows()
        ]
        for row, track in zip(detections, self.tracks(), strict=True):
            if self.track_ids is not None:
                row["track"] = track
        return {"image_size": list(self.image_size), "detections": detections}

    # ---- formats of other programs ---------------------------------------------------------------

    def to_coco(self, image_id: int = 1, *, first_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO annotations of one image, with ``score``, for pycocotools' ``loadRes``.

        Boxes are [left, top, width, height] in pixels, cut off at the image's edges (print_cocos in
        detector.c). ``category_id`` is Darknet's class index, so it begins at 0. An object with an
        identity has ``track_id``. ``coco_document`` makes a complete file of them.

        Args:
            image_id: id of the image among ``images``.
            first_id: id of the first annotation; the others are numbered after it.
        """
        return coco_annotations(self.clipped(), image_id, first_id)

    def to_yolo(self) -> str:
        """Return Darknet's label file: one line ``class x y w h`` per object.

        Values are relative to the image and cut off at its edges.
        """
        inside = self.clipped()
        lines = []
        for class_id, box in zip(
            inside.class_ids.tolist(), inside.boxes_cxcywh.tolist(), strict=True
        ):
            lines.append(f"{class_id} " + " ".join(f"{value:.6f}" for value in box) + "\n")
        return "".join(lines)

    def to_supervision(self) -> Any:
        """Return ``supervision.Detections``, with the names as ``data["class_name"]``.

        Boxes are not cut off at the image's edges. ``track_ids`` become ``tracker_id``.

        Raises:
            MissingExtraError: if supervision is not installed.
        """
        return supervision_detections(self)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per object.

        Its columns are class_id, name, score and, in pixels, x1, y1, x2, y2. Tracked objects have
        the column track, which is empty without an identity.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        return pandas_table(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items()) or "nothing"
        return f"{type(self).__name__}({counts} in {self.image_size[0]}x{self.image_size[1]})"


class Detection(Detections):
    """One object: ``Detections`` of length 1 with singular properties.

    Example:
        >>> detections = Detections([[10, 20, 50, 80]], [0.5], [1], ("cat", "dog"), (100, 100))
        >>> detections[0]
        Detection(name='dog', score=0.5, box_xyxy=(10.0, 20.0, 50.0, 80.0))
        >>> detections[0].box_xyxy
        (10.0, 20.0, 50.0, 80.0)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self) != 1:
            raise InputError(f"expected one object, got {len(self)}")

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels."""
        left, top, right, bottom = self.boxes_xyxy[0].tolist()
        return left, top, right, bottom

    @property
    def score(self) -> float:
        """The probability of the class times the objectness."""
        return float(self.scores[0])

    @property
    def class_id(self) -> int:
        """Index into ``names``."""
        return int(self.class_ids[0])

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.names[self.class_id]

    @property
    def track(self) -> int | None:
        """The identity of the object in a video; None if it has none."""
        return self.tracks()[0]

    def __repr__(self) -> str:
        box = tuple(round(side, 1) for side in self.box_xyxy)
        score = round(self.score, 3)
        track = "" if self.track is None else f", track={self.track}"
        return f"{type(self).__name__}(name={self.name!r}, score={score}, box_xyxy={box}{track})"


def _whole_numbers(name: str, values: Any) -> np.ndarray:
    """Return a copy as int64.

    Raises:
        InputError: if the values are not integers.
    """
    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name}: expected integers, got {array.dtype}")
    return array.astype(np.int64)


def _equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
