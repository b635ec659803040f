"""Show a training's progress as one line, redrawn in place on a terminal."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TextIO

from darknet_builder.evaluation.score import short_name
from darknet_builder.support.text import duration
from darknet_builder.training.log.step_report import StepReport

_QUIET_PERIOD = 10.0
"""Seconds between progress lines when the output is not a terminal."""
_LIVE_PERIOD = 0.2
"""Seconds between redraws on a terminal."""
_RATE_STEPS = 50
"""Steps over which the speed is averaged."""


class ProgressLine:
    """The line of one training, and the lines above it.

    Args:
        out: a terminal or a file.
        total: number of steps of the training.

    Attributes:
        live: whether ``out`` is a terminal.
        best: the highest score so far; None before the first validation.
    """

    def __init__(self, out: TextIO, total: int) -> None:
        self.out, self.total = out, total
        self.live = out.isatty()
        self.best: float | None = None
        self._shown_at = 0.0
        self._recent: list[tuple[int, float]] = []

    @property
    def images_per_second(self) -> float:
        """Training speed over the last 50 steps; 0 before the first."""
        seconds = self._recent_seconds
        if not seconds:
            return 0.0
        return sum(images for images, _ in self._recent) / seconds

    @property
    def _recent_seconds(self) -> float:
        return sum(seconds for _, seconds in self._recent)

    def count(self, report: StepReport) -> None:
        """Count a step for ``images_per_second`` and the remaining time."""
        self._recent = [*self._recent[1 - _RATE_STEPS :], (report.images, report.seconds)]

    def step(self, report: StepReport, average: float) -> None:
        """Show a step that was counted, at most once a period.

        Args:
            report: losses, learning rate and times of the step.
            average: moving average of the loss.
        """
        now = time.monotonic()
        period = _LIVE_PERIOD if self.live else _QUIET_PERIOD
        if now - self._shown_at < period and report.iteration != self.total:
            return
        self._shown_at = now
        text = self._describe(report, average)
        # Return to the first column and erase the line before it is drawn again.
        self.out.write(f"\r\x1b[K{text}" if self.live else f"{text}\n")
        self.out.flush()

    def validation(self, iteration: int, metric: str, score: float) -> None:
        """Show a score and the best one, on a separate line.

        Args:
            iteration: number of finished steps.
            metric: what the score measures, one of ``METRICS``.
            score: its value, 0 to 1.
        """
        self.best = score if self.best is None else max(self.best, score)
        self.note(
            f"{iteration}/{self.total}: {short_name(metric)} {score:.4f}, best {self.best:.4f}"
        )

    def note(self, text: str) -> None:
        """Show a text on a separate line."""
        self.out.write(("\r\x1b[K" if self.live else "") + text + "\n")
        self.out.flush()

    def close(self) -> None:
        """End the line."""
        # The terminal may be closed by now.
        with suppress(OSError):
            if self.live:
                self.out.write("\n")

    def _describe(self, report: StepReport, average: float) -> str:
        parts = "".join(f" {name} {value:.3g}" for name, value in report.parts.items())
        left = (self.total - report.iteration) * self._recent_seconds / len(self._recent)
        best = "" if self.best is None else f", best so far {self.best:.3f}"
        return (
            f"{report.iteration}/{self.total}: loss {report.loss:.4g}, average"
            f" {average:.4g},{parts}, rate {report.rate:.3g}, {self.images_per_second:.0f}"
            f" images/s, {duration(left)} left{best}"
        )
