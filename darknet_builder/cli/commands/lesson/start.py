"""Lay out the folder of a reader: ``darknet-builder lesson start``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.lessons.scratch.chapters import CHAPTERS

HELP = "make a folder with stubs to fill in, a small network and a picture"
EXAMPLES = """\
examples:
  darknet-builder lesson start my-yolo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("folder", metavar="DIR", help="folder to make; it must not exist")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the files and name the next step."""
    from darknet_builder.lessons.scratch.folder import start_folder

    stubs = start_folder(args.folder)
    out.write(f"{stubs}: {len(CHAPTERS)} chapters of functions to write\n")
    out.write(f"next: read {stubs.with_name('README.md')}, write the functions of chapter 1, run\n")
    out.write(f"  darknet-builder lesson check {stubs} --chapter 1\n")
    return 0
