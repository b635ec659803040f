"""Score a network on a validation list, as Darknet's own commands do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from darknet_builder.data.class_lists import ClassedImages
from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataWarning, ImageError
from darknet_builder.evaluation.accuracy import accuracies
from darknet_builder.evaluation.darknet_map import ImageBoxes, mean_average_precision
from darknet_builder.evaluation.predictions import find_boxes
from darknet_builder.evaluation.score import Score
from darknet_builder.network.network import Network
from darknet_builder.network.task import class_names, default_resize

_BATCH = 8
"""Images in a call of the network."""
_Result = TypeVar("_Result")


class Validator:
    """Mean average precision on a list, as ``darknet detector map`` computes it.

    Args:
        images: the validation list with its boxes.
        names: class names; None for the network's own, or ``class 0``, ``class 1``, ...

    Attributes:
        metric: key of the score in ``METRICS``.
        images: the validation list with its boxes.
        names: class names, or None.
    """

    metric = "map"

    def __init__(self, images: ImageSet, names: Sequence[str] | None) -> None:
        self.images, self.names = images, names

    def __call__(self, network: Network) -> Score:
        """Score a network in eval mode."""
        resize = default_resize(network)

        def find() -> list[ImageBoxes]:
            return list(find_boxes(network, self.images, resize=resize, batch=_BATCH))

        boxes = _until_readable(find, self)
        result = mean_average_precision(boxes, class_names(network, self.names))
        return Score(result.mean_average_precision, self.metric)


class ClassValidator:
    """Accuracy of a classifier on a list, as ``darknet classifier valid`` counts it.

    Args:
        images: the validation list with its classes.
        top: k of the top-k accuracy that the log also has; 1 for none.

    Attributes:
        metric: key of the score in ``METRICS``.
        images: the validation list with its classes.
        top: k of the top-k accuracy.
    """

    metric = "top1"

    def __init__(self, images: ClassedImages, top: int) -> None:
        self.images, self.top = images, top

    def __call__(self, network: Network) -> Score:
        """Score a network in eval mode."""
        top = min(self.top, len(self.images.labels))

        def classify() -> tuple[float, float]:
            paths = [image.path for image in self.images.images]
            class_ids = [image.class_id for image in self.images.images]
            return accuracies(network, paths, class_ids, top=top, batch=_BATCH)

        first, among = _until_readable(classify, self)
        return Score(first, self.metric, {} if top == 1 else {f"top{top}": among})


def _until_readable(run: Callable[[], _Result], validator: Validator | ClassValidator) -> _Result:
    """Run a validation; for an image that cannot be read, warn and run again without it.

    Args:
        run: called without arguments; makes one validation.
        validator: the unreadable image is removed from its list.

    Raises:
        ImageError: when no other image is left.
    """
    while True:
        try:
            return run()
        except ImageError as error:
            kept = [image for image in validator.images.images if str(image.path) != error.path]
            if len(kept) in (0, len(validator.images)):
                raise
            validator.images = replace(validator.images, images=tuple(kept))  # type: ignore[arg-type]
            text = f"left out of the validation from now on: {error}"
            warnings.warn(DataWarning(text), stacklevel=3)
