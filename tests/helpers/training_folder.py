"""What the tests of training share: a tiny network, a tiny data set, and a training of both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from darknet_builder.data.scenes import write_scenes
from tests.helpers.commands import run_program

TINY_CFG = """\
[net]
batch=4
subdivisions=2
width=64
height=64
channels=3
momentum=0.9
decay=0.0005
saturation=1.5
exposure=1.5
hue=.1
learning_rate=0.001
burn_in=4
max_batches=20
policy=steps
steps=15
scales=.1

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=4
pad=1
activation=leaky

[dropout]
probability=.3

[convolutional]
filters=39
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0,1,2
anchors=8,8, 14,14, 24,24
classes=8
num=3
jitter=.1
ignore_thresh=.7
iou_loss=ciou
iou_normalizer=.07
"""

_RUN = "import sys; from darknet_builder.cli.program import main; sys.exit(main())"


def make_folder(folder: Path, *, train: int = 10, valid: int = 4) -> Path:
    """A data set and a cfg; returns the ``.data`` file."""
    (folder / "tiny.cfg").write_text(TINY_CFG)
    return write_scenes(folder / "scenes", {"train": train, "valid": valid}, size=64)


def _words(folder: Path, *options: str) -> list[str]:
    """``darknet-builder train`` on what ``make_folder`` made."""
    return [
        "train",
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(folder / "tiny.cfg"),
        "--threads",
        "1",
        "--workers",
        "0",
        *options,
    ]


def start_training(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A training in a process of its own, which can be killed."""
    command = [sys.executable, "-c", _RUN, *_words(folder, *options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(folder: Path, *options: str) -> tuple[int, str, str]:
    """A training from its beginning to its end, here: exit status, stdout, stderr."""
    return run_program(*_words(folder, *options))
