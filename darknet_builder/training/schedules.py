"""How the learning rate goes: every policy of Darknet as a ``torch.optim.lr_scheduler.LRScheduler``
(network.c:131).

Darknet counts the images before it looks the rate up, so its first update has number 1. Here
``last_epoch`` is the number of finished updates, as PyTorch counts, and the rate that stands in the
optimiser is that of the next one::

    optimizer.step()
    scheduler.step()
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from darknet_builder.cfg.net_options import Schedule
from darknet_builder.errors import InputError

RATE_SCALE = "rate_scale"
"""The key of an optimiser's group by which its rate is multiplied; 1 where it is missing."""


def rate_at(schedule: Schedule, number: int, *, seed: int = 0) -> float:
    """The learning rate of one update.

    Args:
        schedule: from ``[net]``.
        number: of the update, the first being 1; Darknet's ``batch_num``.
        seed: of the draw of ``policy=random``, which depends on nothing but this and ``number``.

    Raises:
        InputError: for a schedule that has no such rate (``max_batches=0`` with ``policy=poly``).
    """
    if number < schedule.burn_in:
        return schedule.learning_rate * math.pow(number / schedule.burn_in, schedule.power)
    if schedule.policy == "random":
        return schedule.learning_rate * math.pow(_draw(seed, number), schedule.power)
    return _POLICIES[schedule.policy](schedule, number)


def _constant(schedule: Schedule, number: int) -> float:
    return schedule.learning_rate


def _step(schedule: Schedule, number: int) -> float:
    _positive(schedule.step, "policy=step needs step=")
    return schedule.learning_rate * math.pow(schedule.scale, number // schedule.step)


def _steps(schedule: Schedule, number: int) -> float:
    rate = schedule.learning_rate
    for step, scale in zip(schedule.steps, schedule.scales, strict=False):
        if step > number:
            break
        rate *= scale
    return rate


def _exp(schedule: Schedule, number: int) -> float:
    gamma = struct.unpack("f", struct.pack("f", schedule.gamma))[
        0
    ]  # Darknet's float; a high power shows it
    return schedule.learning_rate * math.pow(gamma, number)


def _poly(schedule: Schedule, number: int) -> float:
    _positive(schedule.max_batches, "policy=poly needs max_batches=")
    left = 1 - number / schedule.max_batches
    if left < 0 and not schedule.power.is_integer():
        return 0.0  # C's pow gives NaN there, after the training's end
    return schedule.learning_rate * math.pow(left, schedule.power)


def _sigmoid(schedule: Schedule, number: int) -> float:
    exponent = schedule.gamma * (number - schedule.step)
    return (
        schedule.learning_rate / (1 + math.exp(exponent)) if exponent < 700 else 0.0
    )  # exp overflows


def _sgdr(schedule: Schedule, number: int) -> float:
    _positive(schedule.sgdr_cycle, "policy=sgdr needs max_batches= or sgdr_cycle=")
    _positive(schedule.sgdr_mult, "policy=sgdr needs sgdr_mult=")
    start, cycle = 0, schedule.sgdr_cycle
    while start + cycle < number:
        start, cycle = start + cycle, cycle * schedule.sgdr_mult
    swing = 1 + math.cos((number - start) * math.pi / cycle)
    return (
        schedule.learning_rate_min
        + 0.5 * (schedule.learning_rate - schedule.learning_rate_min) * swing
    )


def _positive(value: int, what: str) -> None:
    if value < 1:
        raise InputError(f"{what} above 0, got {value}")


def _draw(seed: int, number: int) -> float:
    """A number in [0, 1) from seed and place alone, so that a resumed training draws the same."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return float(torch.rand((), generator=generator))


_POLICIES: dict[str, Callable[[Schedule, int], float]] = {
    "constant": _constant,
    "step": _step,
    "steps": _steps,
    "exp": _exp,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "sgdr": _sgdr,
}


class DarknetLR(LRScheduler):
    """Any policy of Darknet's, with its burn-in.

    Each group gets the schedule's rate times its ``rate_scale`` (see ``parameter_groups``).

    Args:
        optimizer: whose groups' ``lr`` is set.
        schedule: from ``[net]``.
        finished: how many updates lie behind, when a training is taken up again.
        seed: of ``policy=random``.

    Raises:
        InputError: for a schedule that cannot be computed.
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, *, finished: int = 0, seed: int = 0
    ) -> None:
        self.schedule, self.seed = schedule, seed
        _remember_initial_rates(optimizer)
        super().__init__(optimizer, last_epoch=finished - 1)

    def get_lr(self) -> list[float | torch.Tensor]:
        """One rate a group, of the next update."""
        rate = rate_at(self.schedule, self.last_epoch + 1, seed=self.seed)
        return [rate * group.get(RATE_SCALE, 1.0) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Numbers alone: the schedule comes from the cfg."""
        return {key: value for key, value in super().state_dict().items() if key != "schedule"}


def make_scheduler(
    optimizer: Optimizer, schedule: Schedule, *, finished: int = 0, seed: int = 0
) -> LRScheduler:
    """The scheduler of a cfg: ``MultiStepLR`` where it is one, otherwise ``DarknetLR``.

    It is one for ``policy=steps`` with one and the same scale at rising steps, and no burn-in.

    Args:
        optimizer: with groups from ``parameter_groups``, or any.
        schedule: from ``[net]``.
        finished: how many updates lie behind.
        seed: of ``policy=random``.

    Raises:
        InputError: for a schedule that cannot be computed.
    """
    if not _is_multi_step(schedule):
        return DarknetLR(optimizer, schedule, finished=finished, seed=seed)
    _remember_initial_rates(optimizer)
    for group in optimizer.param_groups:
        group["lr"] = rate_at(schedule, finished) * group.get(RATE_SCALE, 1.0)
    milestones = [
        step - 1 for step in schedule.steps
    ]  # finished updates before the first one with the new rate
    return MultiStepLR(optimizer, milestones, gamma=schedule.scales[0], last_epoch=finished - 1)


def _is_multi_step(schedule: Schedule) -> bool:
    steps, scales = schedule.steps, schedule.scales[: len(schedule.steps)]
    return (
        schedule.policy == "steps"
        and schedule.burn_in == 0
        and len(set(scales)) == 1
        and steps[0] > 0
        and list(steps) == sorted(steps)
    )


def _remember_initial_rates(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
