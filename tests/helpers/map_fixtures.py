"""What ``detector map`` printed, and a result of this project in the same form."""

from __future__ import annotations

from typing import Any

from darknet_builder.evaluation.darknet_map import MapResult

MODELS = ("yolo-fastest-1.1", "MobileNetV2-YOLOv3-Nano-coco")
"""Both cfgs say ``nms_kind=greedynms``."""
CASES = [(points, iou) for points in (0, 11, 101) for iou in (0.5, 0.75)]


def as_recorded(result: MapResult) -> dict[str, Any]:
    """The numbers with as many digits as Darknet prints."""
    counts = result.counts
    return {
        "map": round(result.mean_average_precision, 6),
        "per_class": {
            str(row.class_id): [
                round(100 * row.average_precision, 2),
                row.counts.true_positives,
                row.counts.false_positives,
            ]
            for row in result.classes
            if row.average_precision or row.counts.true_positives or row.counts.false_positives
        },
        "summary": [
            f"{value:.2f}"
            for value in (result.confidence, counts.precision, counts.recall, counts.f1)
        ],
        "counts": [
            str(counts.true_positives),
            str(counts.false_positives),
            str(counts.false_negatives),
            f"{100 * counts.average_iou:.2f}",
        ],
    }


def key(model: str, points: int, iou: float) -> str:
    """The name of a recorded case."""
    return f"{model}|points{points}|iou{iou:g}"
