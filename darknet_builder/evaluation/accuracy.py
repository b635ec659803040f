"""Top-1 and top-k accuracy of a classifier, as ``darknet classifier valid`` counts them."""

from __future__ import annotations

from collections.abc import Sequence

from darknet_builder.network.network import Network
from darknet_builder.prediction.classifier import Classifier, Image


def accuracies(
    network: Network,
    images: Sequence[Image],
    class_ids: Sequence[int],
    *,
    top: int = 5,
    batch: int = 1,
) -> tuple[float, float]:
    """How often the right class is the likeliest, and how often it is among the ``top`` likeliest,
    as shares.

    Args:
        network: a classifier, in eval mode, where it is to run.
        images: fitted as ``Classifier`` fits them.
        class_ids: of the images, in their order.
        top: at most the number of classes.
        batch: how many images go through the network at once.

    Raises:
        ImageError: for a file that cannot be read.
    """
    answers = Classifier(network, top=top, batch=batch)(list(images))
    ranks = [[score.class_id for score in scores] for scores in answers]
    first = sum(ids[0] == wanted for ids, wanted in zip(ranks, class_ids, strict=True))
    among = sum(wanted in ids for ids, wanted in zip(ranks, class_ids, strict=True))
    return first / len(ranks), among / len(ranks)
