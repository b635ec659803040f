"""Compute anchors for a data set, as cfg text: ``darknet-builder anchors``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import (
    add_dialect,
    add_input_size,
    add_json,
    add_label_rules,
    add_seed,
    label_rules,
)
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.errors import InputError

HELP = "compute anchors for the boxes of a data set, by k-means on IoU"
EXAMPLES = """\
Give a network (CFG or --cfg), or --num, --width and --height. A network determines the number of
anchors and their unit: pixels of the network input for [yolo], cells for [region]. Without a
network, the unit is pixels.

examples:
  darknet-builder anchors --data my.data --cfg my.cfg
  darknet-builder anchors --data my.data --num 9 --width 416 --height 416
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--data", required=True, metavar="FILE", help=".data file")
    parser.add_argument(
        "--split",
        default="train",
        metavar="KEY",
        help="key of the image list in the .data file (default: %(default)s)",
    )
    add_model(parser, weights=None)
    parser.add_argument(
        "--num", type=int, metavar="N", help="number of anchors (default: from the cfg)"
    )
    add_input_size(parser)
    add_dialect(parser)
    add_seed(parser, "the starting points of k-means")
    add_label_rules(parser)
    add_json(parser, "the anchors and their average IoU")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Compute the anchors and write them as a line for the cfg."""
    check_answer(args.json)
    take_model(args, required=False)
    from darknet_builder.data.anchors import box_sizes, find_anchors, fit_network
    from darknet_builder.data.data_file import DataFile

    images = DataFile.read(args.data).load(args.split, **label_rules(args))
    if args.cfg:
        from darknet_builder.network.build import build_network

        network = build_network(
            args.cfg, width=args.width, height=args.height, dialect=args.dialect, initialize=False
        )
        anchors, decimals = fit_network(network, images, num=args.num, seed=args.seed)
    else:
        if not (args.num and args.width and args.height):
            raise InputError(
                "no network given; give --cfg FILE, or all of --num, --width and --height"
            )
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
