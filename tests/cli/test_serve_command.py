"""``darknet-builder serve``: one whole process with its signals, and mistakes in one line each."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest
from starlette.applications import Starlette

from darknet_builder.cli.program import main
from darknet_builder.images.video import write_video
from darknet_builder.serving import server
from tests.helpers.commands import mistake
from tests.helpers.served import Served
from tests.helpers.toy_detector import RED, squares, toy_files

ROOT = Path(__file__).parents[2]
IMAGE = bytes(cv2.imencode(".png", squares((RED, 1, 2)))[1])


@pytest.fixture
def model(tmp_path: Path) -> list[str]:
    """The options that name the toy network."""
    cfg, weights, names = toy_files(tmp_path)
    return ["--cfg", cfg, "--weights", weights, "--names", names]


@contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], Served]]:
    """The command in a process of its own, which answers requests."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "serve.py"), *words, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"toy: (http://127\.0\.0\.1:(\d+)) \(stop with Ctrl-C\)\n", line)
        assert found is not None, line
        yield process, Served(found[1], int(found[2]), None, None)  # type: ignore[arg-type]
    finally:
        process.kill()
        process.wait()


def ask_until_refused(site: Served, stop: Callable[[], object]) -> int:
    """Send images until nobody listens, and stop the server after some; return their number.

    A connection that is made while the server stops listening is reset by the system, before the
    server has read anything of it.
    """
    answered = 0
    while True:
        try:
            answer = site.detect(IMAGE)
        except (ConnectionRefusedError, ConnectionResetError):
            return answered
        assert (answer.status, len(answer.json["images"])) == (200, 1)
        answered += 1
        if answered == 10:
            stop()


@pytest.mark.slow
def test_a_process_is_stopped_in_the_middle_of_work(model: list[str]) -> None:
    """Every request that it has received is answered."""
    with running(*model, "--batch", "2") as (process, site), ThreadPoolExecutor(8) as clients:
        stop = partial(process.send_signal, signal.SIGTERM)
        answered = sum(clients.map(ask_until_refused, [site] * 8, [stop] * 8))
        out, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, "")
    assert out == f"stopped; {answered} images answered\n" and answered >= 10


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGTERM, 0, ""), (signal.SIGINT, 130, "darknet-builder: interrupted\n")],
)
def test_signals(
    model: list[str],
    number: int,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit status tells which one it was; afterwards they do what they did before."""
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    make_server, counts = server.make_server, []

    def make(app: Starlette, on_start: Callable[[], object]) -> Any:
        made = make_server(app, lambda: (on_start(), client.start()))
        return made

    def work() -> None:
        port = int(re.findall(r":(\d+) \(stop", capsys.readouterr().out)[0])
        site = Served("", port, None, None)  # type: ignore[arg-type]
        counts.append(ask_until_refused(site, partial(os.kill, os.getpid(), number)))

    client = threading.Thread(target=work)
    monkeypatch.setattr(server, "make_server", make)
    assert main(["serve", *model, "--port", "0"]) == status
    client.join(20)
    out, error = capsys.readouterr()
    assert (out, error) == (f"stopped; {counts[0]} images answered\n", said)
    assert before == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]


def test_a_port_in_use(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert mistake(capsys, "serve", *model, "--port", str(port)) == (
            f"--port {port}: cannot listen on 127.0.0.1: Address already in use"
        )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--port", "70000"], "--port 70000: expected 0 to 65535"),
        (["--queue", "0"], "--queue 0: expected 1 to 65536 images"),
        (
            ["--max-upload", "0"],
            "--max-upload 0.0: expected more than 0 and at most 1.04858e+06 MiB",
        ),
        (["--timeout", "nan"], "--timeout nan: expected more than 0 and at most 86400 seconds"),
        (["--batch", "0"], "--batch 0: expected 1 or more images"),
        (["--source", "none.mp4"], "none.mp4: No such file or directory"),
        (["--cfg", "none.cfg", "--weights", "x"], "none.cfg: no such cfg file"),
    ],
)
def test_mistakes(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, and before anything listens for long."""
    assert mistake(capsys, "serve", "--port", "0", *words) == line


def test_a_host_that_is_not_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(capsys, "serve", "--host", "192.0.2.1", "--port", "0") == (
        "--port 0: cannot listen on 192.0.2.1: Cannot assign requested address"
    )
    assert mistake(capsys, "serve", "--host", "no such name").startswith("--host no such name: ")


def test_a_source_that_is_not_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("no video")
    assert mistake(capsys, "serve", "--source", str(path)) == (
        f"{path}: not a video that OpenCV can read"
    )


def test_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a port is taken or a model is loaded."""
    for name in [name for name in sys.modules if name.startswith("darknet_builder.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert mistake(capsys, "serve") == (
        "uvicorn is not installed: pip install 'darknet-builder[serve]'"
    )


def test_a_source_is_tried_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is served has its name and its function."""
    from darknet_builder import serving

    with write_video(tmp_path / "clip.mp4", fps=10) as append:
        append(squares((RED, 1, 2), size=(160, 160)))
    made = {}

    def run_server(app: object, listener: object, on_start: object) -> None:
        made["service"] = app.state.service  # type: ignore[attr-defined]

    monkeypatch.setattr(serving, "run_server", run_server)
    assert main(["serve", "--port", "0", "--source", str(tmp_path / "clip.mp4")]) == 0
    assert capsys.readouterr().out == "stopped; 0 images answered\n"
    name, open_frames = made["service"]._source
    with open_frames() as frames:
        assert name == str(tmp_path / "clip.mp4") and len(list(frames)) == 1
