"""What a training says of itself: one line on the screen, ``log.jsonl``, TensorBoard's scalars, a chart."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from darknet_builder.checkpoints import MAKE_ROOM
from darknet_builder.errors import DataError, MissingExtraError
from darknet_builder.extras import load_extra
from darknet_builder.files import atomic_path, write_text, writing
from darknet_builder.text import duration

LOG_NAME = "log.jsonl"
CHART_NAME = "chart.png"
METRICS = {"map": "mAP@0.5", "top1": "top-1"}
"""What a validation may measure, by the log's keys: a detector's mean average precision, a classifier's accuracy."""
_SMOOTHING = .1
"""Darknet's share of the newest loss in the average (detector.c:318)."""
_QUIET_PERIOD = 10.0
"""Seconds between lines where the screen is none."""
_LIVE_PERIOD = .2


@dataclass(frozen=True)
class StepReport:
    """One finished step.

    Attributes:
        iteration: how many are finished.
        loss: Darknet's: mean over the heads, per image.
        rate: learning rate.
        images: of the step.
        seconds: it took.
        parts: what the heads say, by name (``box``, ``objectness``, ``classes``, ``iou``, ``count``).
        waited: seconds of the step that went by before its images were there.
    """

    iteration: int
    loss: float
    rate: float
    images: int
    seconds: float
    parts: Mapping[str, float] = field(default_factory=dict)
    waited: float = 0.0


class ScalarWriter(Protocol):
    """The part of TensorBoard's ``SummaryWriter`` that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One point of a curve."""

    def close(self) -> None:
        """Write what is left."""


class RunLog:
    """Everything that is written while a training runs.

    Args:
        folder: where the files go.
        out: the screen, or a file.
        total: steps in all.
        finished: steps that lie behind; later lines of an older log are dropped.
        quiet: write nothing at all: of several processes one alone writes.

    Raises:
        DataError: here and later, when the log cannot be written (a full disk). Chart and curves can be done without:
            a line says that they are not there.
    """

    def __init__(self, folder: Path, out: TextIO, *, total: int, finished: int = 0, quiet: bool = False) -> None:
        if quiet:
            folder, out = Path(os.devnull), io.StringIO()
        self.folder, self.out, self.total = folder, out, total
        self.live = out.isatty()
        self.average: float | None = None
        self.best: float | None = None
        self._shown_at = 0.0
        self._rates: list[tuple[int, float]] = []
        self._thread_hook = threading.excepthook
        with self._needed():
            if not quiet:
                self._keep_until(finished)
            self._file = open(os.devnull if quiet else folder / LOG_NAME, "a", encoding="utf-8")
        self._scalars = None if quiet else self._open_scalars(finished)

    # ---- what happens -------------------------------------------------------------------------------

    def step(self, report: StepReport) -> None:
        """A step is finished."""
        self.average = report.loss if self.average is None else (
            self.average * (1 - _SMOOTHING) + report.loss * _SMOOTHING)
        self._rates = [*self._rates[-49:], (report.images, report.seconds)]
        self._write({"iteration": report.iteration, "loss": report.loss, "average": self.average, "rate": report.rate,
                     "images_per_second": self.images_per_second, "seconds": report.seconds, "waited": report.waited,
                     **report.parts})
        curves = {"loss": report.loss, "rate": report.rate, "images_per_second": self.images_per_second,
                  **{f"loss/{name}": value for name, value in report.parts.items()}}
        self._add_scalars(curves, report.iteration)
        now = time.monotonic()
        if now - self._shown_at >= (_LIVE_PERIOD if self.live else _QUIET_PERIOD) or report.iteration == self.total:
            self._shown_at = now
            self._show(self.line(report))

    def validation(self, iteration: int, metric: str, score: float, numbers: Mapping[str, float]) -> None:
        """The validation list has been looked at; ``metric`` is one of ``METRICS``."""
        self.best = score if self.best is None else max(self.best, score)
        self._write({"iteration": iteration, metric: score, **numbers})
        self._add_scalars({metric: score, **numbers}, iteration)
        self.note(f"{iteration}/{self.total}: {short_name(metric)} {score:.4f}, best {self.best:.4f}")

    def note(self, text: str) -> None:
        """A line of its own."""
        self.out.write(("\r\x1b[K" if self.live else "") + text + "\n")
        self.out.flush()

    def flush(self) -> None:
        """Bring the log to the disk: called before every checkpoint, which must not be ahead of it."""
        with self._needed():
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the line and the files. What cannot be written any more was said before, or is in no checkpoint."""
        with suppress(OSError):
            if self.live:
                self.out.write("\n")
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            if self._scalars is not None:
                self._scalars.close()
        threading.excepthook = self._thread_hook

    # ---- the line -----------------------------------------------------------------------------------

    @property
    def images_per_second(self) -> float:
        """Over the last 50 steps."""
        seconds = sum(seconds for _, seconds in self._rates)
        return sum(images for images, _ in self._rates) / seconds if seconds else 0.0

    def line(self, report: StepReport) -> str:
        """What a person wants to know of a step."""
        parts = "".join(f" {name} {value:.3g}" for name, value in report.parts.items())
        steps = (self.total - report.iteration) * sum(seconds for _, seconds in self._rates) / len(self._rates)
        best = "" if self.best is None else f", best so far {self.best:.3f}"
        return (f"{report.iteration}/{self.total}: loss {report.loss:.4g}, average {self.average or 0:.4g},{parts}, "
                f"rate {report.rate:.3g}, {self.images_per_second:.0f} images/s, {duration(steps)} left{best}")

    def _show(self, text: str) -> None:
        self.out.write(f"\r\x1b[K{text}" if self.live else f"{text}\n")
        self.out.flush()

    # ---- the files ----------------------------------------------------------------------------------

    def _write(self, record: Mapping[str, Any]) -> None:
        with self._needed():
            self._file.write(json.dumps(record) + "\n")

    def _needed(self) -> AbstractContextManager[None]:
        """Raise a DataError where the log, without which a training cannot continue, cannot be written."""
        return writing(self.folder / LOG_NAME, DataError, cure=MAKE_ROOM)

    def _keep_until(self, finished: int) -> None:
        """Lines after the checkpoint will be written again; the average goes on from the last one kept."""
        path = self.folder / LOG_NAME
        kept = [record for record in read_log(path) if record["iteration"] <= finished] if path.exists() else []
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        self.average = next((record["average"] for record in reversed(kept) if "average" in record), None)
        self.best = max((record[key] for record in kept for key in METRICS if key in record), default=None)

    def _open_scalars(self, finished: int) -> ScalarWriter | None:
        try:
            load_extra("tensorboard", "train")
        except MissingExtraError as error:
            self.note(f"no curves for TensorBoard ({LOG_NAME} has the numbers): {error}")
            return None
        writer = load_extra("torch.utils.tensorboard.writer", "train").SummaryWriter
        threading.excepthook = self._on_thread_failure
        try:
            scalars: ScalarWriter = writer(str(self.folder / "tensorboard"), purge_step=finished + 1)
        except OSError as error:
            self._note_no_curves(error)
            return None
        return scalars

    def _add_scalars(self, values: Mapping[str, float], iteration: int) -> None:
        try:
            for name, value in values.items():
                if self._scalars is not None:
                    self._scalars.add_scalar(name, value, iteration)
        except OSError as error:
            self._note_no_curves(error)
            self._scalars = None

    def _note_no_curves(self, error: OSError) -> None:
        self.note(f"no more curves for TensorBoard ({LOG_NAME} has the numbers): {error.strerror or error}")

    def _on_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        """TensorBoard writes in a thread of its own, whose failure is said with the next point, not by a traceback."""
        own = type(failure.thread).__module__.startswith("tensorboard.")
        if not (own and isinstance(failure.exc_value, OSError)):
            self._thread_hook(failure)

    def draw_chart(self) -> None:
        """``chart.png``: loss and score over the steps, as Darknet draws them."""
        with self._needed():
            self._file.flush()
        try:
            draw_chart(read_log(self.folder / LOG_NAME), self.folder / CHART_NAME, self.total)
        except MissingExtraError as error:
            self.note(f"no {CHART_NAME}: {error}")
        except OSError as error:
            self.note(f"no {CHART_NAME}: {error.strerror or error}")


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a ``log.jsonl``; a last line that was cut off is left out.

    Raises:
        DataError: for a file that is no such log.
    """
    records = []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise DataError(f"{path}:{number}: is no line of a training's log") from None
    return records


def draw_chart(records: Sequence[Mapping[str, Any]], path: str | Path, total: int) -> None:
    """The loss, its average and the validation's score as a PNG.

    Raises:
        MissingExtraError: without matplotlib.
    """
    figure = load_extra("matplotlib.figure", "train").Figure(figsize=(10, 6), layout="constrained")
    steps = [record for record in records if "loss" in record]
    metric = next((key for record in records for key in METRICS if key in record), "")
    scores = [record for record in records if metric in record]
    axes = figure.subplots()
    iterations = [record["iteration"] for record in steps]
    axes.plot(iterations, [record["loss"] for record in steps], color="tab:blue", alpha=.25, linewidth=.6)
    axes.plot(iterations, [record["average"] for record in steps], color="tab:blue", label="average loss")
    axes.set(xlabel="iteration", ylabel="loss", xlim=(0, max(total, 1)), yscale="log")
    axes.grid(alpha=.3)
    if scores:
        right = axes.twinx()
        values = [record[metric] for record in scores]
        right.plot([record["iteration"] for record in scores], values, "o-", color="tab:red", label=METRICS[metric])
        right.set(ylabel=METRICS[metric], ylim=(0, 1))
        right.set_title(f"{short_name(metric)} {values[-1]:.3f}, best {max(values):.3f}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def short_name(metric: str) -> str:
    """``mAP``, ``top-1``."""
    return METRICS[metric].partition("@")[0]
