"""Report and count the images that become unreadable during a training."""

from __future__ import annotations

import warnings

from darknet_builder.errors import DataWarning
from darknet_builder.training.batches import Batch
from darknet_builder.training.log.run_log import RunLog


class SkippedImages:
    """The unreadable images that one process has found.

    Args:
        log: names each image once. None in all processes but the main one: they warn instead.

    Attributes:
        indices: numbers of the images in the data set.
    """

    def __init__(self, log: RunLog | None) -> None:
        self._log = log
        self.indices: set[int] = set()

    def add(self, batch: Batch, step: int) -> None:
        """Record the images of a batch that were unreadable and replaced.

        Args:
            batch: a batch of the step.
            step: its number, from 1.
        """
        for index, reason in batch.skipped:
            if index in self.indices:
                continue
            self.indices.add(index)
            if self._log is None:
                text = f"step {step}: skipped an image: {reason}"
                warnings.warn(DataWarning(text), stacklevel=2)
            else:
                self._log.skipped_image(step, reason)
