"""Continue a training with other settings or other data, where an exact resume would refuse.

The weights, the momentum and the number of finished steps are taken over; everything else is what
the cfg and the settings say now. Each difference is listed in one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from darknet_builder.cfg.block import Block
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.network.network import Network
from darknet_builder.training.checkpoints.checkpoint_file import State
from darknet_builder.training.ema import WeightEma
from darknet_builder.training.schedules import make_scheduler

_ABSENT = "(none)"
_START_AGAIN = "train from its weights instead, from step 0"


@dataclass(frozen=True)
class Start:
    """Where a continued training starts.

    Attributes:
        finished: number of finished steps.
        validated: the step after which the last validation was made.
        best: the highest score so far; None before the first validation.
        lines: for the log: where the training continues, then one line for each difference.
    """

    finished: int
    validated: int
    best: float | None
    lines: tuple[str, ...]


def start_at_checkpoint(
    path: Path, state: State, network: Network, facts: Mapping[str, Any]
) -> Start:
    """Describe the start at a checkpoint.

    Args:
        path: path of the checkpoint, for messages.
        state: contents of the checkpoint.
        network: the network of the cfg as it is now.
        facts: the settings that an exact resume would require to be equal.

    Raises:
        WeightsError: when the checkpoint's weights do not fit the network.
        InputError: when the network has weights of an earlier training too.
    """
    if network.header.seen:
        raise InputError(
            f"is a checkpoint to continue from, and the weights count {network.header.seen} images"
            " as well",
            path=path,
            argument="weights",
            hint="leave the weights out, or use another output folder",
        )
    _check_tensors(path, state, network)
    finished = state["finished"]
    lines = (
        f"continuing after step {finished} of {path}",
        *_changed_options(state["cfg"], network.blocks),
        *_changed_facts(state["facts"], facts),
    )
    return Start(finished, state.get("validated", finished), state["best"], lines)


def start_at_weights(network: Network, folder: Path) -> Start:
    """Describe the start at a ``.weights`` file whose header counts images.

    As in Darknet, the number of finished steps is ``seen`` divided by ``batch=`` (network.c:67).

    Args:
        network: with the header of its weights.
        folder: the output folder, for messages.

    Raises:
        InputError: when the header counts none.
    """
    seen, batch = network.header.seen, network.options.batch
    if not seen:
        raise InputError(
            "contains no checkpoint, and the weights count no images: there is nothing to continue",
            path=folder,
            argument="weights",
            hint="give the weights of an unfinished training, or start a new one",
        )
    finished = seen // batch  # get_current_batch, network.c:67
    line = f"continuing after step {finished}: the weights count {seen} images, batch={batch}"
    return Start(finished, finished, None, (line,))


def take_over(state: State, network: Network, optimizer: Optimizer, average: WeightEma) -> bool:
    """Restore what a continued training takes from a checkpoint.

    Returns:
        Whether the momentum was taken over too: it is not if the optimiser is another.
    """
    network.load_state_dict(state["network"])
    momentum = _take_momentum(optimizer, state["optimizer"])
    # A longer training begins its average later: what was gathered until now is dropped.
    average.load_state_dict(state["average"] if state["finished"] >= average.start else {})
    torch.set_rng_state(state["random"]["cpu"])
    return momentum


def move_schedule(scheduler: LRScheduler, network: Network, finished: int, seed: int) -> None:
    """Set the scheduler and the learning rates of its optimiser to a number of finished steps."""
    schedule = network.options.schedule
    moved = make_scheduler(scheduler.optimizer, schedule, finished=finished, seed=seed)
    scheduler.load_state_dict(moved.state_dict())


def _take_momentum(optimizer: Optimizer, saved: Mapping[str, Any]) -> bool:
    """Load the state of each parameter by its name, since other rates make other groups."""
    key = "momentum_buffer" if isinstance(optimizer, SGD) else "exp_avg"
    by_name = {
        name: saved["state"][number]
        for group in saved["param_groups"]
        for name, number in zip(group["names"], group["params"], strict=True)
        if number in saved["state"]
    }
    # SGD and Adam keep different tensors: after a change between them, momentum starts at 0.
    if by_name and not all(key in values for values in by_name.values()):
        return False
    state = optimizer.state_dict()
    state["state"] = {
        number: by_name[name]
        for group in state["param_groups"]
        for name, number in zip(group["names"], group["params"], strict=True)
        if name in by_name
    }
    optimizer.load_state_dict(state)
    return True


def _check_tensors(path: Path, state: State, network: Network) -> None:
    """Check that the sections are the same and all tensors have the same shapes.

    Raises:
        WeightsError: naming the first difference.
    """
    for section, block in zip_longest(state["cfg"], network.blocks):
        if section is None or block is None or section[0] != block.name:
            location = f"{network.blocks[0].source}: the end" if block is None else block.where()
            saved_name = "nothing" if section is None else f"[{section[0]}]"
            raise WeightsError(
                f"belongs to another network: {location} is {saved_name} there",
                path=path,
                hint=_START_AGAIN,
            )
    for name, tensor in network.state_dict().items():
        saved = state["network"].get(name)
        if saved is None or saved.shape != tensor.shape:
            shape = "missing" if saved is None else _shape(saved)
            raise WeightsError(
                f"belongs to another network: {name} is {shape} there, {_shape(tensor)} here",
                path=path,
                hint=_START_AGAIN,
            )


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _changed_options(saved: Sequence[list[Any]], blocks: Sequence[Block]) -> Iterator[str]:
    """One line for each option that differs, such as ``learning_rate: 0.001 -> 0.0001``."""
    for index, ((_, options), block) in enumerate(zip(saved, blocks, strict=True)):
        prefix = f"layer {index - 1} [{block.name}] " if index else ""
        for key in {**options, **block}:
            old, new = options.get(key, _ABSENT), block.get(key, _ABSENT)
            if old != new:
                yield f"{prefix}{key}: {old} -> {new}"


def _changed_facts(saved: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        # A checkpoint of an earlier version may lack a setting; then nothing is known to differ.
        old = saved.get(name, value)
        if old != value:
            yield f"{name.replace('_', ' ')}: {_text(old)} -> {_text(value)}"


def _text(value: object) -> str:
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or _ABSENT
