"""``darknet-builder anchors``: anchors that fit a data set, as cfg text."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import (
    MODEL_HELP,
    add_dialect,
    add_input_size,
    add_json,
    add_seed,
    add_skip_bad_labels,
)
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.errors import InputError

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
    parser.add_argument(
        "--split", default="train", metavar="KEY", help="which of its lists (default: %(default)s)"
    )
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
    from darknet_builder.data.anchors import box_sizes, find_anchors, fit_network
    from darknet_builder.data.data_file import DataFile

    images = DataFile.read(args.data).load(args.split, skip_bad_labels=args.skip_bad_labels)
    if args.cfg:
        from darknet_builder.network.build import build_network

        network = build_network(
            args.cfg, width=args.width, height=args.height, dialect=args.dialect, initialize=False
        )
        anchors, decimals = fit_network(network, images, num=args.num, seed=args.seed)
    else:
        if not (args.num and args.width and args.height):
            raise InputError("for which network? give --cfg FILE, or --num, --width and --height")
        anchors = find_anchors(
            box_sizes(images) * (args.width, args.height), args.num, seed=args.seed
        )
        decimals = 0
    if args.json != STDOUT:
        out.write(
            f"# {images.num_boxes} boxes of {len(images)} images, average IoU"
            f" {anchors.average_iou:.2%}\nanchors = {anchors.text(decimals)}\n"
        )
    write_json(
        args.json,
        {
            "anchors": anchors.sizes.round(decimals).tolist(),
            "average_iou": anchors.average_iou,
            "boxes": images.num_boxes,
            "images": len(images),
        },
        out,
    )
    return 0
