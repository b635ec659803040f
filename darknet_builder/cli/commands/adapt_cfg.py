"""Adapt a cfg to another data set: ``darknet-builder adapt-cfg``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import MODEL_HELP, add_dialect, add_json, add_seed
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.errors import CfgError, InputError
from darknet_builder.support.files import write_text, writing

if TYPE_CHECKING:
    import numpy as np

    from darknet_builder.cfg.block import Block
    from darknet_builder.data.data_file import DataFile

HELP = "adapt a cfg to another data set: classes, filters, anchors, masks and steps"
EXAMPLES = """\
These options may change: classes, anchors, mask and num of the heads; filters (or output) of the
layers before them; max_batches, steps and burn_in of [net]. All others and the comments are kept.

Without --max-batches, max_batches becomes 2000 for each class, but at least 6000. The learning
rate is reduced at 80% and 90% of max_batches. A burn_in longer than a tenth of max_batches is
shortened to a tenth.

examples:
  darknet-builder adapt-cfg cfg/yolov4-tiny.cfg --classes 3 --output my.cfg
  darknet-builder adapt-cfg cfg/yolov4-tiny.cfg --data my.data --anchors fit --output my.cfg
  darknet-builder adapt-cfg cfg/yolov3-tiny.cfg --classes 2 \\
      --anchors 10,14,23,27,37,58,81,82,135,169,344,319 --output my.cfg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model(parser, MODEL_HELP, weights=None)
    parser.add_argument(
        "--classes", type=int, metavar="N", help="number of classes (default: from --data)"
    )
    parser.add_argument(
        "--data", metavar="FILE", help=".data file, for the number of classes and --anchors fit"
    )
    parser.add_argument(
        "--anchors",
        metavar="fit|W,H,W,H,...",
        help="new anchors: fit them to the boxes of --data by k-means, or give their sizes"
        " (default: keep the cfg's)",
    )
    parser.add_argument("--max-batches", type=int, metavar="N", help="number of training steps")
    parser.add_argument("--output", required=True, metavar="FILE", help="cfg file to write")
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file")
    add_seed(parser, "--anchors fit")
    add_dialect(parser)
    add_json(parser, "the list of changes")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the new cfg and list the changes."""
    check_answer(args.json)
    take_model(args)
    if os.path.exists(args.output) and not args.overwrite:
        raise InputError(f"{args.output}: already exists; choose another file, or give --overwrite")
    data = _read_data(args.data) if args.data else None
    classes = args.classes if args.classes is not None else data.classes if data else None
    if classes is None:
        raise InputError("number of classes not given; give --classes N or --data FILE")
    text, blocks = _read(args.cfg)
    from darknet_builder.cfg.parser import noted_dialect
    from darknet_builder.inspection.adapt import Adaptation, adapt_cfg
    from darknet_builder.network.build import build_network

    dialect = args.dialect or noted_dialect(text)
    adaptation = Adaptation(classes, _anchors(args, data, blocks, dialect), args.max_batches)
    edited = adapt_cfg(text, blocks, adaptation, dialect)
    build_network(edited.text(), dialect=args.dialect, initialize=False)
    with writing(args.output):
        write_text(args.output, edited.text())
    if args.json != STDOUT:
        out.write("".join(f"{change}\n" for change in edited.changes) + f"{args.output}: written\n")
    write_json(args.json, {"cfg": args.output, "changes": list(edited.changes)}, out)
    return 0


def _read_data(path: str) -> DataFile:
    from darknet_builder.data.data_file import DataFile

    return DataFile.read(path)


def _read(cfg: str) -> tuple[str, list[Block]]:
    """Return the text of a cfg and the Blocks parsed from exactly this text.

    A model file contains a cfg; its text is returned.
    """
    from darknet_builder.cfg.parser import note_dialect, parse_cfg
    from darknet_builder.cfg.source import read_cfg

    source = read_cfg(cfg)
    if source.tensors is not None:
        text = note_dialect(source.metadata.dialect) + source.metadata.cfg
        return text, parse_cfg(text)
    path = Path(source.blocks[0].source)
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"), source.blocks
    except UnicodeDecodeError:
        raise CfgError(
            f"{path}: is not UTF-8 text, so its comments would be damaged; save it as UTF-8 first"
        ) from None


def _anchors(
    args: argparse.Namespace, data: DataFile | None, blocks: list[Block], dialect: str | None
) -> np.ndarray | None:
    if args.anchors is None:
        return None
    if args.anchors == "fit":
        if data is None:
            raise InputError("--anchors fit: no data set given; give --data FILE")
        from darknet_builder.data.anchors import fit_network
        from darknet_builder.inspection.adapt import build_for_adapting

        network = build_for_adapting(blocks, dialect)
        return fit_network(network, data.load("train"), seed=args.seed)[0].sizes
    import numpy as np

    try:
        sizes = np.array([float(number) for number in args.anchors.split(",")]).reshape(-1, 2)
    except ValueError:
        raise InputError(
            f"--anchors {args.anchors}: expected fit, or pairs of numbers W,H,W,H,..."
        ) from None
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InputError(f"--anchors {args.anchors}: expected numbers above 0")
    return sizes
