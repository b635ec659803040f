"""Check a reader's code with recorded numbers: ``darknet-builder lesson check``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.lessons.scratch.chapters import CHAPTERS, READERS_FILE

HELP = "compare your code with numbers recorded from Darknet"
EXAMPLES = """\
The answer says what is right so far, the first value that differs, and what usually causes that
difference. Your file is run in a process of its own, with a time limit.

exit status: 0 if everything is right, 1 if something is not yet right, 2 for a mistake in the
command.

examples:
  darknet-builder lesson check my_yolo.py --chapter 3
  darknet-builder lesson check my_yolo.py
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "file", nargs="?", default=READERS_FILE, metavar="FILE", help=f"your file ({READERS_FILE})"
    )
    parser.add_argument(
        "--chapter",
        type=int,
        choices=list(CHAPTERS),
        help="chapter to check (default: all, up to the first that is not yet right)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=60.0,
        metavar="N",
        help="seconds after which your code is stopped (default: %(default)g)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the answer; the status is 1 if something is not yet right."""
    from darknet_builder.lessons.marker.process import check_file

    answer = check_file(args.file, args.chapter, args.time_limit)
    out.write(answer.text)
    if answer.wrong_chapter is not None:
        out.write(f"a hint: darknet-builder lesson hint --chapter {answer.wrong_chapter}\n")
    return 0 if answer.is_right else 1
