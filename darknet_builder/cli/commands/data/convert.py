"""Convert a data set to another format: ``darknet-builder data convert``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import add_json
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.data.formats.kinds import FORMATS, LINKS

HELP = "convert a data set from and to Darknet, COCO, Pascal VOC and Ultralytics"
EXAMPLES = """\
SRC is a .data file, a COCO .json, a data.yaml, CVAT's .xml, or the folder of an export of CVAT,
Roboflow or Label Studio. Its format is recognised. SRC is never changed; DST is written whole or
not at all.

Everything that is changed or left out is counted. The exit status is 1 if a part of SRC is wrong
and was left out, such as a missing image, a bad label or a box outside its image.

examples:
  darknet-builder data convert annotations/instances_train2017.json coco --to darknet
  darknet-builder data convert VOCdevkit/VOC2007 voc --to darknet --first-pixel 1
  darknet-builder data convert roboflow/data.yaml persons --to darknet --classes person,car
  darknet-builder data convert my.data for-others --to ultralytics --link hard
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("source", metavar="SRC", help="data set to read, see below")
    parser.add_argument("target", metavar="DST", help="folder to write")
    parser.add_argument("--to", required=True, choices=FORMATS, help="format to write")
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="folder of the images of a COCO, CVAT or VOC set (default: found)",
    )
    parser.add_argument(
        "--classes",
        metavar="NAME",
        help="names of the classes to keep, separated by commas, in their new order (default: all)",
    )
    parser.add_argument(
        "--link", choices=LINKS, help="link the images instead of copying them (default: copy)"
    )
    parser.add_argument(
        "--first-pixel",
        type=int,
        choices=(0, 1),
        default=0,
        help="number of the first pixel in VOC's boxes: 1 for the devkit's own sets and for"
        " supervision, 0 for other programs (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it is not empty")
    add_json(parser, "the counts")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Convert, and write the counts of what was written, changed and left out."""
    check_answer(args.json)
    from darknet_builder.data.formats.convert import convert_dataset

    made = convert_dataset(
        args.source,
        args.target,
        args.to,
        images=args.images,
        classes=None if args.classes is None else args.classes.split(","),
        link=args.link,
        overwrite=args.overwrite,
        first_pixel=args.first_pixel,
    )
    if args.json != STDOUT:
        out.write(made.summary())
    write_json(args.json, made.to_dict(), out)
    return 1 if made.dataset.notes.has_losses else 0
