"""The output folder of a training: prepare it, and write ``.weights`` files under Darknet's
names.
"""

from __future__ import annotations

from darknet_builder.errors import DataError, InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.network import Network
from darknet_builder.training.checkpoints.checkpoint_file import BEST, MAKE_ROOM
from darknet_builder.training.log.chart import CHART_NAME
from darknet_builder.training.log.run_log import LOG_NAME
from darknet_builder.training.settings import TrainSettings
from darknet_builder.weights.loader import save_weights

_WEIGHTS_PERIOD = 1000


_LONG_TRAINING = 10000
"""Trainings of this number of steps and more keep numbered weights at this period only
(detector.c:372)."""


class OutputFiles:
    """The files that a training leaves for others.

    Args:
        settings: name the folder, and what the files' names begin with.
        is_main: False in a process that must not write; then all methods do nothing.
    """

    def __init__(self, settings: TrainSettings, *, is_main: bool = True) -> None:
        self._settings, self._is_main = settings, is_main

    def prepare(self) -> None:
        """Make the folder, and see that no other training's files are mixed with this one's.

        Raises:
            DataError: when it cannot be made.
            InputError: when it holds a training and neither ``resume`` nor ``overwrite`` is set.
        """
        if self._is_main:
            prepare_output(self._settings)

    def write_weights(self, network: Network, finished: int, suffix: str) -> None:
        """Write ``NAME_suffix.weights``, from which Darknet can resume.

        Args:
            network: its weights; its ``header`` becomes that of the file.
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
        """Write ``NAME_finished.weights`` where it is due: every 1000 steps, or 10000 in long
        trainings.

        Raises:
            WeightsError: when the file cannot be written.
        """
        period = _WEIGHTS_PERIOD if total < _LONG_TRAINING else _LONG_TRAINING
        if finished % period == 0:
            self.write_weights(network, finished, str(finished))


def training_header(network: Network, finished: int) -> WeightsHeader:
    """Return the header of version 0.2 whose ``seen`` is what Darknet would have counted: steps
    times batch.
    """
    return WeightsHeader(0, 2, network.header.revision, finished * network.options.batch)


_TRACES = (
    LOG_NAME,
    CHART_NAME,
    "checkpoint_*.pt",
    BEST,
    "*_last.weights",
    "*_best.weights",
    "*_final.weights",
    "*_[0-9]*000.weights",
    "tensorboard/events.*",
)
"""What a training leaves in its folder."""


_HALF_WRITTEN = (".checkpoint_*.pt", ".best-*.pt", ".*.weights", ".log-*", ".chart-*")
"""What a training that was killed while it wrote may have left."""


def prepare_output(settings: TrainSettings) -> None:
    """Make the folder, and see that no other training's files are mixed with this one's.

    Raises:
        DataError: when it cannot be made.
        InputError: when it holds a training and neither ``resume`` nor ``overwrite`` is set.
    """
    folder = settings.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the folder cannot be made: {error.strerror}", path=folder) from None
    old = [path for pattern in _TRACES for path in folder.glob(pattern)]
    if old and settings.overwrite:
        for path in old:
            path.unlink()
    elif old and not (settings.resume or settings.continue_run):
        raise InputError(
            f"holds a training already ({old[0].name})",
            path=folder,
            argument=("resume", "overwrite"),
            hint="resume it, overwrite it, or name another folder",
        )
    for path in (path for pattern in _HALF_WRITTEN for path in folder.glob(pattern)):
        path.unlink()
