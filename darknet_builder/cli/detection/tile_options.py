"""The options of tiling, for ``detect`` and ``evaluate``."""

from __future__ import annotations

import argparse
from typing import TypedDict

from darknet_builder.errors import InputError

_OVERLAP = 0.2


class TileArguments(TypedDict):
    """The arguments of ``Detector`` that cut images into tiles."""

    tile: tuple[int, int] | None
    overlap: float
    tile_full: bool


NO_TILES = TileArguments(tile=None, overlap=_OVERLAP, tile_full=False)


def add_tile_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--tile``, ``--overlap`` and ``--tile-full``."""
    parser.add_argument(
        "--tile",
        type=_tile,
        metavar="SIZE",
        help="cut images into tiles of 640 (square) or 640x480 pixels, and detect in each"
        " (default: no tiles)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="P",
        help="part of a tile that the next one repeats, 0 to below 1; use it with --tile"
        f" (default: {_OVERLAP})",
    )
    parser.add_argument(
        "--tile-full",
        action="store_true",
        help="with --tile: process the whole image as well, for objects larger than a tile",
    )


def _tile(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    sides = (width, height if "x" in text.lower() else width)
    if not all(side.isascii() and side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text}: expected pixels, such as 640 or 640x480")
    return int(sides[0]), int(sides[1])


def tile_arguments(args: argparse.Namespace) -> TileArguments:
    """Return the arguments of ``Detector`` for the parsed options.

    Raises:
        InputError: if an option is given without ``--tile``.
    """
    if args.tile is None:
        for option, given in (
            ("--overlap", args.overlap is not None),
            ("--tile-full", args.tile_full),
        ):
            if given:
                raise InputError(f"{option} needs --tile SIZE")
    return TileArguments(
        tile=args.tile,
        overlap=_OVERLAP if args.overlap is None else args.overlap,
        tile_full=args.tile_full,
    )
