"""Copy the broken modules for a reader: ``darknet-builder lesson fault start``."""

from __future__ import annotations

import argparse
from typing import TextIO

HELP = "make a folder with the broken modules, to be mended there"
EXAMPLES = """\
The text at the top of each file says what is wrong and what the module is meant to do.

examples:
  darknet-builder lesson fault start my-faults
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("folder", metavar="DIR", help="folder to make; it must not exist")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the files and name the next step."""
    from darknet_builder.lessons.faults.exercises import start_exercises

    paths = start_exercises(args.folder)
    out.write(f"{args.folder}: {len(paths)} broken modules; read {paths[0]} first\n")
    out.write(f"to check one: darknet-builder lesson fault check {paths[0]}\n")
    return 0
