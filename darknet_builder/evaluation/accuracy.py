"""Top-1 and top-k accuracy of a classifier, as ``darknet classifier valid`` counts them."""

from __future__ import annotations

from collections.abc import Sequence

from darknet_builder.images.inputs import Image
from darknet_builder.network.network import Network
from darknet_builder.prediction.classifier import Classifier


def accuracies(
    network: Network,
    images: Sequence[Image],
    class_ids: Sequence[int],
    *,
    top: int = 5,
    batch: int = 1,
) -> tuple[float, float]:
    """Return the top-1 and the top-k accuracy, 0 to 1 each.

    Args:
        network: a classifier in eval mode.
        images: paths or arrays, fitted into the input as ``Classifier`` does by default.
        class_ids: the right class of each image.
        top: k of the top-k accuracy, at most the number of classes.
        batch: number of images in a call of the network.

    Raises:
        ImageError: if a file cannot be read.

    Example:
        >>> import numpy as np
        >>> from darknet_builder import build_network
        >>> cfg = '''
        ... [net]
        ... width=8
        ... height=8
        ... channels=3
        ... [convolutional]
        ... filters=3
        ... [avgpool]
        ... '''
        >>> images = [np.zeros((20, 30, 3), np.uint8)] * 2
        >>> accuracies(build_network(cfg).eval(), images, [0, 1], top=3)[1]
        1.0
    """
    first = among = 0
    results = Classifier(network, top=top, batch=batch)(list(images))
    for scores, class_id in zip(results, class_ids, strict=True):
        best = [score.class_id for score in scores]
        first += best[0] == class_id
        among += class_id in best
    return first / len(results), among / len(results)
