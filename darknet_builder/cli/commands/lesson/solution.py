"""Print the solution of a chapter: ``darknet-builder lesson solution``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.lessons.scratch.chapters import CHAPTERS

HELP = "print a solution of a chapter"
EXAMPLES = """\
examples:
  darknet-builder lesson solution --chapter 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--chapter", type=int, choices=list(CHAPTERS), required=True)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the code of the chapter's functions."""
    from darknet_builder.lessons.scratch.stubs import solution_text

    out.write(solution_text(args.chapter))
    return 0
