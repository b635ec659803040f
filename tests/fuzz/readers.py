"""Every reader of files, each with small valid files to begin from.

The random tests and the longer search of ``tests/fuzz/search.py`` use this one table.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import torch

from darknet_builder import (
    DataFile,
    build_network,
    load_weights,
    read_image,
    read_names,
    save_weights,
)
from darknet_builder.data.image_list import read_image_list
from darknet_builder.data.labels import read_labels
from darknet_builder.data.scenes import draw_scene
from darknet_builder.errors import DarknetError
from darknet_builder.export.export import export_network
from darknet_builder.network.build import limiting_memory
from darknet_builder.training.checkpoints.checkpoint_file import load_checkpoint, save_checkpoint
from darknet_builder.training.log.run_log import read_log
from tests.helpers.unit_networks import UNIT_CFGS

_CFG = """\
[net]
width=8
height=8
channels=3
[convolutional]
filters=2
size=3
stride=1
pad=1
batch_normalize=1
activation=leaky
"""
_MEMORY = 2**26
"""Bytes that a cfg of a stranger may ask for here."""


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        suffix: of the file's name.
        read: reads a file; a DarknetError is its only way to refuse it.
        seeds: contents of valid files.
    """

    suffix: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]

    def check(self, path: Path) -> str | None:
        """Read a file and return the error message, or None.

        Raises:
            AssertionError: if the message is longer than a line or two of a terminal.
            Exception: any error that is not one of the package's own.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.read(path)
            except DarknetError as error:
                message = str(error)
                assert message and "\n" not in message.rstrip("\n") or "problems" in message
                assert len(message) < 2000 + len(str(path)), message[:300]
                return message
        return None


# ---- what is read --------------------------------------------------------------------------------


def _read_cfg(path: Path) -> None:
    with limiting_memory(_MEMORY):
        network = build_network(path)
        shape = network.input_shape
        if shape.channels * shape.height * shape.width < 2**16:
            network.eval().outputs(torch.zeros(1, shape.channels, shape.height, shape.width))


def _read_with(option: str) -> Callable[[Path], None]:
    """Return a reader of a file that an option of [region] names."""

    def read(path: Path) -> None:
        build_network(
            "[net]\nwidth=2\nheight=2\nchannels=3\n"
            "[convolutional]\nfilters=8\nactivation=linear\n"
            f"[region]\nanchors=1,1\nnum=1\nclasses=3\n{option}={path}\n"
        )

    return read


def _read_weights(path: Path) -> None:
    load_weights(build_network(_CFG), path)


def _read_data(path: Path) -> None:
    data = DataFile.read(path)
    data.classes, data.names, data.class_map, data.top  # noqa: B018 - each reads an option
    data.load("valid")


# ---- valid files ---------------------------------------------------------------------------------


@cache
def _unit_cfgs() -> list[bytes]:
    return [text.encode() for text in UNIT_CFGS.values()]


def _written(write: Callable[[Path], object], name: str) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(path)
        return [path.read_bytes()]


def _weights() -> list[bytes]:
    return _written(lambda path: save_weights(build_network(_CFG), path), "a.weights")


def _model(suffix: str) -> Callable[[], list[bytes]]:
    return lambda: _written(lambda path: export_network(build_network(_CFG), path), f"a{suffix}")


def _checkpoint() -> list[bytes]:
    state = {"cfg": [["net", {"width": "8"}]], "network": {"a": torch.ones(2)}, "finished": 3}
    return _written(lambda path: save_checkpoint(path, state), "checkpoint_0000003.pt")


def _images() -> list[bytes]:
    picture = draw_scene(0).image[:24, :32]
    kinds = (".jpg", ".png", ".bmp", ".webp", ".tiff", ".gif", ".ppm")
    return [bytes(cv2.imencode(kind, picture)[1]) for kind in kinds]


READERS = {
    "cfg": Reader(".cfg", _read_cfg, _unit_cfgs),
    "weights": Reader(".weights", _read_weights, _weights),
    "safetensors": Reader(".safetensors", build_network, _model(".safetensors")),
    "pt": Reader(".pt", build_network, _model(".pt")),
    "checkpoint": Reader(".pt", load_checkpoint, _checkpoint),
    "names": Reader(".names", read_names, lambda: [b"dog\nsports ball\n", "été\n".encode()]),
    "labels": Reader(
        ".txt", lambda path: read_labels(path, 3), lambda: [b"0 .5 .5 .2 .2\n2 0.1 .1 1e-1 .1\n"]
    ),
    "list": Reader(".txt", read_image_list, lambda: [b"a.jpg\nb c.png\n"]),
    "data": Reader(
        ".data", _read_data, lambda: [b"classes = 2\nnames=a.names\nvalid = a.txt\ntop=5\n"]
    ),
    "tree": Reader(".tree", _read_with("tree"), lambda: [b"a -1\nb 0\nc 0\n"]),
    "map": Reader(".map", _read_with("map"), lambda: [b"0\n2\n1\n"]),
    "log": Reader(
        ".jsonl", read_log, lambda: [b'{"iteration": 1, "loss": 2.5}\n{"iteration": 2}\n']
    ),
    "image": Reader(".png", read_image, _images),
}
"""The readers by name."""
