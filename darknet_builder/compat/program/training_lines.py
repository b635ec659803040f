"""Lines that the ``darknet`` program prints while it trains."""

from __future__ import annotations

from typing import TextIO

from darknet_builder.evaluation.score import METRICS
from darknet_builder.training.log.progress_line import ProgressLine
from darknet_builder.training.log.step_report import StepReport

_SMOOTHING = 0.01
"""Weight of the newest step in the estimate of the remaining time (detector.c:192)."""
_SECONDS_PER_HOUR = 3600


class DarknetLines(ProgressLine):
    r"""Print Darknet's line after each step, in place of a progress line.

    Args:
        out: stream that the lines are written to.
        total: number of steps of the training.
        images_in_list: number of training images of a classifier, whose line also has the epochs;
            None for a detector.

    Example:
        >>> import io
        >>> lines = DarknetLines(io.StringIO(), total=10)
        >>> report = StepReport(iteration=1, loss=2.5, rate=0.001, images=16, seconds=0.5)
        >>> lines.count(report)
        >>> lines.step(report, average=2.5)
        >>> lines.out.getvalue().split(", ")[:4]
        ['\n 1: 2.500000', '2.500000 avg loss', '0.001000 rate', '0.500000 seconds']
    """

    def __init__(self, out: TextIO, total: int, *, images_in_list: int | None = None) -> None:
        super().__init__(out, total)
        self.live = False  # lines stay; they are not redrawn
        self._images_in_list = images_in_list
        self._hours_left = -1.0

    def step(self, report: StepReport, average: float) -> None:
        """Print a step.

        Args:
            report: report of the step.
            average: moving average of the loss.
        """
        images = report.iteration * report.images
        start = f"\n {report.iteration}: {report.loss:f}, {average:f} avg loss"
        if self._images_in_list is not None:
            epochs = images / self._images_in_list
            start = f"{report.iteration}, {epochs:.3f}: {report.loss:f}, {average:f} avg"
        self.out.write(
            f"{start}, {report.rate:f} rate,"
            f" {report.seconds - report.waited:f} seconds, {images} images,"
            f" {self._hours_left:f} hours left\n"
        )
        self.out.flush()
        # Updated after it is printed, so the first line has -1 (detector.c:325).
        left = (self.total - report.iteration) * report.seconds / _SECONDS_PER_HOUR
        if self._hours_left < 0:
            self._hours_left = left
        self._hours_left += _SMOOTHING * (left - self._hours_left)

    def validation(self, iteration: int, metric: str, score: float) -> None:
        """Print a score (detector.c:366).

        Args:
            iteration: number of finished steps.
            metric: name of the metric, one of ``METRICS``.
            score: its value, 0 to 1.
        """
        if metric == "map":
            self.out.write(f"\n mean_average_precision (mAP@0.50) = {score:f} \n")
        else:
            self.out.write(f"\n accuracy {METRICS[metric]} = {score:f} \n")
        if self.best is None or score >= self.best:
            self.best = score
            self.out.write("New best mAP!\n" if metric == "map" else "")
        self.out.flush()
