"""Run a command line of the ``darknet`` program: ``darknet-builder darknet``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.darknet.flags import list_flags

HELP = "run a command line of Darknet's own program, with its flags and its lines"
_EXAMPLES = """\
FUNCTION is one of Darknet's (AlexeyAB's):

  detector test DATA CFG WEIGHTS [IMAGE]      detector train DATA CFG [WEIGHTS]
  detector valid DATA CFG WEIGHTS             detector map DATA CFG WEIGHTS
  detector recall DATA CFG WEIGHTS            detector calc_anchors DATA
  detector demo DATA CFG WEIGHTS VIDEO        detect CFG WEIGHTS [IMAGE]
  classifier predict DATA CFG WEIGHTS [IMAGE] classifier train DATA CFG [WEIGHTS]
  classifier valid DATA CFG WEIGHTS           partial CFG WEIGHTS OUTPUT N

Flags keep their single dash and can be anywhere. A warning names each other flag of Darknet, which
is not supported or has no effect. The supported flags:

{flags}

Without IMAGE, image paths are read from standard input. Files are written where Darknet writes
them: predictions.jpg, anchors.txt and results/ in the current folder, weights in backup= of DATA.

The exit status of a mistake is 1, as in Darknet. The page "From Darknet's program" of the
documentation (docs/from-darknet.md) has for each line the command of this program that does the
same. For scripts that call darknet:

  alias darknet="darknet-builder darknet"

examples:
  darknet-builder darknet detector test coco.data yolov4.cfg yolov4.weights dog.jpg \\
      -ext_output -dont_show
  darknet-builder darknet detector test coco.data yolov4.cfg yolov4.weights \\
      -out result.json < train.txt
  darknet-builder darknet detector map my.data my.cfg backup/my_best.weights -points 101
  darknet-builder darknet detector train my.data my.cfg yolov4.conv.137 -map -dont_show
"""
EXAMPLES = _EXAMPLES.format(flags=list_flags())
OPTIONS = {"threshold": "-thresh", "nms": "-nms", "points": "-points", "top": "-t", "until": "N"}
"""The flag for a library argument."""
IS_VERBATIM = True
"""The command line is another program's, and so is the exit status for a mistake."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "words", nargs="*", metavar="FUNCTION", help="Darknet's function, its words and flags"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Run the command line and return its exit status."""
    from darknet_builder.cli.darknet.functions import run_darknet

    return run_darknet(args.words, out)
