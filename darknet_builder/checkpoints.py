"""Checkpoints: everything that a training needs to go on with equal numbers, in one file that appears whole or not.

They hold tensors, numbers and text alone, so that ``torch.load(..., weights_only=True)`` reads them: a pickled network
would tie the file to this package's source, and could run anything when it is opened.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from darknet_builder.errors import InputError, WeightsError
from darknet_builder.files import atomic_path, writing
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.model_files import Facts
from darknet_builder.network import Network
from darknet_builder.parser import Block

FORMAT = 1
BEST = "best.pt"
MAKE_ROOM = "make room, then go on with --resume"
_NAME = re.compile(r"checkpoint_(\d{7,})\.pt")
_FREE_OPTIONS = ("max_batches",)
"""Options of [net] that may change when a training goes on."""

State = dict[str, Any]


def checkpoint_path(folder: str | Path, finished: int) -> Path:
    """Where the checkpoint after so many steps lies."""
    return Path(folder) / f"checkpoint_{finished:07d}.pt"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """Those of a folder, oldest first; the best one, which is a copy, is not among them."""
    found = [(int(match.group(1)), path) for path in Path(folder).glob("checkpoint_*.pt")
             if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; on any failure the file that was there before stays as it was.

    Raises:
        WeightsError: when it cannot be written (a full disk).
    """
    # Into memory first: torch reports a full disk as a RuntimeError without its cause.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    cure = f"those written before are whole: {MAKE_ROOM}"
    with writing(path, WeightsError, cure=cure), atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def prune_checkpoints(folder: str | Path, keep: int) -> None:
    """Remove all but the newest ``keep``."""
    paths = list_checkpoints(folder)
    for path in paths[:max(len(paths) - keep, 0)]:
        path.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> State:
    """Read a checkpoint, tensors on the CPU.

    Raises:
        WeightsError: for a file that is none or cannot be read.
    """
    try:
        # Into memory first: a file that was cut makes torch seek before its beginning, which looks like a faulty disk.
        state = torch.load(io.BytesIO(Path(path).read_bytes()), map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError):
        raise WeightsError(f"{path}: is no checkpoint, or a damaged one; remove it to go on from an older one"
                           ) from None
    if not isinstance(state, dict) or "network" not in state or "cfg" not in state:
        raise WeightsError(f"{path}: is no checkpoint of a training; a .weights file goes with --weights")
    if state.get("format") != FORMAT:
        raise WeightsError(f"{path}: has the format {state.get('format')}, this version reads {FORMAT}")
    return state


# ---- whether it belongs to this training --------------------------------------------------------------


def plain_blocks(blocks: Sequence[Block]) -> list[list[Any]]:
    """A cfg as lists, as a checkpoint keeps it."""
    return [[block.name, dict(block)] for block in blocks]


def model_facts(network: Network, header: WeightsHeader) -> dict[str, str]:
    """What ``build_network`` takes from a checkpoint beside cfg and tensors, as a model file has it."""
    return Facts(names=network.names, dialect=network.dialect.name,
                 header=(header.major, header.minor, header.revision, header.seen)).as_text()


def check_same_cfg(path: str | Path, state: State, blocks: Sequence[Block]) -> None:
    """Whether the checkpoint was made with this cfg; only ``max_batches`` may differ.

    Raises:
        WeightsError: naming the first difference, with the cfg's file and line.
    """
    for index, (there, block) in enumerate(zip_longest(state["cfg"], blocks)):
        if block is None or there is None:
            raise WeightsError(f"{path}: belongs to another cfg: that has {len(state['cfg'])} sections, this one "
                               f"{len(blocks)}")
        difference = _difference(there, block, free=_FREE_OPTIONS if index == 0 else ())
        if difference:
            raise WeightsError(f"{path}: belongs to another cfg: {difference}; take the one it was made with, or begin "
                               "anew with --overwrite")


def _difference(there: list[Any], block: Block, free: Sequence[str]) -> str:
    name, options = there
    if name != block.name:
        return f"{block.where()} is [{name}] there"
    for key in {**options, **block}:
        if key not in free and options.get(key) != block.get(key):
            value = f"{key}={options[key]}" if key in options else f"no {key}="
            return f"{block.where(key)}: {value} there"
    return ""


def check_same_run(path: str | Path, state: State, facts: Mapping[str, Any]) -> None:
    """Whether other facts of the training (seed, precision, number of images) are what they were.

    Raises:
        InputError: naming the first that is not.
    """
    for name, value in facts.items():
        if state["facts"].get(name) != value:
            raise InputError(f"{path}: was made with {name.replace('_', ' ')} {state['facts'].get(name)}, not {value}: "
                             "the training would not go on as it began")
