"""Draw a network as an HTML page or an SVG picture: ``darknet-builder draw-network``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TextIO

from darknet_builder.cfg.model_metadata import is_model_file
from darknet_builder.cli.arguments import WEIGHTS_HELP, add_dialect, add_input_size
from darknet_builder.cli.model import add_model, load_model, take_model

HELP = "draw a network as a searchable HTML page or an SVG picture"
EXAMPLES = """\
The page (.html) is one file that loads nothing else. It has a row for each layer and arcs for
routes and shortcuts. Point at a layer to see its section of the cfg and its sizes; search by index,
type or size. With WEIGHTS, it also has a histogram of each layer's weights. The picture (.svg)
shows the same layers and arcs, without interaction.

examples:
  darknet-builder draw-network yolov4.cfg
  darknet-builder draw-network yolov4.cfg yolov4.weights --output yolov4.html
  darknet-builder draw-network my.cfg --output my.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model(parser, weights=f"{WEIGHTS_HELP}, for histograms of the weights")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file to write, .html or .svg (default: the name of CFG with .html)",
    )
    add_input_size(parser)
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Draw the network and write the name of the file."""
    take_model(args)
    from darknet_builder.pages.network_page import save_network_picture

    network = load_model(args, required=False)
    path = args.output or f"{Path(args.cfg).stem}.html"
    save_network_picture(network, path, weights=args.weights is not None or is_model_file(args.cfg))
    out.write(f"{path}: {len(network.layers)} layers\n")
    return 0
