"""``darknet-builder anchors``: anchors that fit a data set, as cfg text."""

from __future__ import annotations

import argparse
from typing import TextIO

import numpy as np

from darknet_builder.anchors import Anchors, find_anchors
from darknet_builder.arguments import (
    MODEL_HELP,
    add_dialect,
    add_input_size,
    add_json,
    add_seed,
    add_skip_bad_labels,
)
from darknet_builder.data_file import DataFile
from darknet_builder.errors import InputError
from darknet_builder.image_set import ImageSet
from darknet_builder.layers.heads import AnchorHead
from darknet_builder.layers.region import Region
from darknet_builder.model_arguments import add_model, take_model
from darknet_builder.network import Network, build_network
from darknet_builder.output import STDOUT, check_answer, write_json

HELP = "anchors that fit a data set's boxes, by k-means on IoU"
EXAMPLES = """\
With --cfg, number and unit are the network's own: pixels of its input for [yolo], cells for [region].

examples:
  darknet-builder anchors --data my.data --cfg my.cfg
  darknet-builder anchors --data my.data --num 9 --width 416 --height 416
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--data", required=True, metavar="FILE", help="the .data file")
    parser.add_argument("--split", default="train", metavar="KEY", help="which of its lists (default: %(default)s)")
    add_model(parser, f"what they are for: {MODEL_HELP}", weights=None)
    parser.add_argument("--num", type=int, metavar="N", help="how many (default: the cfg's)")
    add_input_size(parser)
    add_dialect(parser)
    add_seed(parser, "the beginnings")
    add_skip_bad_labels(parser)
    add_json(parser, "the anchors")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write them."""
    check_answer(args.json)
    take_model(args, required=False)
    images = DataFile.read(args.data).load(args.split, skip_bad_labels=args.skip_bad_labels)
    if args.cfg:
        network = build_network(args.cfg, width=args.width, height=args.height, dialect=args.dialect, initialize=False)
        anchors, decimals = fit_network(network, images, num=args.num, seed=args.seed)
    else:
        if not (args.num and args.width and args.height):
            raise InputError("for which network? give --cfg FILE, or --num, --width and --height")
        anchors = find_anchors(box_sizes(images) * (args.width, args.height), args.num, seed=args.seed)
        decimals = 0
    if args.json != STDOUT:
        out.write(f"# {images.num_boxes} boxes of {len(images)} images, average IoU {anchors.average_iou:.2%}\n"
                  f"anchors = {anchors.text(decimals)}\n")
    write_json(args.json, {"anchors": anchors.sizes.round(decimals).tolist(), "average_iou": anchors.average_iou,
                           "boxes": images.num_boxes, "images": len(images)}, out)
    return 0


def fit_network(network: Network, images: ImageSet, *, num: int | None = None, seed: int = 0) -> tuple[Anchors, int]:
    """Anchors in a network's own unit, and how many decimals they are written with.

    Raises:
        InputError: for a network whose heads have no anchors.
        DataError: when there are too few boxes.
    """
    heads = [head for head in network.heads if isinstance(head, AnchorHead | Region)]
    if not heads:
        raise InputError(f"{network.blocks[0].where()}: its heads have no anchors")
    head = heads[-1]
    region = isinstance(head, Region)
    unit = (head.in_shape.width, head.in_shape.height) if region else network.input_size
    sizes = box_sizes(images) * unit
    return find_anchors(sizes, num or len(head.anchors), seed=seed), 2 if region else 0


def box_sizes(images: ImageSet) -> np.ndarray:
    """(N, 2) width and height of all boxes, relative to their images.

    As in Darknet; letterboxed training sees narrower ones.
    """
    return np.concatenate([image.boxes[:, 2:4] for image in images]).astype(np.float64)
