"""Join data sets into one: ``darknet-builder data merge``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.data.formats.kinds import FORMATS, LINKS

HELP = "join data sets into one, with classes joined by name"
EXAMPLES = """\
Each DATA can have any format that 'data convert' reads. Images of equal names are renamed.

examples:
  darknet-builder data merge first.data second.data --output both
  darknet-builder data merge my.data coco/annotations --output both --link hard
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="data set to join")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--to", choices=FORMATS, default="darknet", help="format to write (default: %(default)s)"
    )
    parser.add_argument(
        "--link", choices=LINKS, help="link the images instead of copying them (default: copy)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a folder with files")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Join them, and write the counts of what was written, changed and left out."""
    from darknet_builder.data.sets.merge import merge_data

    made = merge_data(args.data, args.output, to=args.to, link=args.link, overwrite=args.overwrite)
    out.write(made.summary())
    return 1 if made.dataset.notes.has_losses else 0
