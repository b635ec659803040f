"""Checkpoints: whole or not there, read without running anything, refused where they do not
belong."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.training.checkpoints.checkpoint_file import (
    check_same_cfg,
    check_same_run,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    plain_blocks,
    prune_checkpoints,
    save_checkpoint,
)

CFG = "[net]\nwidth=8\nheight=8\nchannels=3\nmax_batches=5\n[convolutional]\nfilters=2\n"


def _state(**more: Any) -> dict[str, Any]:
    return {
        "network": {"weight": torch.arange(3.0)},
        "cfg": plain_blocks(parse_cfg(CFG)),
        "facts": {"seed": 0},
        **more,
    }


def test_round_trip(tmp_path: Path) -> None:
    """Tensors, numbers, text and None come back as they were."""
    path = checkpoint_path(tmp_path, 12)
    save_checkpoint(path, _state(finished=12, best=None))
    state = load_checkpoint(path)
    assert path.name == "checkpoint_0000012.pt"
    assert (
        state["finished"] == 12
        and state["best"] is None
        and torch.equal(state["network"]["weight"], torch.arange(3.0))
    )


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says so; nothing half-written stays behind."""
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(path, _state(finished=1))

    def fail(self: Path, data: object) -> int:
        self.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(
        WeightsError, match="cannot be written: No space left on device; earlier checkpoints are"
    ):
        save_checkpoint(path, _state(finished=2))
    monkeypatch.undo()
    assert load_checkpoint(path)["finished"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_oldest_go_first(tmp_path: Path) -> None:
    """By number, not by name; the best stays."""
    for finished in (9_999_999, 10_000_000, 5):
        checkpoint_path(tmp_path, finished).touch()
    (tmp_path / "best.pt").touch()
    prune_checkpoints(tmp_path, 2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "checkpoint_9999999.pt",
        "checkpoint_10000000.pt",
    ]
    assert (tmp_path / "best.pt").exists()


class _Bomb:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize("length", [0, 1, 200, 9000, 0.5, -200, -1])
def test_a_cut_checkpoint(tmp_path: Path, length: float) -> None:
    """Wherever it was cut."""
    path = tmp_path / "checkpoint_0000001.pt"
    save_checkpoint(
        path, {**_state(), "network": {f"layer {number}": torch.rand(999) for number in range(20)}}
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 if length == 0.5 else int(length)])
    with pytest.raises(
        WeightsError,
        match="is not a checkpoint, or is damaged; remove it to resume from an older one",
    ):
        load_checkpoint(path)


def test_a_checkpoint_that_cannot_be_read(tmp_path: Path) -> None:
    """The system's reason is said."""
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["bomb", "text", "empty"])
def test_what_is_no_checkpoint(tmp_path: Path, content: str) -> None:
    """Nothing in a file is ever run."""
    path = tmp_path / "checkpoint_0000001.pt"
    save_checkpoint(path, _state())
    if content == "bomb":
        torch.save({"network": _Bomb(), "cfg": []}, path)
    else:
        path.write_bytes({"text": b"hello", "empty": b""}[content])
    with pytest.raises(
        WeightsError,
        match="is not a checkpoint, or is damaged; remove it to resume from an older one",
    ):
        load_checkpoint(path)


def test_other_files_of_torch(tmp_path: Path) -> None:
    """A bare state_dict is not a checkpoint, nor is a file of another version."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="is not a checkpoint of a training"):
        load_checkpoint(tmp_path / "a.pt")
    torch.save(_state(format=99), tmp_path / "b.pt")
    with pytest.raises(WeightsError, match="has the checkpoint format 99; expected 1"):
        load_checkpoint(tmp_path / "b.pt")


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ("filters=2", "filters=3"),
            r"<text>:7: \[convolutional\] filters=3: filters=2 in the checkpoint",
        ),
        (("filters=2\n", ""), r"<text>:6: \[convolutional\]: filters=2 in the checkpoint"),
        (
            ("[convolutional]", "[maxpool]"),
            r"<text>:6: \[maxpool\] is \[convolutional\] in the checkpoint",
        ),
        (("[convolutional]\nfilters=2\n", ""), r"another cfg \(2 sections, this one has 1\)"),
    ],
)
def test_another_cfg(change: tuple[str, str], message: str) -> None:
    """The first difference, with its place."""
    with pytest.raises(WeightsError, match=message):
        check_same_cfg("x.pt", _state(), parse_cfg(CFG.replace(*change)))


def test_max_batches_may_change() -> None:
    """A training can be made longer."""
    check_same_cfg("x.pt", _state(), parse_cfg(CFG.replace("max_batches=5", "max_batches=9")))


def test_other_facts() -> None:
    """Seed, precision, number of images."""
    check_same_run("x.pt", _state(), {"seed": 0})
    with pytest.raises(InputError, match="x.pt: was made with seed 0, this training has 1"):
        check_same_run("x.pt", _state(), {"seed": 1})
