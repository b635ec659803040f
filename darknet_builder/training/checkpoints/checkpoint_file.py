"""Checkpoints: everything that a training needs to go on with equal numbers, in one file that
appears whole or not.

They hold tensors, numbers and text alone, so that ``torch.load(..., weights_only=True)`` reads
them: a pickled network would tie the file to this package's source, and could run anything when it
is opened.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, writing

FORMAT = 1
BEST = "best.pt"
MAKE_ROOM = "make room, then resume the training"
"""The hint of errors whose argument is ``resume``."""
_NAME = re.compile(r"checkpoint_(\d{7,})\.pt")
_FREE_OPTIONS = ("max_batches",)
"""Options of [net] that may change when a training goes on."""


class RandomState(TypedDict):
    """The states of torch's random generators.

    Attributes:
        cpu: that of the CPU.
        cuda: that of the GPU; None for a training on the CPU.
    """

    cpu: Tensor
    cuda: Tensor | None


class _OptionalState(TypedDict, total=False):
    """What not every checkpoint has: see ``State``."""

    format: int
    model: dict[str, str]
    validated: int


class State(_OptionalState):
    """The contents of a checkpoint file. Tensors, numbers, text, lists and dictionaries only.

    Attributes:
        format: version of this list; written by ``save_checkpoint``.
        cfg: sections of the cfg in order, each ``[name, options]``; see ``plain_blocks``.
        model: names of the classes, dialect and header of the weights; see ``model_metadata``.
        facts: settings that must be the same when the training is resumed: ``seed``, ``precision``,
            ``number_of_training_images``, ``rates``, ``norms`` (``learning`` or ``frozen``).
        finished: number of finished steps.
        validated: the step after which the last validation was made. Earlier versions, without this
            key, saved after the validation.
        best: the highest score so far; None before the first validation.
        network: the network's ``state_dict()``.
        optimizer: that of the optimiser.
        scheduler: that of the learning rate's scheduler.
        average: moving averages of the weights by parameter name; see ``WeightEma``.
        random: states of the random generators.
    """

    cfg: list[list[Any]]
    facts: dict[str, Any]
    finished: int
    best: float | None
    network: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    average: dict[str, Any]
    random: RandomState


def checkpoint_path(folder: str | Path, finished: int) -> Path:
    """Where the checkpoint after so many steps lies."""
    return Path(folder) / f"checkpoint_{finished:07d}.pt"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """Those of a folder, oldest first; the best one, which is a copy, is not among them."""
    found = [
        (int(match.group(1)), path)
        for path in Path(folder).glob("checkpoint_*.pt")
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found)]


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; on any failure the file that was there before stays as it was.

    Raises:
        WeightsError: when it cannot be written (a full disk).
    """
    # Into memory first: torch reports a full disk as a RuntimeError without its cause.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    cure = f"those written before are whole; {MAKE_ROOM}"
    with writing(path, WeightsError, cure=cure, argument="resume"), atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def prune_checkpoints(folder: str | Path, keep: int) -> None:
    """Remove all but the newest ``keep``."""
    paths = list_checkpoints(folder)
    for path in paths[: max(len(paths) - keep, 0)]:
        path.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> State:
    """Read a checkpoint, tensors on the CPU.

    Raises:
        WeightsError: for a file that is none or cannot be read.
    """
    try:
        # Into memory first: torch.load on a truncated file seeks to a negative offset, a misleading
        # OSError.
        state = torch.load(
            io.BytesIO(Path(path).read_bytes()), map_location="cpu", weights_only=True
        )
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", path=path) from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError):
        raise WeightsError(
            "is no checkpoint, or a damaged one",
            path=path,
            hint="remove it to go on from an older one",
        ) from None
    if not isinstance(state, dict) or "network" not in state or "cfg" not in state:
        raise WeightsError(
            "is no checkpoint of a training",
            path=path,
            argument="weights",
            hint="load a .weights file as weights",
        )
    if state.get("format") != FORMAT:
        raise WeightsError(
            f"has the format {state.get('format')}, this version reads {FORMAT}", path=path
        )
    return cast("State", state)


# ---- whether it belongs to this training ---------------------------------------------------------


def plain_blocks(blocks: Sequence[Block]) -> list[list[Any]]:
    """A cfg as lists, as a checkpoint keeps it."""
    return [[block.name, dict(block)] for block in blocks]


def model_metadata(network: Network, header: WeightsHeader) -> dict[str, str]:
    """What ``build_network`` takes from a checkpoint beside cfg and tensors, as a model file has
    it.
    """
    return ModelMetadata(
        names=network.names,
        dialect=network.dialect.name,
        header=(header.major, header.minor, header.revision, header.seen),
    ).as_text()


def check_same_cfg(path: str | Path, state: State, blocks: Sequence[Block]) -> None:
    """Whether the checkpoint was made with this cfg; only ``max_batches`` may differ.

    Raises:
        WeightsError: naming the first difference, with the cfg's file and line.
    """
    for index, (there, block) in enumerate(zip_longest(state["cfg"], blocks)):
        if block is None or there is None:
            raise WeightsError(
                f"belongs to another cfg: that has {len(state['cfg'])} sections, this one "
                f"{len(blocks)}",
                path=path,
            )
        difference = _difference(there, block, free=_FREE_OPTIONS if index == 0 else ())
        if difference:
            can_continue = there[0] == block.name
            way = ", continue with this one" if can_continue else ""
            raise WeightsError(
                f"belongs to another cfg: {difference}",
                path=path,
                argument=("continue_run", "overwrite") if can_continue else "overwrite",
                hint=f"take the one it was made with{way}, or overwrite the training",
            )


def _difference(there: list[Any], block: Block, free: Sequence[str]) -> str:
    name, options = there
    if name != block.name:
        return f"{block.where()} is [{name}] there"
    for key in {**options, **block}:
        if key not in free and options.get(key) != block.get(key):
            value = f"{key}={options[key]}" if key in options else f"no {key}="
            return f"{block.where(key)}: {value} there"
    return ""


def check_same_run(path: str | Path, state: State, metadata: Mapping[str, Any]) -> None:
    """Check that the settings which decide a training (seed, precision, ...) are what they were.

    Raises:
        InputError: naming the first that is not.
    """
    for name, value in metadata.items():
        if state["facts"].get(name) != value:
            raise InputError(
                f"was made with {name.replace('_', ' ')} {state['facts'].get(name)}, not {value}: "
                "the training would not go on as it began",
                path=path,
                argument="continue_run",
                hint="continue it with the new value",
            )
