"""Count the images and objects of a data set: ``darknet-builder data stats``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import add_json
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.support.figures import check_plot
from darknet_builder.support.text import align_columns, plural

HELP = "count the images and objects of each class"
EXAMPLES = """\
examples:
  darknet-builder data stats my.data
  darknet-builder data stats my.data --plot classes.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("data", metavar="DATA", help=".data file")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw classes, sizes and places (PNG, SVG, PDF or JPEG)"
    )
    add_json(parser, "the counts")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write a table of the classes, and a summary."""
    check_answer(args.json)
    if args.plot is not None:
        check_plot(args.plot)
    from darknet_builder.data.sets.statistics import count_data, plot_statistics

    counts = count_data(args.data)
    if args.json != STDOUT:
        for line in align_columns(counts.rows(), left=("name",)):
            out.write(f"{line}\n")
        images, empty = sum(counts.images.values()), sum(counts.empty.values())
        out.write(
            f"{args.data}: {images} {plural(images, 'image')}, {empty} without objects;"
            f" {len(counts.boxes)} {plural(len(counts.boxes), 'object')}\n"
        )
    write_json(args.json, counts.to_dict(), out)
    if args.plot is not None:
        plot_statistics(counts, args.plot, title=args.data)
    return 0
