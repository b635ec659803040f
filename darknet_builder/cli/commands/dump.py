"""List the parts of a network by their PyTorch names: ``darknet-builder dump``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, TextIO

from darknet_builder.cli.arguments import add_dialect, add_input_size, add_json
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, write_answer
from darknet_builder.errors import InputError
from darknet_builder.inspection.listings import PARTS

if TYPE_CHECKING:
    from darknet_builder.inspection.listings import Listing

HELP = "list the layers, modules, parameters, buffers or cfg sections of a network"
EXAMPLES = """\
The values of --what:
  summary                 one row for each layer, with shapes, parameters and BFLOPs
  modules                 all PyTorch modules, at every depth
  children                the direct children of the network, or of the module given by --of
  parameters, buffers     all tensors of that kind, with their shapes
  blocks                  the sections of the cfg, as parsed

Names are PyTorch's: layers.81.conv.weight is the weight of the convolution in Darknet's layer 81.

PATTERN of --filter:
  with * ? or [ ]         a glob that must match the whole name: 'layers.8?.*', '*.conv.weight'
  without                 whole parts of a dotted name: layers.8 matches layer 8 and everything in
                          it, but not layer 81; conv.weight matches the weight of every conv
Modules, layers and blocks also match by type: BatchNorm2d, yolo, maxpool. A pattern that matches
nothing is a mistake.

examples:
  darknet-builder dump cfg/lesson.cfg
  darknet-builder dump cfg/lesson.cfg --what parameters --filter conv.weight
  darknet-builder dump cfg/lesson.cfg --what modules --filter 'layers.1?.*' --json
  darknet-builder dump cfg/lesson.cfg --what children --of layers.4
"""
OPTIONS = {"pattern": "--filter"}
"""Options whose name differs from that of the library argument, by argument."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model(parser, weights=None)
    parser.add_argument(
        "--what",
        choices=(*PARTS, "blocks"),
        default="summary",
        help="parts to list, see below (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="output format; json is the same as --json (default: %(default)s)",
    )
    add_json(parser, "the listing")
    parser.add_argument(
        "--filter", metavar="PATTERN", help="list only parts whose name matches, see below"
    )
    parser.add_argument(
        "--of",
        metavar="NAME",
        default="",
        help="list the parts of this module instead of the whole network, for example layers.8",
    )
    add_input_size(parser)
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the listing as text or JSON."""
    check_answer(args.json)
    take_model(args)
    if args.of and args.what in ("summary", "blocks"):
        raise InputError(
            f"--of {args.of}: expected --what modules, children, parameters or buffers, got"
            f" {args.what}"
        )
    listing = _list(args)
    shown = listing.matching(args.filter)
    target = args.json or (STDOUT if args.format == "json" else None)
    if target != STDOUT:
        out.write(listing.text(shown))
    if target is None:
        return 0
    options = {"cfg": args.cfg, "what": args.what, "of": args.of, "filter": args.filter}
    write_answer(target, _json({**options, **listing.to_dict(shown)}), out)
    return 0


def _list(args: argparse.Namespace) -> Listing:
    if args.what == "blocks":
        from darknet_builder.cfg.source import read_cfg
        from darknet_builder.inspection.listings import list_blocks

        return list_blocks(read_cfg(args.cfg).blocks)
    from darknet_builder.inspection.network_listings import list_network
    from darknet_builder.network.build import build_network

    network = build_network(
        args.cfg, width=args.width, height=args.height, dialect=args.dialect, initialize=False
    )
    return list_network(network, args.what, args.of)


def _json(data: dict[str, Any]) -> str:
    # One line for each key and for each row: ``indent=`` would spread every shape over lines.
    rows = ",\n".join(f"    {json.dumps(row)}" for row in data["rows"])
    keys = [
        f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items() if key != "rows"
    ]
    body = ",\n".join([*keys, f'  "rows": [\n{rows}\n  ]' if rows else '  "rows": []'])
    return f"{{\n{body}\n}}\n"
