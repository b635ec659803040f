"""Run a function of the ``darknet`` program."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from darknet_builder.cli.darknet.flags import (
    ANCHORS,
    CLASS_TRAIN,
    CLASS_VALID,
    DEMO,
    DETECT,
    MAP,
    PARTIAL,
    PREDICT,
    RECALL,
    TEST,
    TRAIN,
    VALID,
)
from darknet_builder.cli.darknet.request import read_request

_RUNNERS = {
    TEST: "detecting.run_test",
    DETECT: "detecting.run_test",
    DEMO: "video.run_demo",
    TRAIN: "training.run_train",
    VALID: "measuring.run_valid",
    MAP: "measuring.run_map",
    RECALL: "measuring.run_recall",
    ANCHORS: "converting.run_anchors",
    PREDICT: "classifying.run_predict",
    CLASS_TRAIN: "training.run_train",
    CLASS_VALID: "classifying.run_valid",
    PARTIAL: "converting.run_partial",
}
"""Module and function in this folder, imported when needed, because PyTorch takes a second."""


def run_darknet(argv: Sequence[str], out: TextIO) -> int:
    """Run a command line of the ``darknet`` program.

    Args:
        argv: the words after the program's name.
        out: stream for Darknet's lines.

    Returns:
        The exit status.

    Raises:
        DarknetError: for a mistake in the command line or in a file that it names.
    """
    request = read_request(argv)
    module, _, function = _RUNNERS[request.function].partition(".")
    run = getattr(import_module(f"darknet_builder.cli.darknet.{module}"), function)
    return int(run(request, out))
