"""Write a training's numbers for TensorBoard; a failure does not stop the training."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from darknet_builder.errors import MissingExtraError
from darknet_builder.support.extras import load_extra


class ScalarWriter(Protocol):
    """The methods of TensorBoard's ``SummaryWriter`` that are used here."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Add one point to a curve."""

    def close(self) -> None:
        """Write the remaining points and close the file."""


class Curves:
    """The curves of one training, in ``tensorboard/`` below its folder.

    TensorBoard writes in a separate thread. While the curves are open, ``threading.excepthook`` is
    replaced, so that a full disk gives one line instead of a traceback; ``close`` restores it.

    Args:
        folder: output folder of the training.
        note: called with a line to show if tensorboard is not installed or a write failed.
        finished: number of finished steps; later points of an interrupted training are dropped.
        log_name: file name of the log, which has the same numbers.
    """

    def __init__(
        self, folder: Path, note: Callable[[str], None], *, finished: int, log_name: str
    ) -> None:
        self._note, self._log_name = note, log_name
        self._thread_hook = threading.excepthook
        self._writer = self._open(folder, finished)

    def _open(self, folder: Path, finished: int) -> ScalarWriter | None:
        # torch has the writer, but it imports tensorboard, which is optional.
        try:
            load_extra("tensorboard", "train")
        except MissingExtraError as error:
            self._note(f"no curves for TensorBoard ({self._log_name} has the numbers): {error}")
            return None
        make_writer = load_extra("torch.utils.tensorboard.writer", "train").SummaryWriter
        threading.excepthook = self._on_thread_failure
        try:
            writer: ScalarWriter = make_writer(str(folder / "tensorboard"), purge_step=finished + 1)
        except OSError as error:
            self._note_end(error)
            return None
        return writer

    def add(self, values: Mapping[str, float], iteration: int) -> None:
        """Add a point to each curve; after a failed write, do nothing."""
        if self._writer is None:
            return
        try:
            for name, value in values.items():
                self._writer.add_scalar(name, value, iteration)
        except OSError as error:
            self._note_end(error)
            self._writer = None

    def close(self) -> None:
        """Write the remaining points, and restore ``threading.excepthook``.

        Raises:
            OSError: when they cannot be written.
        """
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            threading.excepthook = self._thread_hook

    def _note_end(self, error: OSError) -> None:
        self._note(
            f"stopped writing curves for TensorBoard ({self._log_name} has the numbers):"
            f" {error.strerror or error}"
        )

    def _on_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        """Ignore a failed write in TensorBoard's thread; the next ``add`` raises it again."""
        is_tensorboard = type(failure.thread).__module__.startswith("tensorboard.")
        if not (is_tensorboard and isinstance(failure.exc_value, OSError)):
            self._thread_hook(failure)
