"""The boxes of an image as the ``darknet`` program lists them: all classes of each box together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from darknet_builder.boxes.detections import HIDDEN
from darknet_builder.data.labels import no_boxes
from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.evaluation.predictions import image_boxes
from darknet_builder.images.resize import Placement
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.postprocessing import by_image, decode_above, nms_rule


@dataclass(frozen=True)
class ListedBoxes:
    """The boxes of an image, in the order in which Darknet lists them and writes them to files.

    There are N boxes and C classes.

    Attributes:
        boxes_cxcywh: (N, 4) float32, relative to the image; they may extend beyond its edges.
        scores: (N, C) float32; 0 for a class that is suppressed or not above the threshold.
        names: one name for each class.
        image_size: (width, height) in pixels.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2]], np.float32)
        >>> scores = np.array([[0.75, 0.5]], np.float32)
        >>> listed = ListedBoxes(boxes, scores, ("cat", "dog"), (640, 480))
        >>> listed.best_shown().tolist()
        [0]
    """

    boxes_cxcywh: np.ndarray
    scores: np.ndarray
    names: Sequence[str]
    image_size: tuple[int, int]

    @classmethod
    def of(cls, rows: ImageBoxes, names: Sequence[str]) -> ListedBoxes:
        """Join the rows of each box to one.

        Args:
            rows: one row for each class of a box, in Darknet's order.
            names: names of all classes.

        Example:
            >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2]] * 2, np.float32)
            >>> scores, class_ids = np.array([0.5, 0.75], np.float32), np.array([0, 1], np.int32)
            >>> no_truths = np.zeros((0, 5), np.float32)
            >>> rows = ImageBoxes(boxes, scores, class_ids, no_truths, (640, 480))
            >>> ListedBoxes.of(rows, ("cat", "dog")).scores.tolist()
            [[0.5, 0.75]]
        """
        # The rows of a box are adjacent, and their classes increase. The next box begins where the
        # coordinates change or the class does not increase:
        #   box    a a b c c      class  0 3 3 1 2      is_first  T F T T F
        is_first = np.ones(len(rows.scores), bool)
        if len(is_first) > 1:
            same = (rows.boxes_cxcywh[1:] == rows.boxes_cxcywh[:-1]).all(1)
            is_first[1:] = ~(same & (np.diff(rows.class_ids) > 0))
        numbers = is_first.cumsum() - 1  # (M,) the box of each row
        scores = np.zeros((int(is_first.sum()), len(names)), np.float32)
        scores[numbers, rows.class_ids] = rows.scores
        return cls(rows.boxes_cxcywh[is_first], scores, tuple(names), rows.image_size)

    def __len__(self) -> int:
        return len(self.boxes_cxcywh)

    def shown_classes(self) -> np.ndarray:
        """Return (C,) bool: False for ``dont_show`` classes (image.c:306)."""
        return np.array([not name.startswith(HIDDEN) for name in self.names], bool)

    def best_shown(self) -> np.ndarray:
        """Return (N,) the best class of each box, except ``dont_show`` ones; -1 if all are 0."""
        scores = np.where(self.shown_classes(), self.scores, 0)  # (N, C)
        return np.where(scores.max(1, initial=0) > 0, scores.argmax(1), -1)

    def corners_in_pixels(self) -> np.ndarray:
        """Return (N, 4) float32: left, top, right, bottom, not cut off at the image's edges."""
        size = np.array(self.image_size, np.float32)
        centre, extent = self.boxes_cxcywh[:, :2] * size, self.boxes_cxcywh[:, 2:] * size
        return np.concatenate((centre - extent / 2, centre + extent / 2), 1)


def list_boxes(
    detector: Detector,
    raw_maps: Sequence[Tensor],
    placement: Placement,
    *,
    names: Sequence[str] | None = None,
    in_pixels: bool = False,
) -> ListedBoxes:
    """Turn the raw maps of one image into its boxes, in Darknet's order.

    Args:
        detector: the detector whose thresholds apply.
        raw_maps: one tensor (1, ...) for each head, from ``detector.raw_maps``.
        placement: position of the image in the network's input.
        names: one for each class that the network reports; None for the detector's.
        in_pixels: whether overlaps are computed in pixels, as in ``detector valid``.

    Example:
        >>> from darknet_builder import Detector
        >>> from darknet_builder.data.scenes import draw_scene
        >>> from darknet_builder.support.bundled import default_model
        >>> detector = Detector(*default_model())
        >>> prepared = detector.prepare(draw_scene(0).image)
        >>> raw_maps = detector.raw_maps(prepared.x[None])
        >>> list_boxes(detector, raw_maps, prepared.placement).scores.shape[1] == 8
        True
    """
    network, size = detector.network, placement.image_size
    (entry,) = by_image(decode_above(network, raw_maps, detector.threshold), [placement])
    rule = nms_rule(network)
    rows = image_boxes(entry, no_boxes(), size, nms=detector.nms, rule=rule, in_pixels=in_pixels)
    return ListedBoxes.of(rows, detector.names if names is None else names)
