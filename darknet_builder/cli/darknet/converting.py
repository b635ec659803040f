"""``partial`` and ``detector calc_anchors``: functions that read a cfg or labels, but no images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from darknet_builder.cli.darknet.model import announce
from darknet_builder.cli.darknet.request import Request
from darknet_builder.data.anchors import Anchors, box_sizes, find_anchors
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from darknet_builder.support.files import refuse_overwriting, write_text, writing
from darknet_builder.weights.loader import load_weights, save_weights

ANCHORS_FILE, COUNTERS_FILE = "anchors.txt", "counters_per_class.txt"
_SEEDS, _FEW_BOXES = 10, 10_000
_LARGE_WIDTH = 32
"""Above this width, anchors are in pixels and have no decimals (detector.c:1594)."""


def run_partial(request: Request, out: TextIO) -> int:
    """Write the weights of the layers before N, with a count of 0 training images."""
    cfg, weights, output, text = request.words
    if not text.isdecimal():
        raise InputError(f"partial: expected the number of a layer, got {text!r}")
    until = int(text)
    refuse_overwriting(Path(output), [cfg, weights], "give OUTPUT another name")
    out.write(" GPU isn't used \n")
    network = build_network(cfg, initialize=False)
    load_weights(network, weights, until=until)
    announce(network, out)
    network.header = replace(network.header, seen=0)
    save_weights(network, output, until=until)
    return 0


def run_anchors(request: Request, out: TextIO) -> int:
    """Cluster the boxes of the training list; write anchors.txt and counters_per_class.txt."""
    count = request.value("-num_of_clusters", 5)
    width, height = request.value("-width", -1), request.value("-height", -1)
    if width < 1 or height < 1:
        raise InputError("calc_anchors: give -width and -height, the size of the network's input")
    data = DataFile.read(request.words[0])
    images = data.load("train")
    out.write(
        f" GPU isn't used \n\n num_of_clusters = {count}, width = {width}, height = {height} \n"
    )
    out.write(f" read labels from {len(images)} images \n{_loaded_lines(images)}\n all loaded. \n")
    out.write("\n calculating k-means++ ...\n\n")
    anchors = _find_anchors(box_sizes(images) * (width, height), count)
    counters = "counters_per_class = " + ", ".join(map(str, _class_counts(images).tolist()))
    _write(COUNTERS_FILE, counters)
    text = _anchors_text(anchors, width)
    _write(ANCHORS_FILE, text)
    out.write(f"\n{counters}\n\n avg IoU = {100 * anchors.average_iou:.2f} % \n")
    out.write(f"\nSaving anchors to the file: {ANCHORS_FILE} \nanchors = {text}\n")
    return 0


def _find_anchors(sizes: np.ndarray, count: int) -> Anchors:
    """Return the best anchors of several seeds; those of small sets depend on the seed."""
    num_seeds = _SEEDS if len(sizes) < _FEW_BOXES else 1
    results = [find_anchors(sizes, count, seed=seed) for seed in range(num_seeds)]
    return max(results, key=lambda anchors: anchors.average_iou)


def _loaded_lines(images: ImageSet) -> str:
    lines, boxes = [], 0
    for number, image in enumerate(images, 1):
        for _ in range(len(image.boxes)):
            boxes += 1
            lines.append(f"\r loaded \t image: {number} \t box: {boxes}")
    return "".join(lines)


def _class_counts(images: ImageSet) -> np.ndarray:
    """Return (C,) the number of boxes of each class."""
    class_ids = np.concatenate([image.boxes[:, 4] for image in images]).astype(np.int64)
    return np.bincount(class_ids, minlength=images.classes)


def _anchors_text(anchors: Anchors, width: int) -> str:
    digits = "3.0f" if width > _LARGE_WIDTH else "2.4f"
    return ", ".join(f"{wide:{digits}},{high:{digits}}" for wide, high in anchors.sizes)


def _write(name: str, text: str) -> None:
    with writing(name):
        write_text(Path(name), text)
