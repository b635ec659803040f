"""``darknet-builder scenes``: draw a data set of shapes, as the bundled model was trained on."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.data.scene_names import SCENE_NAMES, SCENE_SIZE
from darknet_builder.errors import InputError

HELP = "draw a data set of scenes with shapes, to try a training on"
EXAMPLES = f"""\
The objects are {", ".join(SCENE_NAMES)}:
turned, shaded, partly covered, over textured backgrounds. Every scene follows from its number and its list: the same
command draws the same pictures, and no scene of train is in valid.

examples:
  darknet-builder scenes --output scenes
  darknet-builder train --data scenes/scenes.data --cfg cfg/shapes.cfg --output runs/shapes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--output", required=True, metavar="DIR", help="where to")
    parser.add_argument(
        "--train",
        type=int,
        default=1000,
        metavar="N",
        help="scenes to learn from (default: %(default)s)",
    )
    parser.add_argument(
        "--valid",
        type=int,
        default=100,
        metavar="N",
        help="scenes to judge by (default: %(default)s)",
    )
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        metavar="N",
        help="number of the first scene of each list (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=SCENE_SIZE,
        metavar="PIXELS",
        help="width and height (default: %(default)s)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Draw them."""
    for name, least in (("train", 1), ("valid", 1), ("first", 0), ("size", 64)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} {getattr(args, name)}: expected {least} or more")
    from darknet_builder.data.scenes import write_scenes

    data = write_scenes(
        args.output, {"train": args.train, "valid": args.valid}, seed=args.first, size=args.size
    )
    out.write(f"{args.train} scenes to learn from and {args.valid} to judge by: {data}\n")
    return 0
