"""Report what is wrong with a data set: ``darknet-builder data check``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import (
    add_dialect,
    add_input_size,
    add_json,
    add_max_pixels,
)
from darknet_builder.cli.output import STDOUT, check_answer, in_color, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import InputError
from darknet_builder.support.files import check_folder
from darknet_builder.support.text import align_columns, plural

if TYPE_CHECKING:
    from darknet_builder.data.sets.check import DataCheck

HELP = "report what is wrong or odd about a data set"
EXAMPLES = """\
Every line of every label file is read and every image is opened. Reported are bad labels, boxes
over the edge, images that cannot be read, equal and similar images in two lists, labels without an
image and images without labels, and missing or rare classes. With a network, the sizes of the boxes
are compared with its strides and anchors. Warnings do not change the exit status; any error makes
it 1.

examples:
  darknet-builder data check my.data
  darknet-builder data check my.data --cfg my.cfg --json check.json
  darknet-builder data check my.data --report check.html
"""
_MOST_SHOWN = 10
"""Number of findings of a kind that are shown; the JSON file has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("data", metavar="DATA", help=".data file")
    parser.add_argument("--cfg", metavar="CFG", help="network whose strides and anchors to compare")
    add_input_size(parser)
    add_dialect(parser)
    add_max_pixels(parser)
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write an HTML page with the pictures, their boxes and all findings",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=200,
        metavar="N",
        help="number of pictures on the page, odd ones first (default: %(default)s)",
    )
    add_json(parser, "all findings, and the counts of classes and sizes")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the findings, a table of the classes and a summary; return 1 if there are errors."""
    check_answer(args.json)
    check_folder(args.report)
    if args.pictures < 0:
        raise InputError("expected 0 or more", argument="pictures", value=args.pictures)
    from darknet_builder.data.sets.check import check_data

    network = None
    if args.cfg is not None:
        from darknet_builder.network.build import build_network

        network = build_network(
            args.cfg, width=args.width, height=args.height, dialect=args.dialect, initialize=False
        )
    with Progress(0, "image", quiet=args.json == STDOUT, out=out) as progress:
        found = check_data(args.data, network=network, counter=progress)
    write_json(args.json, found.to_dict(), out)
    if args.report is not None:
        from darknet_builder.pages.dataset_page import save_dataset_page

        save_dataset_page(found, args.report, most_pictures=args.pictures)
    if args.json != STDOUT:
        _write(found, out)
    return 1 if found.num_errors else 0


def _write(found: DataCheck, out: TextIO) -> None:
    shown: dict[str, int] = {}
    counts = found.counts()
    for finding in found.findings:
        shown[finding.kind] = shown.get(finding.kind, 0) + 1
        if shown[finding.kind] <= _MOST_SHOWN:
            out.write(f"{in_color(finding.level, out)}: {finding.kind}: {finding}\n")
        elif shown[finding.kind] == counts[finding.kind]:
            rest = counts[finding.kind] - _MOST_SHOWN
            out.write(f"{in_color(finding.level, out)}: {finding.kind}: ... and {rest} more\n")
    for line in align_columns(found.statistics.rows(), left=("name",)):
        out.write(f"{line}\n")
    if found.sizes is not None:
        _write_sizes(found, out)
    errors, warnings = found.num_errors, len(found.findings) - found.num_errors
    out.write(
        f"{found.path}: {len(found.images)} {plural(len(found.images), 'image')},"
        f" {len(found.statistics.boxes)} {plural(len(found.statistics.boxes), 'object')};"
        f" {errors} {plural(errors, 'error')}, {warnings} {plural(warnings, 'warning')}\n"
    )


def _write_sizes(found: DataCheck, out: TextIO) -> None:
    sizes = found.sizes
    assert sizes is not None
    for head in sizes.heads:
        anchors = ", ".join(f"{width:g}x{height:g}" for width, height in head.anchors)
        share = f"{head.boxes / max(sizes.num_boxes, 1):.1%}"
        out.write(f"stride {head.stride}: anchors {anchors}: nearest to {share} of the boxes\n")
    if sizes.mean_iou is not None:
        out.write(
            f"at {sizes.width} x {sizes.height}: mean IoU with the nearest anchor"
            f" {sizes.mean_iou:.1%}\n"
        )
