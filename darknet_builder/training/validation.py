"""Decide when a training validates its network, and keep the best score."""

from __future__ import annotations

import torch

from darknet_builder.evaluation.score import Score, Validate
from darknet_builder.network.network import Network

_DETECTOR_EPOCHS, _CLASSIFIER_EPOCHS = 4, 2
"""Epochs between validations by default (detector.c:302, classifier.c:175)."""
_MIN_PERIOD = 100
"""Minimum number of steps between validations by default."""


class Validation:
    """The validation policy of one training.

    Args:
        network: the network to score.
        validate: scores it; None for a training without validation, and in all processes but the
            main one.
        num_images: number of images in the training set.
        every: steps between validations; 0 validates after the last step only, None at Darknet's
            intervals.

    Attributes:
        validated: the step after which the last validation was made; 0 before the first.
        best: the highest score so far; None before the first validation.
    """

    def __init__(
        self, network: Network, validate: Validate | None, *, num_images: int, every: int | None
    ) -> None:
        self._network, self._validate = network, validate
        self._num_images, self._every = num_images, every
        self.validated = 0
        self.best: float | None = None

    def restore(self, validated: int, best: float | None) -> None:
        """Take over the last validated step and the best score from a checkpoint."""
        self.validated, self.best = validated, best

    def is_due(self, finished: int, total: int) -> bool:
        """Return whether the network must be scored now and has not been scored yet.

        Args:
            finished: number of finished steps.
            total: number of steps of the training.
        """
        if self._validate is None or self.validated == finished:
            return False
        if finished == total:
            return True
        if self._every is not None:
            return self._every > 0 and finished % self._every == 0
        # Darknet does not validate during the burn-in (detector.c:305).
        options = self._network.options
        return finished >= options.schedule.burn_in and finished % self._default_period() == 0

    def _default_period(self) -> int:
        epochs = _DETECTOR_EPOCHS if self._network.heads else _CLASSIFIER_EPOCHS
        # An epoch has num_images / batch steps.
        return max(_MIN_PERIOD, epochs * self._num_images // self._network.options.batch)

    def score(self, finished: int) -> tuple[Score, bool]:
        """Score the network in eval mode.

        Args:
            finished: number of finished steps.

        Returns:
            The score, and whether it is the best so far.

        Raises:
            DarknetError: from the validation, which stays due.
        """
        assert self._validate is not None, "is_due() says whether there is a validation"
        self._network.eval()
        with torch.inference_mode():
            score = self._validate(self._network)
        self._network.train()
        self.validated = finished
        is_best = self.best is None or score.value > self.best
        if is_best:
            self.best = score.value
        return score, is_best
