"""Check mended modules: ``darknet-builder lesson fault check``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TextIO

HELP = "check the modules that you have mended"
EXAMPLES = """\
A file is found by its name. Its code runs with all rights of this command.

exit status: 0 if everything is right, 1 if something is not yet right, 2 for a mistake in the
command or a file that cannot be run.

examples:
  darknet-builder lesson fault check my-faults/never_learns.py
  darknet-builder lesson fault check my-faults
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("path", metavar="PATH", help="a mended file, or the folder of all")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write what is right and what is not; the status is 1 if something is not."""
    from darknet_builder.lessons.faults.exercises import EXERCISES
    from darknet_builder.lessons.faults.judging import judge

    path = Path(args.path)
    paths = [path / f"{name}.py" for name in EXERCISES] if path.is_dir() else [path]
    right = 0
    for file in paths:
        complaints = judge(file.stem, file)
        right += not complaints
        out.write(f"{file.stem}: {'not yet' if complaints else 'right'}\n")
        out.write("".join(f"  {complaint}\n" for complaint in complaints))
    if len(paths) > 1:
        out.write(f"{right} of {len(paths)} are right\n")
    return 0 if right == len(paths) else 1
