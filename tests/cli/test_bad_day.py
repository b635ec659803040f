"""Full disks, closed outputs, pipes, devices, long names and too little memory: one line each."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from darknet_builder import build_network, read_names
from darknet_builder.cfg.source import read_cfg
from darknet_builder.cli.commands import dump
from darknet_builder.cli.program import main
from darknet_builder.data.image_list import numbered_lines
from darknet_builder.data.labels import read_labels
from darknet_builder.errors import DarknetError, DataError, ImageError, InputError
from darknet_builder.export.torch_programs import write_program, write_script
from darknet_builder.images import video
from darknet_builder.images.files import read_image, write_image
from darknet_builder.images.sources import find_sources
from darknet_builder.network import batch_memory
from darknet_builder.network.batch_memory import (
    check_batch,
    explaining_memory,
    explaining_training_memory,
)
from darknet_builder.support import files
from darknet_builder.support.files import check_regular, read_bounded
from darknet_builder.support.text import one_line
from darknet_builder.training.batches import _naming_dead_workers
from darknet_builder.training.settings import check_processes
from darknet_builder.weights.loader import load_weights
from tests.helpers.toy_detector import RED, squares, toy_files

ERROR = "darknet-builder: error: "
LONG = "n" * 300
linux = pytest.mark.skipif(sys.platform != "linux", reason="has no such file")
SMALL = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\n"


# ---- outputs -------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("words", [["help"], ["dump", "shapes", "--json", "-"]])
def test_standard_output_is_full(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the reason, and the status of a file that cannot be written."""
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = main(words)
        full.flush()  # as Python does at the end: nothing is left that could fail
    assert (status, capsys.readouterr().err) == (
        2, f"{ERROR}standard output: cannot be written: No space left on device\n"
    )  # fmt: skip


@linux
def test_a_full_standard_output_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files with all results are written."""
    cfg, weights, names = toy_files(tmp_path)
    write_image(tmp_path / "red.png", squares((RED, 1, 2)))
    monkeypatch.chdir(tmp_path)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        model = ["--cfg", cfg, "--weights", weights, "--names", names]
        assert main(["detect", "red.png", *model, "--save-csv", "--report", "a.html"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert Path("output/detections.csv").stat().st_size and Path("a.html").stat().st_size


def test_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that no room expects is one line as well."""

    def run(*arguments: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.cfg")

    monkeypatch.setattr(dump, "run", run)
    assert main(["dump", "a.cfg"]) == 2
    assert capsys.readouterr().err == f"{ERROR}a.cfg: Too many open files\n"


def test_an_interrupt_that_somebody_catches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PyTorch does so during an export, and fails with another exception after it."""

    def run(*arguments: object) -> int:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise AttributeError("module has no attribute")

    monkeypatch.setattr(dump, "run", run)
    before = signal.getsignal(signal.SIGINT)
    assert main(["dump", "a.cfg"]) == 130
    assert capsys.readouterr().err == "darknet-builder: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its traceback."""

    def run(*arguments: object) -> int:
        raise AttributeError("module has no attribute")

    monkeypatch.setattr(dump, "run", run)
    with pytest.raises(AttributeError, match="module has no attribute"):
        main(["dump", "a.cfg"])


def test_closed_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a standard output or error, which Python then has as None, nothing is shown."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["help"]) == 0
    assert main(["dump", "nothing.cfg"]) == 2


class _FullDisk:
    """A writer that leaves half a video and says nothing, as OpenCV's does."""

    def __init__(self) -> None:
        self.path = ""

    def open(self, path: str, *settings: object) -> bool:
        self.path = path
        return True

    def isOpened(self) -> bool:  # noqa: N802
        return bool(self.path)

    def write(self, frame: np.ndarray) -> None:
        Path(self.path).write_bytes(b"\0\0\0\x20ftypisom" + b"\0" * 500)

    def release(self) -> None:
        pass


def test_a_video_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error, and nothing is left."""
    real = video.load_opencv()
    half = SimpleNamespace(
        VideoWriter=_FullDisk,
        VideoCapture=real.VideoCapture,
        VideoWriter_fourcc=real.VideoWriter_fourcc,
    )
    monkeypatch.setattr(video, "load_opencv", lambda: half)
    with (
        pytest.raises(InputError, match=r"a\.mp4: cannot be written completely; is the disk full"),
        video.write_video(tmp_path / "a.mp4", 10) as append,
    ):
        append(np.zeros((48, 64, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse larger files, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_program_on_a_full_disk(tmp_path: Path) -> None:
    """An OSError; PyTorch's own writer of ``.pt2`` ends the process."""
    module = torch.nn.Linear(4, 4).eval()
    with largest_file(1000), pytest.raises(OSError, match="File too large"):
        write_script(module, torch.zeros(1, 4), tmp_path / "a.torchscript", {})


def test_an_exported_program_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's writer gets no file of the disk: it ends the process when that is full."""
    program = SimpleNamespace(graph=SimpleNamespace(nodes=[]))
    monkeypatch.setattr(torch.export, "export", lambda *arguments, **more: program)
    monkeypatch.setattr(torch.export, "save", lambda _, file, **more: file.write(b"x" * 2000))
    with largest_file(1000), pytest.raises(OSError, match="File too large"):
        write_program(torch.nn.Identity(), torch.zeros(1, 4), tmp_path / "a.pt2", {})


# ---- names ---------------------------------------------------------------------------------------


def test_names_of_300_letters(tmp_path: Path) -> None:
    """No name is too long for an ordinary error."""
    network = build_network(SMALL)
    (tmp_path / "list").write_text(f"{LONG}.jpg\n")
    for read, name in (
        (read_cfg, LONG),
        (read_cfg, f"{LONG}.pt"),
        (read_names, LONG),
        (read_image, f"{LONG}.jpg"),
        (lambda name: find_sources([name]), f"{LONG}.jpg"),
        (lambda name: load_weights(network, name), LONG),
        (files.check_folder, f"{LONG}/a"),
    ):
        with pytest.raises(DarknetError, match=LONG):
            read(name)
    files.refuse_overwriting(Path(LONG), [LONG], "")  # there is none


def test_line_breaks_in_names(capsys: pytest.CaptureFixture[str]) -> None:
    """An error and a name stay one line."""
    assert str(InputError("is a folder", path="a\nb")) == r"a\u000ab: is a folder"
    assert one_line(Path("a\nb\x85.jpg")) == r"a\u000ab\u0085.jpg"
    assert main(["dump", "a\nb.cfg"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---- pipes, devices and large files --------------------------------------------------------------


@linux
def test_a_pipe_without_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, but not without end."""
    monkeypatch.setattr(files, "_PIPE_SECONDS", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"a pipe without data for 0\.05 seconds"):
        read_bounded(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        check_regular(pipe)


@linux
def test_a_pipe_with_a_writer(tmp_path: Path) -> None:
    """It is read to its end, as ``<(...)`` of a shell needs."""
    pipe = tmp_path / "pipe.names"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"cat\n" * 100_000,))
    writer.start()
    assert read_names(pipe) == ["cat"] * 100_000
    writer.join()


@linux
def test_a_device_without_end() -> None:
    """No reader follows it to its end."""
    with pytest.raises(ImageError, match="/dev/zero: larger than 64 MiB"):
        read_image("/dev/zero")
    with pytest.raises(DarknetError, match="/dev/zero: cannot be read: not a regular file"):
        load_weights(build_network(SMALL), "/dev/zero")


def test_large_text_files(tmp_path: Path) -> None:
    """Lists and labels have limits."""
    path = tmp_path / "a.txt"
    path.write_text("0 .5 .5 .1 .1\r\n" * 100)
    assert len(list(numbered_lines(path, "a list", 1500))) == 100
    with pytest.raises(DataError, match=r"a\.txt: larger than 0 MiB"):
        list(numbered_lines(path, "a list", 1499))
    with open(path, "wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(DataError, match=r"a\.txt: larger than 16 MiB"):
        read_labels(path, 1)


# ---- memory --------------------------------------------------------------------------------------


def test_a_batch_that_cannot_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before the work, with the one that would fit."""
    network = build_network(SMALL)
    one = 4 * network.peak_values()
    monkeypatch.setattr(batch_memory, "free_memory", lambda: 7 * one)
    check_batch(network, 7)
    with pytest.raises(InputError, match=r"^batch=15: not enough memory: .*; a batch of 7 would"):
        check_batch(network, 15)
    with pytest.raises(InputError, match="a batch of 4 would fit"):
        check_batch(network, 8)
    monkeypatch.setattr(batch_memory, "free_memory", lambda: one - 1)
    with pytest.raises(InputError, match=r"for one image: .*; use a smaller input"):
        check_batch(network, 1)
    monkeypatch.setattr(batch_memory, "free_memory", lambda: None)
    check_batch(network, 10**12)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("Storage size calculation overflowed with sizes=[9, 9]"),
    ],
)
def test_memory_is_short_in_a_call(error: Exception) -> None:
    """The message names the batch that would fit."""
    network = build_network(SMALL)
    with (
        pytest.raises(InputError, match=r"^batch=6: .*; a batch of 3 would fit$"),
        explaining_memory(network, 6),
    ):
        raise error


def test_other_errors_pass() -> None:
    """A fault of ours keeps its own text."""
    network = build_network(SMALL)
    with pytest.raises(RuntimeError, match="^sizes differ$"), explaining_memory(network, 6):
        raise RuntimeError("sizes differ")
    with pytest.raises(RuntimeError, match="^differ$"), explaining_training_memory(network):
        raise RuntimeError("differ")


@pytest.mark.parametrize(
    ("batch", "cure"),
    [("12", r"halve them with subdivisions=4$"), ("2", "use a smaller width= and height=$")],
)
def test_memory_is_short_in_a_training(batch: str, cure: str) -> None:
    """The message names the next ``subdivisions=`` that divides the batch."""
    network = build_network(SMALL.replace("[net]", f"[net]\nbatch={batch}\nsubdivisions=2"))
    with (
        pytest.raises(DarknetError, match=rf"\[net\]: not enough memory for \d images.*{cure}"),
        explaining_training_memory(network),
    ):
        raise MemoryError


def test_memory_is_short_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing is known, half the batch is proposed."""

    def run(args: Any, out: io.TextIOBase) -> int:
        args.batch = 9
        raise MemoryError

    monkeypatch.setattr(dump, "run", run)
    assert main(["dump", "shapes"]) == 2
    assert capsys.readouterr().err == f"{ERROR}not enough memory; try half the batch (--batch 4)\n"


def test_a_large_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of its size is made before it is refused."""
    cfg, weights, _ = toy_files(tmp_path)
    write_image(tmp_path / "a.png", squares((RED, 1, 2)))
    words = ["detect", str(tmp_path), "--cfg", cfg, "--weights", weights, "--no-images"]
    for batch in ("1000000000", "9" * 30):
        assert main([*words, "--batch", batch]) == 2
        assert f": error: --batch {batch}: not enough memory: " in capsys.readouterr().err


def test_workers() -> None:
    """Far more than the processor has cores are refused; a killed one is one line."""
    check_processes("workers", 16)
    with pytest.raises(InputError, match=r"^workers=999999999: expected at most \d+, 16 for each"):
        check_processes("workers", 999_999_999)
    text = "DataLoader worker (pid 12) is killed by signal: Killed. "
    with (
        pytest.raises(DataError, match="is killed by signal: Killed; if memory was short, use"),
        _naming_dead_workers(),
    ):
        raise RuntimeError(text)
    with pytest.raises(DataError, match="ended unexpectedly; if"), _naming_dead_workers():
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    with pytest.raises(RuntimeError, match="^other$"), _naming_dead_workers():
        raise RuntimeError("other")
