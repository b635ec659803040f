"""Record a training in ``log.jsonl``, one JSON object a line, and show it: progress line, curves,
chart.
"""

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
from darknet_builder.support.files import write_text, writing
from darknet_builder.training.checkpoints.checkpoint_file import MAKE_ROOM
from darknet_builder.training.log.chart import CHART_NAME, draw_chart
from darknet_builder.training.log.curves import Curves
from darknet_builder.training.log.progress_line import ProgressLine
from darknet_builder.training.log.step_report import StepReport

LOG_NAME = "log.jsonl"
_SMOOTHING = 0.1
"""Darknet's share of the newest loss in the average (detector.c:318)."""


class RunLog:
    """The records of one training, and everything that shows them while it runs.

    Args:
        folder: output folder of the training.
        out: a terminal or a file, for the progress line.
        total: number of steps of the training.
        finished: number of finished steps; later lines of an older log are dropped.
        quiet: write nothing at all, as all but one of several processes do.

    Raises:
        DataError: here and later, when the log cannot be written (a full disk). A training can do
            without chart and curves: a line says that they are missing.

    Attributes:
        average: moving average of the loss; None before the first step.
    """

    def __init__(
        self, folder: Path, out: TextIO, *, total: int, finished: int = 0, quiet: bool = False
    ) -> None:
        if quiet:
            folder, out = Path(os.devnull), io.StringIO()
        self.folder, self.total = folder, total
        self.average: float | None = None
        self._line = ProgressLine(out, total)
        with self._needed():
            if not quiet:
                self._keep_until(finished)
            self._file = open(os.devnull if quiet else folder / LOG_NAME, "a", encoding="utf-8")
        self._curves = (
            None if quiet else Curves(folder, self.note, finished=finished, log_name=LOG_NAME)
        )

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
            metric: one of ``METRICS``.
            score: its value.
            numbers: further numbers of the validation, by name.
        """
        self._write({"iteration": iteration, metric: score, **numbers})
        self._add_points({metric: score, **numbers}, iteration)
        self._line.validation(iteration, metric, score)

    def skipped_image(self, iteration: int, reason: str) -> None:
        """Record an image that cannot be read; other images take its place from now on.

        Args:
            iteration: the step that should have learnt from it.
            reason: the error, which names the file.
        """
        self._write({"iteration": iteration, "skipped_image": reason})
        self.note(f"{iteration}/{self.total}: skipped an image: {reason}")

    def note(self, text: str) -> None:
        """Show a line of its own, which is not recorded."""
        self._line.note(text)

    # ---- files -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Bring the log to the disk; called before every checkpoint, which must not be ahead of
        it.
        """
        with self._needed():
            self._file.flush()
            os.fsync(self._file.fileno())

    def draw_chart(self) -> None:
        """Draw ``chart.png`` from the records; a line says why when that is not possible."""
        with self._needed():
            self._file.flush()
        try:
            draw_chart(read_log(self.folder / LOG_NAME), self.folder / CHART_NAME, self.total)
        except MissingExtraError as error:
            self.note(f"no {CHART_NAME}: {error}")
        except OSError as error:
            self.note(f"no {CHART_NAME}: {error.strerror or error}")

    def close(self) -> None:
        """End the line and close the files.

        Failures are ignored: they were reported before, or what is lost is in no checkpoint.
        """
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
        """Raise a DataError where the log, without which a training cannot continue, cannot be
        written.
        """
        return writing(self.folder / LOG_NAME, DataError, cure=MAKE_ROOM, argument="resume")

    def _keep_until(self, finished: int) -> None:
        """Drop the lines after the checkpoint, which will be written again; take average and best
        score over.
        """
        path = self.folder / LOG_NAME
        kept = (
            [record for record in read_log(path) if record["iteration"] <= finished]
            if path.exists()
            else []
        )
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        self.average = next(
            (record["average"] for record in reversed(kept) if "average" in record), None
        )
        scores = [record[key] for record in kept for key in METRICS if key in record]
        self._line.best = max(scores, default=None)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Read the records of a ``log.jsonl``; a last line that was cut off is left out.

    Raises:
        DataError: for a file that is not such a log.
    """
    records = []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise DataError("is no line of a training's log", path=path, line=number) from None
    return records
