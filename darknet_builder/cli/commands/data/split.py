"""Split a data set for training and validation: ``darknet-builder data split``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import add_seed

HELP = "split images into a training and a validation list"
EXAMPLES = """\
The lists of a .data file (train= and valid=) are split again together. Images and labels stay where
they are. Each class gets about the same share of its objects in both lists.

examples:
  darknet-builder data split my.data --valid 0.1 --output split
  darknet-builder data split images.txt --valid 0.2 --seed 1 --output split
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("data", metavar="DATA", help=".data file, or a list of images")
    parser.add_argument(
        "--valid",
        type=float,
        default=0.1,
        metavar="P",
        help="share of the images for validation (default: %(default)s)",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the new lists")
    add_seed(parser, "the choice of images")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the lists, and the number of images in each."""
    from darknet_builder.data.sets.split import split_data

    made = split_data(args.data, args.output, valid=args.valid, seed=args.seed)
    out.write(f"{made.path}: {len(made.train)} training and {len(made.valid)} validation images\n")
    return 0
