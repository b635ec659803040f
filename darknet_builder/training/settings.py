"""What a training is told beside the cfg, whether that makes sense, and the folder that it writes
to.
"""

from __future__ import annotations

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
"""The least that numbers among the settings may be."""


@dataclass(frozen=True)
class TrainSettings:
    """What a training is told beside the cfg.

    Attributes:
        output: folder for everything that is written.
        name: what ``.weights`` files begin with.
        seed: of the order and the augmentation of images.
        device: where it runs.
        precision: ``float32``, or ``bfloat16`` for the network's own arithmetic (losses and weights
            stay float32); ``fp32`` and ``bf16`` are other names of these.
        workers: processes that prepare images; 0 for none.
        eval_every: steps between validations; 0 for none but the last, None for Darknet's way.
        save_every: steps between checkpoints.
        keep: how many of them stay.
        rates: the user's own factors of the learning rate.
        resume: go on from the newest checkpoint in ``output``.
        continue_run: continue the newest checkpoint in ``output``, or the weights that the network
            has, with what the cfg, the data set and these settings say now.
        overwrite: remove what an earlier training left in ``output``.
        freeze_norms: batch norms use their stored statistics, and neither these nor scales and
            biases change.
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
        """Put torch's name of the precision in place of its short one."""
        object.__setattr__(self, "precision", precision_name(self.precision))


def check_settings(network: Network, settings: TrainSettings) -> None:
    """Whether the settings make sense.

    Raises:
        InputError: naming the one that does not.
    """
    if settings.precision not in PRECISIONS:
        raise InputError(
            f"expected {' or '.join(PRECISIONS)}",
            argument="precision",
            value=repr(settings.precision),
        )
    if settings.precision == "bfloat16":
        _require_bfloat16(settings.device)
    for name, least in LEAST.items():
        number = getattr(settings, name)
        if number is not None and number < least:
            raise InputError(f"expected {least} or more", argument=name, value=number)
    if settings.continue_run and (settings.resume or settings.overwrite):
        other = "resume" if settings.resume else "overwrite"
        raise InputError(f"continue and {other} exclude each other: choose one of them")
    if settings.resume and settings.overwrite:
        raise InputError("resume and overwrite exclude each other: go on, or begin anew")
    check_trainable(network)
    if network.options.schedule.max_batches < 1:
        raise network.blocks[0].error(
            "needs max_batches=, the number of steps", "max_batches", argument="max_batches"
        )


def _require_bfloat16(device: str) -> None:
    import torch  # here alone: the command line reads this module to print its help

    from darknet_builder.support.devices import require_bfloat16

    require_bfloat16(torch.device(device), "precision='bfloat16'", "precision='float32'")


def check_trainable(network: Network) -> None:
    """Whether there is something to train for.

    Raises:
        InputError: when there is not.
    """
    if not any(layer.has_loss for layer in network.sequence()):
        raise InputError(
            "the network has no detection head ([yolo], [Gaussian_yolo], [region] or [detection]),"
            " and neither [softmax] nor [cost]: there is nothing to train for",
            **network.blocks[0].place(),
        )
