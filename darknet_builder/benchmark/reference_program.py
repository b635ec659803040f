"""Run OpenCV's dnn in another interpreter, as a reference program for a benchmark.

The last OpenCV with a Darknet importer cannot share an environment with this package's own.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch

from darknet_builder.cfg.parser import format_cfg
from darknet_builder.errors import InputError
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import save_weights

_WORKER = Path(__file__).with_name("peer_worker.py")


@contextmanager
def opencv_reference(
    network: Network, reference_python: str, batch: int
) -> Iterator[tuple[str, Callable[[], float]]]:
    """Start OpenCV's dnn in another interpreter with the network's cfg and weights.

    Args:
        network: a network with its weights; they are written to a temporary folder.
        reference_python: path of the interpreter, which needs cv2 and NumPy.
        batch: number of images in a call.

    Yields:
        The name of the candidate, and a function that runs one batch and returns the seconds.

    Raises:
        InputError: if the interpreter cannot be started or cannot read the network; the message
            has the last line of its error output.
    """
    with tempfile.TemporaryDirectory() as folder:
        cfg, weights = Path(folder) / "net.cfg", Path(folder) / "net.weights"
        cfg.write_text(format_cfg(network.blocks), encoding="utf-8")
        save_weights(network, weights)
        request = {
            "cfg": str(cfg),
            "weights": str(weights),
            "threads": torch.get_num_threads(),
            "shape": network.input_shape.batched(batch),
        }
        errors = Path(folder) / "stderr.txt"
        with errors.open("w", encoding="utf-8") as stderr:
            process = _start(reference_python, stderr)
        with process:
            worker = _Worker(process, reference_python, errors)
            try:
                version = worker.ask(request)["version"]
                yield f"opencv-{version}:float32", lambda: float(worker.ask({})["seconds"])
            finally:
                process.kill()


def _start(python: str, stderr: IO[str]) -> subprocess.Popen[str]:
    """Start the worker.

    Args:
        python: path of the interpreter.
        stderr: a file, because a pipe that nobody reads would block the worker when it is full.

    Raises:
        InputError: if the program does not exist or cannot be executed.
    """
    try:
        # The user gives the path of this interpreter for the purpose of running it.
        return subprocess.Popen(  # noqa: S603
            [python, str(_WORKER)],
            stdin=subprocess.PIPE,
            text=True,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    except OSError as error:
        raise InputError(f"{error.strerror}", argument="reference_python", value=python) from None


class _Worker:
    """A running worker, which answers each line of JSON with a line of JSON.

    Args:
        process: the worker's process, with pipes for input and output.
        python: path of its interpreter, for messages.
        errors: the file that has its error output.
    """

    def __init__(self, process: subprocess.Popen[str], python: str, errors: Path) -> None:
        self._process, self._python, self._errors = process, python, errors

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            InputError: if the worker has exited.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # the worker has exited; readline below returns ""
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            lines = self._errors.read_text(encoding="utf-8").strip().splitlines()
            last = lines[-1] if lines else "no error output"
            raise InputError(f"exited: {last}", argument="reference_python", value=self._python)
        answer: dict[str, Any] = json.loads(line)
        return answer
