"""Darknet's learning rate policies as PyTorch schedulers (network.c:131).

Darknet counts the images before it looks the rate up, so its first update has number 1. Here
``last_epoch`` is the number of finished updates, as in PyTorch, and the optimiser holds the rate of
the next one::

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
"""Key of a parameter group: the factor of the schedule's rate; a missing one is 1."""


def rate_at(schedule: Schedule, number: int, *, seed: int = 0) -> float:
    """Return the learning rate of one update.

    Args:
        schedule: the options of ``[net]``.
        number: number of the update, counted from 1; Darknet's ``batch_num``.
        seed: seed of ``policy=random``, whose draws depend on it and ``number`` alone.

    Raises:
        InputError: for a schedule without the options that its policy needs.

    Example:
        >>> schedule = Schedule(learning_rate=0.1, policy="step", step=100, scale=0.5)
        >>> [rate_at(schedule, number) for number in (1, 99, 100, 200)]
        [0.1, 0.1, 0.05, 0.025]
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
    # In C batch_num / step divides integers (network.c:141).
    return schedule.learning_rate * math.pow(schedule.scale, number // schedule.step)


def _steps(schedule: Schedule, number: int) -> float:
    rate = schedule.learning_rate
    # There may be more scales than steps; Darknet ignores the rest.
    for step, scale in zip(schedule.steps, schedule.scales, strict=False):
        if step > number:
            break
        rate *= scale
    return rate


def _exp(schedule: Schedule, number: int) -> float:
    # Darknet stores gamma as a 32-bit float; a high power makes the difference visible.
    (gamma,) = struct.unpack("f", struct.pack("f", schedule.gamma))
    return schedule.learning_rate * math.pow(gamma, number)


def _poly(schedule: Schedule, number: int) -> float:
    _positive(schedule.max_batches, "policy=poly needs max_batches=")
    left = 1 - number / schedule.max_batches
    if left < 0 and not schedule.power.is_integer():
        # After the end of the training. C's pow gives NaN there, Python's a complex number.
        return 0.0
    return schedule.learning_rate * math.pow(left, schedule.power)


def _sigmoid(schedule: Schedule, number: int) -> float:
    exponent = schedule.gamma * (number - schedule.step)
    # Above 709 exp overflows, and the rate is 0 long before that.
    return schedule.learning_rate / (1 + math.exp(exponent)) if exponent < 700 else 0.0


def _sgdr(schedule: Schedule, number: int) -> float:
    _positive(schedule.sgdr_cycle, "policy=sgdr needs max_batches= or sgdr_cycle=")
    _positive(schedule.sgdr_mult, "policy=sgdr needs sgdr_mult=")
    start, cycle = 0, schedule.sgdr_cycle
    # Find the cycle of this update; each one is sgdr_mult times as long as the one before.
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
    """Draw a number in [0, 1) that depends on the arguments alone, for exact resuming."""
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
    """A scheduler for every policy of Darknet, with its burn-in.

    Each group gets the schedule's rate times its ``rate_scale`` (see ``parameter_groups``).

    Args:
        optimizer: the ``lr`` of its groups is set.
        schedule: the options of ``[net]``.
        finished: number of finished updates, for a resumed training.
        seed: seed of the random numbers of ``policy=random``.

    Raises:
        InputError: for a schedule without the options that its policy needs.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> schedule = Schedule(learning_rate=0.1, policy="constant", burn_in=10, power=1)
        >>> round(DarknetLR(optimizer, schedule).get_last_lr()[0], 6)
        0.01
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, *, finished: int = 0, seed: int = 0
    ) -> None:
        self.schedule, self.seed = schedule, seed
        _remember_initial_rates(optimizer)
        super().__init__(optimizer, last_epoch=finished - 1)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of the next update for each group."""
        rate = rate_at(self.schedule, self.last_epoch + 1, seed=self.seed)
        return [rate * group.get(RATE_SCALE, 1.0) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the schedule, which comes from the cfg."""
        return {key: value for key, value in super().state_dict().items() if key != "schedule"}


def make_scheduler(
    optimizer: Optimizer, schedule: Schedule, *, finished: int = 0, seed: int = 0
) -> LRScheduler:
    """Make the scheduler of a cfg: PyTorch's ``MultiStepLR`` where it fits, else ``DarknetLR``.

    It fits ``policy=steps`` without burn-in, with rising steps that share one scale.

    Args:
        optimizer: any optimiser; ``parameter_groups`` gives its groups a ``rate_scale``.
        schedule: the options of ``[net]``.
        finished: number of finished updates, for a resumed training.
        seed: seed of the random numbers of ``policy=random``.

    Raises:
        InputError: for a schedule without the options that its policy needs.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> schedule = Schedule(policy="steps", steps=(100, 200), scales=(0.1, 0.1), burn_in=0)
        >>> type(make_scheduler(optimizer, schedule)).__name__
        'MultiStepLR'
    """
    if not _is_multi_step(schedule):
        return DarknetLR(optimizer, schedule, finished=finished, seed=seed)
    _remember_initial_rates(optimizer)
    # MultiStepLR multiplies the current rate at each milestone, so it must be right at the start.
    for group in optimizer.param_groups:
        group["lr"] = rate_at(schedule, finished) * group.get(RATE_SCALE, 1.0)
    # Darknet's steps number the updates from 1; PyTorch's milestones count finished updates.
    milestones = [step - 1 for step in schedule.steps]
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
