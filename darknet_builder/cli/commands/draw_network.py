"""``darknet-builder draw-network``: a network as a page for a browser, or as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TextIO

from darknet_builder.cfg.model_metadata import is_model_file
from darknet_builder.cli.arguments import add_dialect, add_input_size
from darknet_builder.cli.model import add_model, load_model, take_model

HELP = "draw a network: a page to hover over and search in, or an SVG picture"
EXAMPLES = """\
The page (.html) is one file that loads nothing: a row for each layer, arcs for routes and shortcuts, the cfg's text and
the sizes of whatever the pointer is on, a search by index, type or size. With WEIGHTS, it also shows how each layer's
weights are distributed. The picture (.svg) shows the same without moving.

examples:
  darknet-builder draw-network yolov4.cfg
  darknet-builder draw-network yolov4.cfg yolov4.weights --output yolov4.html
  darknet-builder draw-network my.cfg --output my.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_model(parser, weights="its weights, for histograms of them")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="ends in .html or .svg (default: the cfg's name with .html)",
    )
    add_input_size(parser)
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Draw, and say where it is."""
    take_model(args)
    from darknet_builder.pages.network_page import save_network_picture

    network = load_model(args, required=False)
    path = args.output or f"{Path(args.cfg).stem}.html"
    save_network_picture(network, path, weights=args.weights is not None or is_model_file(args.cfg))
    out.write(f"{path}: {len(network.layers)} layers\n")
    return 0
