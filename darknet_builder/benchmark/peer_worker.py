"""Run a network in OpenCV's dnn in a separate interpreter: JSON lines in, JSON lines out.

It needs only cv2 and NumPy, so that it runs with an OpenCV that cannot share an environment with
this package's own (``opencv-python-headless<5`` is the last with a Darknet importer).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import cv2
import numpy as np


def load(request: dict[str, Any]) -> tuple[Any, list[str], np.ndarray]:
    """Return the network, the names of its outputs, and a random input.

    Args:
        request: ``cfg`` and ``weights`` (paths), ``threads``, and ``shape`` of the input.
    """
    dnn: Any = cv2.dnn  # the Darknet importer is not in every OpenCV
    cv2.setNumThreads(request["threads"])
    net = dnn.readNetFromDarknet(request["cfg"], request["weights"])
    blob = np.random.default_rng(0).random(request["shape"], np.float32)
    return net, list(net.getUnconnectedOutLayersNames()), blob


def main() -> None:
    """Answer requests until the other side closes its end.

    A request with ``cfg`` loads a network; any other runs it once.
    """
    state: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        if "cfg" in request:
            state = load(request)
            answer: dict[str, Any] = {"version": cv2.__version__}
        else:
            net, names, blob = state
            start = time.perf_counter()
            net.setInput(blob)
            net.forward(names)
            answer = {"seconds": time.perf_counter() - start}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
