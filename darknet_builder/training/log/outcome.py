"""The result of a training: finished or interrupted, its scores and its skipped images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The result of a training.

    Attributes:
        finished: number of finished steps.
        interrupted: True if Ctrl-C ended it.
        best: the highest score of the training; None without validation.
        last: the score of the final weights; None without validation.
        skipped_images: number of images that could not be read since this run began.
    """

    finished: int
    interrupted: bool
    best: float | None
    last: float | None
    skipped_images: int = 0
