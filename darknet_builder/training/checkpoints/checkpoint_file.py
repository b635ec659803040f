"""Checkpoint files: everything that a training needs to resume exactly.

They hold only tensors, numbers and text, so that ``torch.load(..., weights_only=True)`` reads them.
A pickled network would tie the file to this package's source, and could run any code when it is
opened. A file is written whole or not at all.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.model_files import format_cfg_lists, load_torch_file, named_tensors
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.errors import DarknetError, InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, writing

FORMAT = 1
BEST = "best.pt"
MAKE_ROOM = "free some disk space, then resume the training"
"""The hint of errors whose argument is ``resume``."""
_NAME = re.compile(r"checkpoint_(\d{7,})\.pt")
_NUM_IMAGES = "number_of_training_images"
_DAMAGED = "is not a checkpoint, or is damaged"
_KINDS: dict[str, tuple[type, ...]] = {
    "model": (dict,),
    "facts": (dict,),
    "finished": (int,),
    "validated": (int,),
    "best": (int, float, type(None)),
    "optimizer": (dict,),
    "scheduler": (dict,),
    "average": (dict,),
    "random": (dict,),
}
"""The types of the entries of a checkpoint, except ``cfg`` and ``network``."""
_OPTIONAL = ("model", "validated")
_FREE_OPTIONS = ("max_batches",)
"""Options of [net] that may differ when a training is resumed."""


class RandomState(TypedDict):
    """The states of torch's random generators.

    Attributes:
        cpu: state of the CPU's generator.
        cuda: state of the GPU's generator; None for a training on the CPU.
    """

    cpu: Tensor
    cuda: Tensor | None


class _OptionalState(TypedDict, total=False):
    """The keys of ``State`` that some checkpoints lack."""

    format: int
    model: dict[str, str]
    validated: int


class State(_OptionalState):
    """The contents of a checkpoint file. Tensors, numbers, text, lists and dictionaries only.

    Attributes:
        format: version of this format; written by ``save_checkpoint``.
        cfg: sections of the cfg in order, each ``[name, options]``; see ``plain_blocks``.
        model: names of the classes, dialect and header of the weights; see ``model_metadata``.
        facts: settings that must be the same when the training is resumed: ``seed``, ``precision``,
            ``number_of_training_images``, ``rates``, ``norms`` (``learning`` or ``frozen``).
        finished: number of finished steps.
        validated: number of finished steps at the last validation. Earlier versions did not write
            it; they saved after the validation.
        best: the highest score so far; None before the first validation.
        network: ``state_dict()`` of the network.
        optimizer: ``state_dict()`` of the optimiser.
        scheduler: ``state_dict()`` of the learning rate scheduler.
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
    """Return the path of the checkpoint after a number of finished steps."""
    return Path(folder) / f"checkpoint_{finished:07d}.pt"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """List the checkpoints of a folder, oldest first, without ``best.pt``."""
    numbered = [
        (int(match.group(1)), path)
        for path in Path(folder).glob("checkpoint_*.pt")
        if (match := _NAME.fullmatch(path.name))
    ]
    # By number, not by name: names get longer from step 10,000,000 on.
    return [path for _, path in sorted(numbered)]


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; after a failure, the earlier file at that path is unchanged.

    Args:
        path: the file to write.
        state: the contents, as described in ``State``; ``format`` is added.

    Raises:
        WeightsError: when it cannot be written, for example because the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = checkpoint_path(folder, finished=100)
        ...     save_checkpoint(path, {"cfg": [], "network": {}, "finished": 100})
        ...     (path.name, load_checkpoint(path)["finished"])
        ('checkpoint_0000100.pt', 100)
    """
    # Into memory first: torch reports a full disk as a RuntimeError without its cause.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    cure = f"earlier checkpoints are intact; {MAKE_ROOM}"
    with writing(path, WeightsError, cure=cure, argument="resume"), atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def prune_checkpoints(folder: str | Path, keep: int) -> None:
    """Delete all checkpoints of a folder but the newest ``keep``, 1 or more."""
    paths = list_checkpoints(folder)
    for path in paths[: max(len(paths) - keep, 0)]:
        path.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> State:
    """Read a checkpoint, with its tensors on the CPU.

    Args:
        path: a file written by ``save_checkpoint``.

    Raises:
        WeightsError: for a file that cannot be read or is not a checkpoint.
    """
    try:
        state = load_torch_file(path, _DAMAGED, "remove it to resume from an older one")
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", path=path) from None
    if not isinstance(state, dict) or "network" not in state or "cfg" not in state:
        raise WeightsError(
            "is not a checkpoint of a training",
            path=path,
            argument="weights",
            hint="load a .weights file as weights",
        )
    if state.get("format") != FORMAT:
        raise WeightsError(
            f"has the checkpoint format {state.get('format')}; expected {FORMAT}", path=path
        )
    format_cfg_lists(state["cfg"], path)
    for key in ("network", "average"):
        named_tensors(state.get(key, {}), path)
    for key, kinds in _KINDS.items():
        if key in state and not isinstance(state[key], kinds):
            raise WeightsError(f"{_DAMAGED}: {key} is a {type(state[key]).__name__}", path=path)
    return cast("State", state)


def check_complete(path: str | Path, state: State) -> None:
    """Check that a checkpoint has all that a training needs to resume.

    Raises:
        WeightsError: for a missing entry.
    """
    missing = [key for key in _KINDS if key not in state and key not in _OPTIONAL]
    if missing:
        raise WeightsError(f"{_DAMAGED}: it has no {missing[0]}", path=path)


@contextmanager
def restoring(path: str | Path) -> Iterator[None]:
    """Turn any error that a checkpoint of unexpected contents causes in the block into one line.

    Args:
        path: path of the checkpoint.

    Raises:
        WeightsError: in place of any error of PyTorch.
    """
    try:
        yield
    except DarknetError:
        raise
    # What optimisers and schedulers raise depends on what is wrong in their dictionaries.
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{_DAMAGED}: {type(error).__name__} {reason}", path=path) from None


# ---- whether it belongs to this training ---------------------------------------------------------


def plain_blocks(blocks: Sequence[Block]) -> list[list[Any]]:
    """Convert a cfg to the lists that a checkpoint stores."""
    return [[block.name, dict(block)] for block in blocks]


def model_metadata(network: Network, header: WeightsHeader) -> dict[str, str]:
    """Return the metadata that ``build_network`` reads from a checkpoint, as in a model file."""
    return ModelMetadata(
        names=network.names,
        dialect=network.dialect.name,
        header=(header.major, header.minor, header.revision, header.seen),
    ).as_text()


def check_same_cfg(path: str | Path, state: State, blocks: Sequence[Block]) -> None:
    """Check that a checkpoint was made with this cfg; only ``max_batches`` may differ.

    Args:
        path: the checkpoint's file, for the message.
        state: contents of the checkpoint.
        blocks: the sections of the cfg.

    Raises:
        WeightsError: with the first difference, and the cfg's file and line.
    """
    for index, (saved, block) in enumerate(zip_longest(state["cfg"], blocks)):
        if block is None or saved is None:
            raise WeightsError(
                f"belongs to another cfg ({len(state['cfg'])} sections, this one has "
                f"{len(blocks)})",
                path=path,
            )
        difference = _difference(saved, block, free=_FREE_OPTIONS if index == 0 else ())
        if difference:
            can_continue = saved[0] == block.name
            advice = ", continue with this one" if can_continue else ""
            raise WeightsError(
                f"belongs to another cfg: {difference}",
                path=path,
                argument=("continue_run", "overwrite") if can_continue else "overwrite",
                hint=f"use the cfg that it was made with{advice}, or overwrite the training",
            )


def _difference(saved: list[Any], block: Block, free: Sequence[str]) -> str:
    """Describe the first difference of two sections; empty without one."""
    name, options = saved
    if name != block.name:
        return f"{block.where()} is [{name}] in the checkpoint"
    for key in {**options, **block}:
        if key not in free and options.get(key) != block.get(key):
            value = f"{key}={options[key]}" if key in options else f"no {key}="
            return f"{block.where(key)}: {value} in the checkpoint"
    return ""


def check_same_run(path: str | Path, state: State, metadata: Mapping[str, Any]) -> None:
    """Check that the settings that decide a training (seed, precision, ...) are unchanged.

    Args:
        path: the checkpoint's file, for the message.
        state: contents of the checkpoint.
        metadata: the settings of this training, by name.

    Raises:
        InputError: with the first setting that differs.
    """
    made_with = state["facts"].get(_NUM_IMAGES)
    if _NUM_IMAGES in metadata and made_with != metadata[_NUM_IMAGES]:
        raise InputError(
            f"was made with {made_with} training images, the list now has {metadata[_NUM_IMAGES]}:"
            " it cannot be resumed exactly",
            path=path,
            hint="put the list back as it was (an image that cannot be read may stay in it), or"
            " continue with the new list",
            argument=("skip_bad_images", "continue_run"),
        )
    for name, value in metadata.items():
        saved = state["facts"].get(name)
        if saved != value:
            raise InputError(
                f"was made with {name.replace('_', ' ')} {saved}, this training has {value}; it "
                "cannot be resumed exactly",
                path=path,
                argument="continue_run",
                hint="continue it with the new value",
            )
