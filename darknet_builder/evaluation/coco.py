"""COCO's average precision of boxes, computed by pycocotools (the extra ``evaluate``).

Truths come from label files: their areas are those of the boxes, which for COCO itself are those of
the outlines, and crowds are not known. So ``small``, ``medium`` and ``large`` differ a little from
what COCO's own annotations give.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.support.extras import load_extra

EXTRA = "evaluate"
MOST_BOXES = 100
"""Of a class in an image; COCO looks at no more."""
_STATISTICS = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
)
_ALL_AREAS, _FULL_LIST = 0, -1


@dataclass(frozen=True)
class CocoResult:
    """COCO's twelve numbers, 0 to 1; None where there is no truth to find.

    Attributes:
        ap: mean over IoU .5, .55, ... .95 and over the classes of which there are truths.
        ap50, ap75: at one IoU.
        ap_small, ap_medium, ap_large: truths of less than 32^2, up to 96^2, and more pixels.
        ar1, ar10, ar100: average recall with so many boxes an image.
        ar_small, ar_medium, ar_large: likewise, with 100.
        classes: ``ap`` of each class.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    classes: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for JSON; the classes are left out."""
        return {name: getattr(self, name) for name in _STATISTICS}


def load_pycocotools() -> tuple[ModuleType, ModuleType]:
    """``pycocotools.coco`` and ``pycocotools.cocoeval``.

    Raises:
        MissingExtraError: where it is not installed.
    """
    return load_extra("pycocotools.coco", EXTRA), load_extra("pycocotools.cocoeval", EXTRA)


def coco_average_precision(images: Sequence[ImageBoxes], names: Sequence[str]) -> CocoResult:
    """COCO's numbers for a set of images.

    Args:
        images: what was found and what is there. The scores should go down to .001 and the NMS be
            wide (Darknet's ``detector valid``: .6) for numbers like the published ones.
        names: of all classes.

    Raises:
        MissingExtraError: without pycocotools.
    """
    coco, cocoeval = load_pycocotools()
    with redirect_stdout(io.StringIO()):  # it prints its progress
        truths = _dataset(coco, names, [_truths(image) for image in images])
        found = _dataset(coco, names, [_found(image) for image in images])
        evaluation = cocoeval.COCOeval(truths, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # precision: (IoUs, recalls, classes, areas, lengths of the list); -1 where a class has no
    # truths.
    by_class = evaluation.eval["precision"][:, :, :, _ALL_AREAS, _FULL_LIST].mean((0, 1))
    statistics = dict(zip(_STATISTICS, map(_known, evaluation.stats), strict=True))
    return CocoResult(**statistics, classes=tuple(map(_known, by_class)))


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)


def _dataset(
    coco: ModuleType, names: Sequence[str], images: Sequence[Iterator[dict[str, Any]]]
) -> Any:
    """A ``COCO`` of annotations; ids begin at 1, because 0 means none to pycocotools."""
    annotations: list[dict[str, Any]] = []
    for image_id, rows in enumerate(images):
        for row in rows:
            area = row["bbox"][2] * row["bbox"][3]
            annotations.append(
                row | {"image_id": image_id, "id": len(annotations) + 1, "area": area, "iscrowd": 0}
            )
    dataset = coco.COCO()
    dataset.dataset = {
        "images": [{"id": image_id} for image_id in range(len(images))],
        "annotations": annotations,
        "categories": [{"id": class_id, "name": name} for class_id, name in enumerate(names)],
    }
    dataset.createIndex()
    return dataset


def _truths(image: ImageBoxes) -> Iterator[dict[str, Any]]:
    """Boxes in pixels: [left, top, width, height]."""
    rows = image.truths.astype(np.float64)
    corner = rows[:, :2] - rows[:, 2:4] / 2
    boxes = np.concatenate((corner, rows[:, 2:4]), 1) * np.array(image.image_size * 2)
    for box, class_id in zip(boxes.tolist(), rows[:, 4].astype(int).tolist(), strict=True):
        yield {"bbox": box, "category_id": class_id}


def _found(image: ImageBoxes) -> Iterator[dict[str, Any]]:
    """The best boxes of each class, cut off at the image's edges (print_cocos in detector.c)."""
    keep = _best_of_each_class(image)
    boxes = image.boxes_cxcywh[keep].astype(np.float64)
    corners = np.concatenate(
        (boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1
    ).clip(0, 1)
    corners *= np.array(image.image_size * 2)
    corners[:, 2:] -= corners[:, :2]
    for box, class_id, score in zip(
        corners.tolist(), image.class_ids[keep].tolist(), image.scores[keep].tolist(), strict=True
    ):
        yield {"bbox": box, "category_id": class_id, "score": score}


def _best_of_each_class(image: ImageBoxes) -> np.ndarray:
    """Rows of the first ``MOST_BOXES`` of each class, by score: no others count, and they would
    fill the memory.
    """
    order = np.lexsort((-image.scores, image.class_ids))
    ids = image.class_ids[order]
    place = np.arange(len(ids)) - np.searchsorted(ids, ids)
    return order[place < MOST_BOXES]
