"""List what a network consists of: ``darknet-builder dump``.

The names are those that PyTorch gives to its parts.
"""

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

HELP = "show a network's modules, children, parameters, buffers, summary or blocks"
EXAMPLES = """\
names are PyTorch's own: layers.81.conv.weight is the weight of the conv of Darknet's layer 81.

PATTERN of --filter: with * ? or [ ] it is a glob that must fit the whole name ('layers.8?.*', '*.conv.weight');
without them it names whole parts of a dotted name: layers.8 is layer 8 and all that is in it, but not layer 81;
conv.weight is the weight of every conv. Modules, layers and blocks also go by their type: BatchNorm2d, yolo, maxpool.
Where nothing fits, the command says so and its exit status is 2.

examples:
  darknet-builder dump cfg/lesson.cfg
  darknet-builder dump cfg/lesson.cfg --what parameters --filter conv.weight
  darknet-builder dump cfg/lesson.cfg --what modules --filter 'layers.1?.*' --json
  darknet-builder dump cfg/lesson.cfg --what children --of layers.4
"""
OPTIONS = {"pattern": "--filter"}
"""The option for a library argument of another name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    add_model(parser, weights=None)
    parser.add_argument(
        "--what",
        choices=(*PARTS, "blocks"),
        default="summary",
        help="to show (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="json is the same as --json (default: %(default)s)",
    )
    add_json(parser, "the listing")
    parser.add_argument(
        "--filter", metavar="PATTERN", help="only what goes by such a name (see below)"
    )
    parser.add_argument(
        "--of",
        metavar="NAME",
        default="",
        help="of this module instead of the whole network, for example layers.8",
    )
    add_input_size(parser)
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the listing."""
    check_answer(args.json)
    take_model(args)
    if args.of and args.what in ("summary", "blocks"):
        raise InputError(
            f"--of {args.of}: goes with --what modules, children, parameters or buffers, "
            f"not with {args.what}"
        )
    listing = _list(args)
    shown = listing.matching(args.filter)
    target = args.json or (STDOUT if args.format == "json" else None)
    if target != STDOUT:
        out.write(listing.text(shown))
    if target is None:
        return 0
    asked = {"cfg": args.cfg, "what": args.what, "of": args.of, "filter": args.filter}
    write_answer(target, _json({**asked, **listing.to_dict(shown)}), out)
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
    """One key a line, and one row a line: shapes spread over lines are hard to read."""
    rows = ",\n".join(f"    {json.dumps(row)}" for row in data["rows"])
    keys = [
        f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items() if key != "rows"
    ]
    body = ",\n".join([*keys, f'  "rows": [\n{rows}\n  ]' if rows else '  "rows": []'])
    return f"{{\n{body}\n}}\n"
