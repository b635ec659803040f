"""Explain a fault: ``darknet-builder lesson fault solution``."""

from __future__ import annotations

import argparse
from typing import TextIO

HELP = "explain a fault and show the lines to change"
EXAMPLES = """\
examples:
  darknet-builder lesson fault solution never_learns
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("name", metavar="NAME", help="name of the exercise, as in the list")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the explanation and the difference."""
    from darknet_builder.lessons.faults.exercises import find_exercise

    out.write(find_exercise(args.name).solution())
    return 0
