"""COCO's average precision of boxes, computed by pycocotools (the extra ``evaluate``).

COCO uses the area of an object's outline to tell small, medium and large ones apart, and ignores
boxes on crowds. ``annotated_average_precision`` takes both from COCO's own annotations.
``coco_average_precision`` takes the ground truth of label files, which have neither: the area is
that of the box, so the three numbers by size differ a little.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from darknet_builder.errors import MissingExtraError
from darknet_builder.evaluation.coco.annotations import CocoSet
from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.support.extras import load_extra

EXTRA = "evaluate"
MAX_BOXES = 100
"""Maximum number of boxes of a class in an image; COCO ignores further ones."""
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
    """COCO's twelve numbers, 0 to 1; None for a number without ground truth.

    Attributes:
        ap: mean AP over the IoU thresholds .5, .55, ... .95 and over the classes with ground truth.
        ap50, ap75: AP at IoU .5 and .75.
        ap_small: AP of objects of less than 32^2 pixels.
        ap_medium: AP of objects of 32^2 to 96^2 pixels.
        ap_large: AP of objects of more than 96^2 pixels.
        ar1, ar10, ar100: average recall with at most 1, 10 or 100 boxes in an image.
        ar_small, ar_medium, ar_large: average recall by size, with at most 100 boxes in an image.
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
        """Return the twelve numbers for JSON, without the classes."""
        return {name: getattr(self, name) for name in _STATISTICS}


def load_pycocotools() -> tuple[ModuleType, ModuleType]:
    """Return the modules ``pycocotools.coco`` and ``pycocotools.cocoeval``.

    Raises:
        MissingExtraError: if pycocotools is not installed.
    """
    return load_extra("pycocotools.coco", EXTRA), load_extra("pycocotools.cocoeval", EXTRA)


def coco_average_precision(images: Sequence[ImageBoxes], names: Sequence[str]) -> CocoResult:
    """Compute COCO's numbers for a set of images.

    Published numbers use scores down to .001 and a wide NMS (.6 in Darknet's ``detector valid``).

    Args:
        images: detections and ground truth of each image.
        names: names of all classes.

    Raises:
        MissingExtraError: if pycocotools is not installed.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2]], np.float32)
        >>> truths = np.array([[0.5, 0.5, 0.2, 0.2, 0]], np.float32)
        >>> scores, class_ids = np.array([0.9], np.float32), np.array([0], np.int32)
        >>> image = ImageBoxes(boxes, scores, class_ids, truths, (640, 480))
        >>> round(coco_average_precision([image], ["cat"]).ap50, 3)
        1.0
    """
    rows = [list(_ground_truth(image)) for image in images]
    found = [list(_detections(image)) for image in images]
    ids = range(len(images))
    truths = _annotations(zip(ids, rows, strict=True))
    return _measure(ids, truths, _annotations(zip(ids, found, strict=True)), range(len(names)))


def annotated_average_precision(images: Sequence[ImageBoxes], truth: CocoSet) -> CocoResult:
    """Compute COCO's numbers with COCO's own annotations.

    They are those of pycocotools for the results file, whose digits the boxes have here.

    Args:
        images: detections of each image, in the order of ``truth.images``.
        truth: the annotations; must have some.

    Raises:
        MissingExtraError: if pycocotools is not installed.
    """
    best = list(map(_best_rows, images))
    found = [json.loads(f"[{','.join(rows)}]") for rows in truth.result_rows(best)]
    detections = _annotations(zip(truth.image_ids, found, strict=True))
    # Copies, because pycocotools writes into them.
    truths = [dict(row) for row in truth.annotations or ()]
    return _measure(truth.image_ids, truths, detections, truth.category_ids)


def _measure(
    image_ids: Sequence[int],
    truths: list[dict[str, Any]],
    detections: list[dict[str, Any]],
    category_ids: Sequence[int],
) -> CocoResult:
    """Run pycocotools.

    Args:
        image_ids: number of each image.
        truths: the annotations of all images.
        detections: the same for the detections, with ``score``.
        category_ids: number of the category of each class.
    """
    coco, evaluator = _load_classes()
    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        ground_truth, found = (
            _dataset(coco(), image_ids, category_ids, rows) for rows in (truths, detections)
        )
        evaluation = evaluator(ground_truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # precision: (IoUs, recalls, classes, areas, limits of boxes) -> mean over IoUs and recalls;
    # -1 where a class has no ground truth. pycocotools sorts the classes by their number.
    by_number = evaluation.eval["precision"][:, :, :, _ALL_AREAS, _FULL_LIST].mean((0, 1))
    by_class = by_number[np.argsort(np.argsort(category_ids))]
    values = map(_known, evaluation.stats[: len(_STATISTICS)])
    statistics = dict(zip(_STATISTICS, values, strict=True))
    return CocoResult(**statistics, classes=tuple(map(_known, by_class)))


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)


def _load_classes() -> tuple[type[Any], type[Any]]:
    """Return ``COCO`` and ``COCOeval``.

    They are those of faster-coco-eval, if it is installed: the numbers are equal to the last digits
    of float64, eight times sooner for thousands of images.
    """
    coco, cocoeval = load_pycocotools()
    try:
        faster = load_extra("faster_coco_eval", EXTRA)
    except MissingExtraError:
        return coco.COCO, cocoeval.COCOeval
    return faster.COCO, faster.COCOeval_faster


def _dataset(
    dataset: Any,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    annotations: list[dict[str, Any]],
) -> Any:
    """Fill an empty ``COCO`` object with the annotations of all images."""
    dataset.dataset = {
        "images": [{"id": image_id} for image_id in image_ids],
        "annotations": annotations,
        "categories": [{"id": number} for number in category_ids],
    }
    dataset.createIndex()
    return dataset


def _annotations(images: Iterable[tuple[int, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Return the annotations of boxes without outlines: the area is that of the box.

    Args:
        images: number and rows of each image.
    """
    # Ids begin at 1, because pycocotools reads 0 as "no match".
    annotations: list[dict[str, Any]] = []
    for image_id, rows in images:
        for row in rows:
            area = row["bbox"][2] * row["bbox"][3]
            more = {"image_id": image_id, "id": len(annotations) + 1, "area": area, "iscrowd": 0}
            annotations.append(row | more)
    return annotations


def _ground_truth(image: ImageBoxes) -> Iterator[dict[str, Any]]:
    """Yield the annotations of the ground truth; boxes are [left, top, width, height] in pixels."""
    rows = image.truths.astype(np.float64)  # (T, 5)
    corner = rows[:, :2] - rows[:, 2:4] / 2
    # (T, 4), scaled by (width, height, width, height)
    boxes = np.concatenate((corner, rows[:, 2:4]), 1) * np.array(image.image_size * 2)
    for box, class_id in zip(boxes.tolist(), rows[:, 4].astype(int).tolist(), strict=True):
        yield {"bbox": box, "category_id": class_id}


def _detections(image: ImageBoxes) -> Iterator[dict[str, Any]]:
    """Yield the annotations of the detections, clipped to the image (print_cocos in detector.c)."""
    keep = _best_of_each_class(image)
    boxes = image.boxes_cxcywh[keep].astype(np.float64)
    corners = np.concatenate(
        (boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1
    ).clip(0, 1)
    corners *= np.array(image.image_size * 2)
    corners[:, 2:] -= corners[:, :2]  # right, bottom -> width, height
    for box, class_id, score in zip(
        corners.tolist(), image.class_ids[keep].tolist(), image.scores[keep].tolist(), strict=True
    ):
        yield {"bbox": box, "category_id": class_id, "score": score}


def _best_rows(image: ImageBoxes) -> ImageBoxes:
    """Return an image with the rows of ``_best_of_each_class`` only, in their order."""
    # By the six digits of the results file, which decide among equal scores.
    rounded = image.scores.astype(np.float64).round(6)
    keep = np.sort(_best_of_each_class(replace(image, scores=rounded)))
    return replace(
        image,
        boxes_cxcywh=image.boxes_cxcywh[keep],
        scores=image.scores[keep],
        class_ids=image.class_ids[keep],
    )


def _best_of_each_class(image: ImageBoxes) -> np.ndarray:
    """Return the rows of the ``MAX_BOXES`` highest scores of each class.

    COCO ignores all others, and they would fill the memory.
    """
    order = np.lexsort((-image.scores, image.class_ids))  # by class, then by falling score
    ids = image.class_ids[order]
    # The rank within its class is the distance from the first row of the class:
    #   ids    0 0 0 2 2
    #   first  0 0 0 3 3      (searchsorted)
    #   rank   0 1 2 0 1
    rank = np.arange(len(ids)) - np.searchsorted(ids, ids)
    return order[rank < MAX_BOXES]
