"""Record a training in ``log.jsonl``, one JSON object a line, and show its progress."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.errors import DataError, MissingExtraError
from darknet_builder.evaluation.score import METRICS
from darknet_builder.support.files import read_bounded, write_text, writing
from darknet_builder.training.checkpoints.checkpoint_file import MAKE_ROOM
from darknet_builder.training.log.chart import CHART_NAME, draw_chart
from darknet_builder.training.log.curves import Curves
from darknet_builder.training.log.progress_line import ProgressLine
from darknet_builder.training.log.step_report import StepReport

LOG_NAME = "log.jsonl"
_MOST_BYTES = 2**30
"""Bytes of a log; a step takes about 250."""
_SMOOTHING = 0.1
"""Weight of the newest loss in Darknet's average (detector.c:297)."""


class RunLog:
    """The log of one training: ``log.jsonl``, the progress line, the curves and the chart.

    Every method raises a ``DataError`` when the log file cannot be written. For the chart and the
    curves, a line says what failed.

    Args:
        folder: output folder of the training.
        out: a terminal or a file, for the progress line.
        total: number of steps of the training.
        finished: number of finished steps; later lines of an interrupted training are dropped.
        quiet: write nothing, for all processes but the main one.
        progress: shows the steps in place of a ``ProgressLine`` on ``out``.

    Attributes:
        average: moving average of the loss; None before the first step.

    Raises:
        DataError: when the log file cannot be written, for example because the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = RunLog(Path(folder), io.StringIO(), total=10)
        ...     log.step(StepReport(iteration=1, loss=2.5, rate=0.1, images=8, seconds=0.5))
        ...     log.close()
        ...     [record["loss"] for record in read_log(Path(folder) / "log.jsonl")]
        [2.5]
    """

    def __init__(
        self,
        folder: Path,
        out: TextIO,
        *,
        total: int,
        finished: int = 0,
        quiet: bool = False,
        progress: ProgressLine | None = None,
    ) -> None:
        if quiet:
            folder, out, progress = Path(os.devnull), io.StringIO(), None
        self.folder, self.total = folder, total
        self.average: float | None = None
        self._line = progress or ProgressLine(out, total)
        with self._needed():
            if not quiet:
                self._keep_until(finished)
            path = Path(os.devnull) if quiet else folder / LOG_NAME
            # Open for the whole training; close() closes it.
            self._file = path.open("a", encoding="utf-8")
        self._curves: Curves | None = None
        if not quiet:
            self._curves = Curves(folder, self.note, finished=finished, log_name=LOG_NAME)

    # ---- events ----------------------------------------------------------------------------------

    def step(self, report: StepReport) -> None:
        """Record a finished step."""
        if self.average is None:
            self.average = report.loss
        else:
            self.average = self.average * (1 - _SMOOTHING) + report.loss * _SMOOTHING
        self._line.count(report)
        speed = self._line.images_per_second
        self._write(
            {
                "iteration": report.iteration,
                "loss": report.loss,
                "average": self.average,
                "rate": report.rate,
                "images_per_second": speed,
                "seconds": report.seconds,
                "waited": report.waited,
                **report.parts,
            }
        )
        self._add_points(
            {
                "loss": report.loss,
                "rate": report.rate,
                "images_per_second": speed,
                **{f"loss/{name}": value for name, value in report.parts.items()},
            },
            report.iteration,
        )
        self._line.step(report, self.average)

    def validation(
        self, iteration: int, metric: str, score: float, numbers: Mapping[str, float]
    ) -> None:
        """Record a score on the validation list.

        Args:
            iteration: number of finished steps.
            metric: what the score measures, one of ``METRICS``.
            score: its value, 0 to 1.
            numbers: further numbers of the validation, by name.
        """
        self._write({"iteration": iteration, metric: score, **numbers})
        self._add_points({metric: score, **numbers}, iteration)
        self._line.validation(iteration, metric, score)

    def skipped_image(self, iteration: int, reason: str) -> None:
        """Record an image that cannot be read and is replaced by other images.

        Args:
            iteration: the step whose batch should have contained it.
            reason: the error, which names the file.
        """
        self._write({"iteration": iteration, "skipped_image": reason})
        self.note(f"{iteration}/{self.total}: skipped an image: {reason}")

    def note(self, text: str) -> None:
        """Show a text on a separate line, without recording it."""
        self._line.note(text)

    # ---- files -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the log to the disk."""
        # Called before every checkpoint: resuming needs the lines up to it, also after a crash.
        with self._needed():
            self._file.flush()
            os.fsync(self._file.fileno())

    def draw_chart(self) -> None:
        """Draw ``chart.png`` from the records, or show a line that says why it is missing."""
        with self._needed():
            self._file.flush()
        try:
            draw_chart(read_log(self.folder / LOG_NAME), self.folder / CHART_NAME, self.total)
        except MissingExtraError as error:
            self.note(f"no {CHART_NAME}: {error}")
        except OSError as error:
            self.note(f"no {CHART_NAME}: {error.strerror or error}")

    def close(self) -> None:
        """End the progress line and close the files."""
        # Failures are ignored: flush() reports them, and a resumed training needs nothing later.
        self._line.close()
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            if self._curves is not None:
                self._curves.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        with self._needed():
            self._file.write(json.dumps(record) + "\n")

    def _add_points(self, values: Mapping[str, float], iteration: int) -> None:
        if self._curves is not None:
            self._curves.add(values, iteration)

    def _needed(self) -> AbstractContextManager[None]:
        """Convert an OSError to a DataError: a training does not continue without its log."""
        return writing(self.folder / LOG_NAME, DataError, cure=MAKE_ROOM, argument="resume")

    def _keep_until(self, finished: int) -> None:
        """Keep the lines up to a checkpoint, and restore the average and the best score."""
        path = self.folder / LOG_NAME
        kept = []
        if path.exists():
            # The later ones are written again by the resumed training.
            kept = [record for record in read_log(path) if record["iteration"] <= finished]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        averages = [record["average"] for record in kept if "average" in record]
        if averages:
            self.average = averages[-1]
        scores = [record[key] for record in kept for key in METRICS if key in record]
        self._line.best = max(scores, default=None)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    r"""Read the records of a ``log.jsonl``; an incomplete last line is left out.

    Args:
        path: the log file of a training.

    Returns:
        One dictionary for each step and each validation, in order.

    Raises:
        DataError: if the file cannot be read, or for a line that is not a JSON object with an
            ``iteration``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "log.jsonl"
        ...     _ = path.write_text('{"iteration": 1, "loss": 2.5}\n{"iteration": 2, "lo')
        ...     read_log(path)
        [{'iteration': 1, 'loss': 2.5}]
    """
    records = []
    try:
        lines = read_bounded(path, _MOST_BYTES).decode(errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None
    for number, line in enumerate(lines, start=1):
        record = _parse_record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):  # a crash can cut off the last line, but no other
            raise DataError(
                "cannot parse this line",
                path=path,
                line=number,
                hint="expected a JSON object with a number of iterations",
            )
    return records


def _parse_record(line: str) -> dict[str, Any] | None:
    """Return the record that a line holds; None if it holds something else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, a number of 5,000 digits, or [[[[...
        return None
    is_record = isinstance(record, dict) and type(record.get("iteration")) is int
    return record if is_record else None
