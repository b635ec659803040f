"""The table that ``darknet detector map`` prints."""

from __future__ import annotations

from darknet_builder.evaluation.darknet_map import MapResult

_EVERY = 100
"""Darknet shows its progress at each hundredth box (detector.c:1239)."""
_ADVICE = (
    "\nSet -points flag:\n"
    " `-points 101` for MS COCO \n"
    " `-points 11` for PascalVOC 2007 (uncomment `difficult` in voc.data) \n"
    " `-points 0` (AUC) for ImageNet, PascalVOC 2010-2012, your custom dataset\n"
)


def map_table(result: MapResult) -> str:
    """Return the counts, a line for each class, and the means (detector.c:1340).

    Args:
        result: the numbers of the evaluation.

    Example:
        >>> result = MapResult((), num_images=0, iou=0.5, points=11, confidence=0.25)
        >>> print(map_table(result).splitlines()[7].strip())
        mean average precision (mAP@0.50) = 0.000000, or 0.00 %
    """
    counts = result.counts
    num_boxes = sum(len(row.curve.scores) for row in result.classes)
    confidence = f" for conf_thresh = {result.confidence:.2f},"
    curve = "used Area-Under-Curve for each unique Recall"
    if result.points:
        curve = f"used {result.points} Recall-points"
    mean = result.mean_average_precision
    return "".join(
        (
            f"\n detections_count = {num_boxes}, unique_truth_count = {counts.truths}  \n",
            *(f" rank = {rank} of ranks = {num_boxes} \r" for rank in range(0, num_boxes, _EVERY)),
            *_class_lines(result),
            f"\n{confidence} precision = {counts.precision:.2f}, recall = {counts.recall:.2f},"
            f" F1-score = {counts.f1:.2f} \n",
            f"{confidence} TP = {counts.true_positives}, FP = {counts.false_positives},"
            f" FN = {counts.false_negatives}, average IoU = {100 * counts.average_iou:.2f} % \n",
            f"\n IoU threshold = {100 * result.iou:2.0f} %, {curve} \n",
            f" mean average precision (mAP@{result.iou:.2f}) = {mean:f}, or {100 * mean:.2f} % \n",
            _ADVICE,
        )
    )


def _class_lines(result: MapResult) -> list[str]:
    return [
        f"class_id = {row.class_id}, name = {row.name}, ap = {100 * row.average_precision:.2f}%"
        f"   \t (TP = {row.counts.true_positives}, FP = {row.counts.false_positives}) \n"
        for row in result.classes
    ]
