"""Recall of boxes without regard to classes, as ``darknet detector recall`` counts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.formats import on_cpu
from darknet_builder.boxes.nms import best_of_groups
from darknet_builder.boxes.overlap import pairwise_iou
from darknet_builder.data.image_set import LabelledImage
from darknet_builder.prediction.detector import Detector

# validate_detector_recall (detector.c:841)
RECALL_THRESHOLD, RECALL_NMS, RECALL_IOU = 0.001, 0.4, 0.5


@dataclass(frozen=True)
class Recall:
    """The counts after some images.

    Attributes:
        images: number of images so far.
        correct: number of objects that a box overlaps by more than ``RECALL_IOU``.
        total: number of ground-truth objects.
        proposals: number of predicted boxes.
        overlap: sum of the largest IoU of each object.

    Example:
        >>> recall = Recall(images=1, correct=4, total=4, proposals=189, overlap=2.8664)
        >>> recall.line().split()
        ['0', '4', '4', 'RPs/Img:', '189.00', 'IOU:', '71.66%', 'Recall:100.00%']
    """

    images: int = 0
    correct: int = 0
    total: int = 0
    proposals: int = 0
    overlap: float = 0.0

    def after(self, boxes_cxcywh: np.ndarray, truths: np.ndarray) -> Recall:
        """Count one more image.

        Args:
            boxes_cxcywh: (N, 4) float32, after suppression, relative to the image.
            truths: (T, 5) float32, rows x, y, w, h, class.
        """
        best = np.zeros(len(truths), np.float32)
        if len(truths) and len(boxes_cxcywh):
            overlaps = pairwise_iou(
                torch.from_numpy(truths[:, :4]), torch.from_numpy(boxes_cxcywh)
            ).numpy()  # (T, N)
            best = overlaps.max(1)
        return Recall(
            self.images + 1,
            self.correct + int((best > RECALL_IOU).sum()),
            self.total + len(truths),
            self.proposals + len(boxes_cxcywh),
            self.overlap + float(best.sum(dtype=np.float64)),
        )

    def line(self) -> str:
        """Return the line that Darknet writes to standard error after an image."""
        total = max(self.total, 1)  # Darknet prints nan before the first object
        return (
            f"{self.images - 1:5d} {self.correct:5d} {self.total:5d}"
            f"\tRPs/Img: {self.proposals / self.images:.2f}"
            f"\tIOU: {100 * self.overlap / total:.2f}%\tRecall:{100 * self.correct / total:.2f}%"
        )


def count_recall(detector: Detector, images: Sequence[LabelledImage]) -> Iterator[Recall]:
    """Yield the counts after each image.

    Args:
        detector: must stretch images, as Darknet does here whatever the cfg says.
        images: read one after the other.

    Raises:
        ImageError: if an image cannot be read.
    """
    recall = Recall()
    for image in images:
        detector.network.reset_state()
        prepared = detector.prepare(image.path)
        raw_maps = detector.raw_maps(prepared.x[None])  # (C, H, W) -> (1, C, H, W)
        recall = recall.after(_proposals(detector, raw_maps), image.boxes)
        yield recall


@torch.inference_mode()
def _proposals(detector: Detector, raw_maps: Sequence[Tensor]) -> np.ndarray:
    """Return (N, 4) the boxes left after suppression across all classes, by objectness."""
    network = detector.network
    boxes, objectness = [], []
    for head, raw in zip(network.heads, raw_maps, strict=True):
        candidates = head.decode(raw, network.input_size)
        boxes.append(on_cpu(candidates.boxes_cxcywh[0]))
        objectness.append(on_cpu(candidates.objectness[0]))
    all_boxes, scores = np.concatenate(boxes), np.concatenate(objectness)
    kept = scores > np.float32(RECALL_THRESHOLD)
    all_boxes, scores = all_boxes[kept], scores[kept]
    one_group = np.zeros(len(scores), np.int64)
    return all_boxes[best_of_groups(all_boxes, scores, one_group, RECALL_NMS)]
