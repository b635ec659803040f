"""The output folder of a training: prepare it, and write ``.weights`` files under Darknet's names."""

from __future__ import annotations

from darknet_builder.errors import WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.network import Network
from darknet_builder.training.checkpoints.checkpoint_file import MAKE_ROOM
from darknet_builder.training.settings import TrainSettings, prepare_output
from darknet_builder.weights.loader import save_weights

_WEIGHTS_PERIOD = 1000
_LONG_TRAINING = 10000
"""Trainings of this number of steps and more keep numbered weights at this period only (detector.c:372)."""


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
            raise WeightsError(error.message, path=error.path, hint=MAKE_ROOM, argument="resume") from None

    def write_numbered(self, network: Network, finished: int, total: int) -> None:
        """Write ``NAME_finished.weights`` where it is due: every 1000 steps, or 10000 in long trainings.

        Raises:
            WeightsError: when the file cannot be written.
        """
        period = _WEIGHTS_PERIOD if total < _LONG_TRAINING else _LONG_TRAINING
        if finished % period == 0:
            self.write_weights(network, finished, str(finished))


def training_header(network: Network, finished: int) -> WeightsHeader:
    """Return the header of version 0.2 whose ``seen`` is what Darknet would have counted: steps times batch."""
    return WeightsHeader(0, 2, network.header.revision, finished * network.options.batch)
