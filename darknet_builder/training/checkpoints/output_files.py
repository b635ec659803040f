"""Prepare the output folder of a training, and write ``.weights`` files under Darknet's names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darknet_builder.errors import DataError, InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.network import Network
from darknet_builder.training.checkpoints.checkpoint_file import (
    BEST,
    MAKE_ROOM,
    list_checkpoints,
)
from darknet_builder.training.log.chart import CHART_NAME
from darknet_builder.training.log.run_log import LOG_NAME
from darknet_builder.training.settings import TrainSettings
from darknet_builder.weights.loader import save_weights

_WEIGHTS_PERIOD = 1000
"""Number of steps between numbered ``.weights`` files of short trainings."""

_LONG_TRAINING = 10000
"""Minimum number of steps of a long training, and its period of numbered ``.weights`` files
(detector.c:97)."""


class OutputFiles:
    """The ``.weights`` files of a training, and the folder that holds them.

    Args:
        settings: output folder, and the first part of the file names.
        is_main: False in a process that must not write; then all methods do nothing.
    """

    def __init__(self, settings: TrainSettings, *, is_main: bool = True) -> None:
        self._settings, self._is_main = settings, is_main

    def prepare(self) -> None:
        """Create the folder; see ``prepare_output``.

        Raises:
            DataError: when it cannot be created.
            InputError: when it contains a training that the settings do not allow to continue.
        """
        if self._is_main:
            prepare_output(self._settings)

    def write_weights(self, network: Network, finished: int, suffix: str) -> None:
        """Write ``NAME_suffix.weights``, from which Darknet can resume.

        Args:
            network: its weights are written; its ``header`` is set to that of the file.
            finished: number of finished steps.
            suffix: ``last``, ``best``, ``final`` or a number of steps.

        Raises:
            WeightsError: when the file cannot be written.
        """
        if not self._is_main:
            return
        network.header = training_header(network, finished)
        path = self._settings.output / f"{self._settings.name}_{suffix}.weights"
        try:
            save_weights(network, path)
        except WeightsError as error:
            raise WeightsError(
                error.message, path=error.path, hint=MAKE_ROOM, argument="resume"
            ) from None

    def write_numbered(self, network: Network, finished: int, total: int) -> None:
        """Write ``NAME_finished.weights`` if it is due: every 1000 steps, or 10000 of a long run.

        Args:
            network: its weights are written.
            finished: number of finished steps.
            total: number of steps of the training.

        Raises:
            WeightsError: when the file cannot be written.
        """
        period = _WEIGHTS_PERIOD if total < _LONG_TRAINING else _LONG_TRAINING
        if finished % period == 0:
            self.write_weights(network, finished, str(finished))


def training_header(network: Network, finished: int) -> WeightsHeader:
    """Return a header of version 0.2 with Darknet's ``seen``, finished steps times batch."""
    return WeightsHeader(0, 2, network.header.revision, finished * network.options.batch)


_WEIGHTS = ("*_last.weights", "*_best.weights", "*_final.weights", "*_[0-9]*000.weights")
"""Patterns of the weights that a training writes; Darknet uses the same names."""

_TRACES = (LOG_NAME, CHART_NAME, "checkpoint_*.pt", BEST, *_WEIGHTS, "tensorboard/events.*")
"""Patterns of the files that a training writes."""

_HALF_WRITTEN = (".checkpoint_*.pt", ".best-*.pt", ".*.weights", ".log-*", ".chart-*")
"""Patterns of temporary files that a training leaves if it is killed while it writes."""


def prepare_output(settings: TrainSettings) -> None:
    """Create the output folder, or check that it may be used.

    With ``overwrite``, the files of an earlier training are deleted.

    Raises:
        DataError: when it cannot be created.
        InputError: as ``check_output`` does.
    """
    folder = settings.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the folder: {error.strerror}", path=folder) from None
    check_output(settings)
    removed = _HALF_WRITTEN + (_TRACES if settings.overwrite else ())
    for path in _find(folder, removed):
        path.unlink()


def check_output(settings: TrainSettings) -> None:
    """Check that the output folder may be used; it need not exist.

    Raises:
        InputError: when it contains a training and none of ``resume``, ``continue_run`` and
            ``overwrite`` is set, or when ``resume`` is set and it contains weights but no
            checkpoint.
    """
    folder = settings.output
    if settings.continue_run or settings.overwrite:
        return
    weights = _find(folder, _WEIGHTS)
    # Weights of another program. To resume without a checkpoint is to start at step 0, and that
    # would overwrite them.
    if weights and not list_checkpoints(folder):
        raise InputError(
            f"already contains a training ({weights[0].name}), but no checkpoint to resume from",
            path=folder,
            argument=("continue_run", "weights", "overwrite"),
            hint="continue it from these weights, overwrite it, or use another folder",
        )
    old = _find(folder, _TRACES)
    if old and not settings.resume:
        raise InputError(
            f"already contains a training ({old[0].name})",
            path=folder,
            argument=("resume", "continue_run", "overwrite"),
            hint="resume it, continue it with something changed, overwrite it, or use another"
            " folder",
        )


def _find(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern)]
