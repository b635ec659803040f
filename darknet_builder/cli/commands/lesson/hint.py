"""Print a hint for a chapter: ``darknet-builder lesson hint``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.lessons.scratch.chapters import CHAPTERS
from darknet_builder.lessons.scratch.hints import LEVELS, hint

HELP = "print a hint for a chapter, from a gentle one to nearly the code"
EXAMPLES = """\
examples:
  darknet-builder lesson hint --chapter 3
  darknet-builder lesson hint --chapter 3 --level 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--chapter", type=int, choices=list(CHAPTERS), required=True)
    parser.add_argument(
        "--level",
        type=int,
        choices=list(LEVELS),
        default=1,
        help="1: where to look; 2: the steps; 3: nearly the code (default: %(default)s)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the hint."""
    out.write(hint(args.chapter, args.level))
    return 0
