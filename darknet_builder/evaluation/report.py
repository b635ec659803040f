"""Format the results of an evaluation as plain data and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from darknet_builder.data.image_set import ImageSet
from darknet_builder.evaluation.coco.annotations import CocoSet
from darknet_builder.evaluation.coco.measure import CocoResult
from darknet_builder.evaluation.coco.results import results_text
from darknet_builder.evaluation.darknet_map import ImageBoxes, MapResult
from darknet_builder.evaluation.published import PublishedAccuracy
from darknet_builder.images.truncated import describe_truncated
from darknet_builder.support.text import align_columns, plural

_COLUMNS = (
    "class",
    "name",
    "objects",
    "AP %",
    "TP",
    "FP",
    "FN",
    "precision",
    "recall",
    "F1",
    "IoU %",
)
_COCO_COLUMN = "COCO AP %"
_WORDS = ("name",)


@dataclass(frozen=True)
class EvaluationReport:
    """All results of an evaluation.

    Attributes:
        images: the evaluated images with their labels.
        darknet: the numbers of ``darknet detector map``.
        coco: COCO's numbers; None if they were not computed.
        seconds: duration of the detection, including reading the images.
        truncated: number of images whose file ends too early.
        annotated: COCO's annotations of the images; None for label files.
        boxes: detections of each image.
        published: published numbers of the model; None if there are none.
    """

    images: ImageSet
    darknet: MapResult
    coco: CocoResult | None
    seconds: float
    truncated: int = 0
    annotated: CocoSet | None = None
    boxes: Sequence[ImageBoxes] = field(default=(), repr=False)
    published: PublishedAccuracy | None = None

    @property
    def _has_truth(self) -> bool:
        return self.annotated is None or self.annotated.annotations is not None

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON; without ground truth, ``darknet`` is None."""
        darknet: dict[str, Any] | None = self.darknet.to_dict() if self._has_truth else None
        if darknet is not None and self.coco is not None:
            for row, value in zip(darknet["classes"], self.coco.classes, strict=True):
                row["coco_ap"] = value
        return {
            "skipped_labels": self.images.skipped_labels,
            "labels_over_edge": self.images.labels_over_edge,
            "labels_at_corner": self.images.labels_at_corner,
            "images_without_labels": self.images.num_unlabelled,
            "crowds": None if self.annotated is None else self.annotated.num_crowds,
            "darknet": darknet,
            "coco": None if self.coco is None else self.coco.to_dict(),
            "published": None if self.published is None else self.published.to_dict(),
        }

    def results_file(self) -> str:
        """Return COCO's results file; only with COCO's annotations."""
        assert self.annotated is not None
        return results_text(row for rows in self.annotated.result_rows(self.boxes) for row in rows)

    def lines(self) -> list[str]:
        """Return the table of the classes and the lines below it."""
        if not self._has_truth:
            return [self._images_line()]
        result = self.darknet
        # With 80 classes, most of them are usually absent.
        shown = [row for row in result.classes if row.counts.truths or row.counts.false_positives]
        rows = [
            (str(row.class_id), row.name, *_cells(row.counts, row.average_precision))
            for row in shown
        ]
        rows.append(("", "all", *_cells(result.counts, result.mean_average_precision)))
        columns: tuple[str, ...] = _COLUMNS
        if self.coco is not None:
            # One value for each class shown, and their mean for the row "all".
            values = [*(self.coco.classes[row.class_id] for row in shown), self.coco.ap]
            rows = [(*cells, _percent(value)) for cells, value in zip(rows, values, strict=True)]
            columns = (*_COLUMNS, _COCO_COLUMN)
        return [
            *align_columns([columns, *rows], _WORDS),
            *self._means(len(result.classes) - len(shown)),
            *self._coco_lines(),
            *self._published_lines(),
            self._images_line(),
        ]

    def _means(self, hidden: int) -> list[str]:
        result = self.darknet
        curve = f"{result.points} points" if result.points else "area under the curve"
        present = len(result.present)
        mean = (
            f"mAP@{result.iou:g} = {_percent(result.mean_average_precision)} % over all"
            f" {len(result.classes)} classes ({curve}), {_percent(result.mean_over_present)} % over"
            f" the {present} that occur; TP to IoU are at confidence {result.confidence:g}"
        )
        if not hidden:
            return [mean]
        return [
            (
                f"{hidden} more classes: no objects, and no boxes above the confidence"
                f" {result.confidence:g}; their AP counts as 0"
            ),
            mean,
        ]

    def _coco_lines(self) -> list[str]:
        if self.coco is None:
            return []
        values = {name: _percent(value) for name, value in self.coco.to_dict().items()}
        return [
            "COCO: AP {ap}, AP50 {ap50}, AP75 {ap75}, small {ap_small}, medium {ap_medium}, large"
            " {ap_large}; AR1 {ar1}, AR10 {ar10}, AR100 {ar100}, small {ar_small}, medium"
            " {ar_medium}, large {ar_large} %".format(**values)
        ]

    def _published_lines(self) -> list[str]:
        if self.published is None:
            return []
        return self.published.lines(self.coco, self.images.path.name)

    def _images_line(self) -> str:
        images = self.images
        crowds = ""
        if self.annotated is not None:
            number = self.annotated.num_crowds
            crowds = f", {number} {plural(number, 'crowd')}"
        parts = [
            f"{len(images)} images, {images.num_boxes} objects{crowds};"
            f" {len(images) / max(self.seconds, 1e-9):.1f} images/s"
        ]
        if not self._has_truth:
            parts.append("no accuracy, because there are no annotations")
        if images.num_unlabelled:
            parts.append(f"{images.num_unlabelled} images have no label file")
        if self.truncated:
            parts.append(describe_truncated(self.truncated))
        if images.skipped_labels:
            parts.append(f"{images.skipped_labels} bad labels skipped")
        return "; ".join(parts)


def _cells(counts: Any, average_precision: float) -> tuple[str, ...]:
    return (
        str(counts.truths),
        _percent(average_precision),
        str(counts.true_positives),
        str(counts.false_positives),
        str(counts.false_negatives),
        f"{counts.precision:.2f}",
        f"{counts.recall:.2f}",
        f"{counts.f1:.2f}",
        _percent(counts.average_iou),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
