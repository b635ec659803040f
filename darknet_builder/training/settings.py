"""The settings of a training that are not in the cfg, and their checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darknet_builder.engines.names import precision_name
from darknet_builder.errors import InputError

if TYPE_CHECKING:
    from darknet_builder.network.network import Network
    from darknet_builder.training.optimizer import RatePattern

PRECISIONS = ("float32", "bfloat16")

LEAST = {"seed": 0, "workers": 0, "save_every": 1, "keep": 1, "eval_every": 0}
"""Minimum values of the numeric settings."""
_MOST_WORKERS_A_CORE = 16


@dataclass(frozen=True)
class TrainSettings:
    """The settings of a training that are not in the cfg.

    ``Trainer`` checks them with ``check_settings`` when it is made.

    Attributes:
        output: folder for all files of the training.
        name: first part of the names of ``.weights`` files.
        seed: seed of the order and the augmentation of the images, 0 or more.
        device: torch device, such as ``cpu`` or ``cuda:0``.
        precision: ``float32``, or ``bfloat16`` for the forward pass of the network; losses and
            weights stay float32. ``fp32`` and ``bf16`` are aliases.
        workers: number of processes that load images; 0 loads them in the training process.
        eval_every: steps between validations; 0 validates after the last step only, None at
            Darknet's intervals.
        save_every: steps between checkpoints, 1 or more.
        keep: number of checkpoints to keep, 1 or more; older ones are deleted.
        rates: factors of the learning rate for some parameters.
        resume: resume the training in ``output`` exactly, from its newest checkpoint; a changed
            cfg, data set or setting is refused.
        continue_run: continue the training in ``output`` from its newest checkpoint, or without one
            from the network's own weights. The cfg, data set and settings may have changed.
        overwrite: remove the files of an earlier training from ``output``.
        freeze_norms: batch norms use their stored statistics, and their scales and biases are not
            trained.

    Example:
        >>> settings = TrainSettings(output=Path("runs/first"), precision="bf16")
        >>> settings.precision, settings.save_every
        ('bfloat16', 100)
    """

    output: Path
    name: str = "network"
    seed: int = 0
    device: str = "cpu"
    precision: str = "float32"
    workers: int = 0
    eval_every: int | None = None
    save_every: int = 100
    keep: int = 3
    rates: tuple[RatePattern, ...] = ()
    resume: bool = False
    continue_run: bool = False
    overwrite: bool = False
    freeze_norms: bool = False

    def __post_init__(self) -> None:
        """Replace a short name of the precision by torch's name."""
        object.__setattr__(self, "precision", precision_name(self.precision))


def check_settings(network: Network, settings: TrainSettings) -> None:
    """Check the settings of a training.

    Raises:
        InputError: for an invalid setting, or a network that cannot be trained.
        CfgError: for a cfg without ``max_batches=``.
    """
    if settings.precision not in PRECISIONS:
        raise InputError(
            f"expected {' or '.join(PRECISIONS)}",
            argument="precision",
            value=repr(settings.precision),
        )
    if settings.precision == "bfloat16":
        _require_bfloat16(settings.device)
    for name, minimum in LEAST.items():
        number = getattr(settings, name)
        if number is not None and number < minimum:
            raise InputError(f"expected {minimum} or more", argument=name, value=number)
    check_processes("workers", settings.workers)
    if settings.continue_run and (settings.resume or settings.overwrite):
        other = "resume" if settings.resume else "overwrite"
        raise InputError(f"continue and {other} exclude each other; choose one of them")
    if settings.resume and settings.overwrite:
        raise InputError("resume and overwrite exclude each other; choose one of them")
    check_trainable(network)
    if network.options.schedule.max_batches < 1:
        raise network.blocks[0].error(
            "needs max_batches=, the number of steps", "max_batches", argument="max_batches"
        )


def check_processes(argument: str, number: int) -> None:
    """Check that a number of processes or threads is not far above that of the processor's cores.

    Args:
        argument: name of the library argument.
        number: its value.

    Raises:
        InputError: above 16 for each core.
    """
    most = _MOST_WORKERS_A_CORE * (os.cpu_count() or 1)
    if number > most:
        raise InputError(
            f"expected at most {most}, {_MOST_WORKERS_A_CORE} for each core",
            argument=argument,
            value=number,
        )


def _require_bfloat16(device: str) -> None:
    import torch  # here alone: the command line reads this module to print its help

    from darknet_builder.support.devices import require_bfloat16

    require_bfloat16(torch.device(device), "precision='bfloat16'", "precision='float32'")


def check_trainable(network: Network) -> None:
    """Check that a network has a layer with a loss.

    Raises:
        InputError: when it has none.
    """
    if not any(layer.has_loss for layer in network.sequence()):
        raise InputError(
            "the network cannot be trained: expected a detection head ([yolo], [Gaussian_yolo], "
            "[region] or [detection]), [softmax] or [cost]",
            **network.blocks[0].place(),
        )
