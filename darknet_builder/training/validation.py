"""Decide when a training scores its network, and remember the best score."""

from __future__ import annotations

import torch

from darknet_builder.evaluation.score import Score, Validate
from darknet_builder.network.network import Network

_DETECTOR_EPOCHS, _CLASSIFIER_EPOCHS = 4, 2
"""Epochs between validations by default (detector.c:255, classifier.c:166)."""
_LEAST_PERIOD = 100


class Validation:
    """The validation policy of one training.

    Args:
        network: the network to score.
        validate: scores it; None for a training without validation, and in all processes but the
            main one.
        num_images: size of the training set.
        every: steps between validations; 0 for the last step only, None for Darknet's policy.

    Attributes:
        validated: the step after which the last validation was made; 0 before the first.
        best: the highest score so far; None before the first validation.
    """

    def __init__(
        self, network: Network, validate: Validate | None, *, num_images: int, every: int | None
    ) -> None:
        self._network, self._validate, self._num_images, self._every = (
            network,
            validate,
            num_images,
            every,
        )
        self.validated = 0
        self.best: float | None = None

    def restore(self, validated: int, best: float | None) -> None:
        """Take over what a checkpoint knows."""
        self.validated, self.best = validated, best

    def is_due(self, finished: int, total: int) -> bool:
        """Whether the network is to be scored after step ``finished`` of ``total``, and has not
        been yet.
        """
        if self._validate is None or self.validated == finished:
            return False
        if finished == total:
            return True
        if self._every is not None:
            return self._every > 0 and finished % self._every == 0
        # While the rate still rises, Darknet does not validate.
        options = self._network.options
        return finished >= options.schedule.burn_in and finished % self._default_period() == 0

    def _default_period(self) -> int:
        epochs = _DETECTOR_EPOCHS if self._network.heads else _CLASSIFIER_EPOCHS
        return max(_LEAST_PERIOD, epochs * self._num_images // self._network.options.batch)

    def score(self, finished: int) -> tuple[Score, bool]:
        """Score the network in eval mode.

        Args:
            finished: number of finished steps.

        Returns:
            The score, and whether it is the best so far.

        Raises:
            DarknetError: what the validation raises; it is due again then.
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
