"""Draw the data set of the bundled detector: ``darknet-builder scenes``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.data.scene_names import SCENE_NAMES, SCENE_SIZE
from darknet_builder.errors import InputError

HELP = "draw a data set of simple shapes, to try training with"
EXAMPLES = f"""\
The classes are {", ".join(SCENE_NAMES)}.
The objects are rotated, shaded and partly covered, on textured backgrounds. The same command always
draws the same pictures. Training and validation scenes are never the same.

examples:
  darknet-builder scenes --output scenes
  darknet-builder train --data scenes/scenes.data --cfg cfg/shapes.cfg --output runs/shapes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--output", required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--train",
        type=int,
        default=1000,
        metavar="N",
        help="number of training scenes (default: %(default)s)",
    )
    parser.add_argument(
        "--valid",
        type=int,
        default=100,
        metavar="N",
        help="number of validation scenes (default: %(default)s)",
    )
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        metavar="N",
        help="index of the first scene of each list; scenes with other indices differ"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=SCENE_SIZE,
        metavar="PIXELS",
        help="width and height of a scene (default: %(default)s)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Draw the scenes and write the name of the .data file."""
    for name, minimum in (("train", 1), ("valid", 1), ("first", 0), ("size", 64)):
        if getattr(args, name) < minimum:
            raise InputError(f"--{name} {getattr(args, name)}: expected {minimum} or more")
    from darknet_builder.data.scenes import write_scenes

    data = write_scenes(
        args.output, {"train": args.train, "valid": args.valid}, seed=args.first, size=args.size
    )
    out.write(f"{data}: {args.train} training and {args.valid} validation scenes\n")
    return 0
