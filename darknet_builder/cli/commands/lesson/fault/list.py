"""List the exercises: ``darknet-builder lesson fault list``."""

from __future__ import annotations

import argparse
from typing import TextIO

HELP = "list the broken modules and what is wrong with them"
EXAMPLES = """\
The lessons are those of docs/lessons.md.

examples:
  darknet-builder lesson fault list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser: there are none."""


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write a line for each exercise."""
    from darknet_builder.lessons.faults.exercises import EXERCISES
    from darknet_builder.support.text import align_columns

    headings = ("name", "lesson", "what is wrong")
    rows = [(one.name, str(one.lesson), one.title) for one in EXERCISES.values()]
    lines = align_columns([headings, *rows], left=("name", "what is wrong"))
    out.write("".join(f"{line}\n" for line in lines))
    return 0
