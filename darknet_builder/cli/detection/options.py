"""Options of ``detect`` about frames and objects."""

from __future__ import annotations

import argparse

from darknet_builder.cli.arguments import positive_number

_MOST_RECONNECTS, _MOST_SECONDS = 10**6, 86_400.0
_MOST_TRAIL, _FAR = 10_000, 1e6
"""Frames of a trail, and pixels of a coordinate."""


def add_frame_options(parser: argparse._ActionsContainer) -> None:
    """Add the options about videos, webcams and streams."""
    parser.add_argument(
        "--every",
        type=positive_number,
        default=1,
        metavar="N",
        help="process every Nth frame (default: %(default)s)",
    )
    parser.add_argument(
        "--max-frames",
        type=positive_number,
        metavar="N",
        help="stop after N processed frames of each video or stream (default: no limit)",
    )
    parser.add_argument(
        "--reconnect",
        type=_reconnects,
        default=3,
        metavar="N",
        help="attempts to connect to a lost webcam or stream again; 0 takes its end as the end"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="time without a frame after which a webcam or stream is lost (default: %(default)g)",
    )
    parser.add_argument(
        "--show", action="store_true", help="show pictures in a window; q or Esc ends the command"
    )


def add_track_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that follow objects from frame to frame."""
    parser.add_argument(
        "--track",
        action="store_true",
        help="give objects identities that last from frame to frame (extra track)",
    )
    parser.add_argument(
        "--line",
        type=_line,
        action="append",
        default=[],
        metavar="X1,Y1,X2,Y2",
        help="with --track: count the objects that cross this line, in pixels, by class and"
        " direction; can be given several times. Seen from the first point, in is from right to"
        " left",
    )
    parser.add_argument(
        "--trail",
        type=_frames,
        metavar="N",
        help="with --track: draw the way of each object in the last N frames; 0 for none"
        " (default: 30)",
    )
    parser.add_argument(
        "--track-threshold",
        type=_fraction,
        metavar="P",
        help="with --track: minimum confidence of a new identity; objects of lower confidence only"
        " continue one (default: 0.5)",
    )


def add_object_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that select objects."""
    _add_classes(parser, "--classes", None, "keep only these classes: names or numbers")
    parser.add_argument(
        "--min-size",
        type=_size,
        default=0.0,
        metavar="PIXELS",
        help="keep only objects whose shorter side has this number of pixels of the image, or more"
        " (default: %(default)g)",
    )


def add_hiding_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that make objects unrecognisable."""
    for option in ("blur", "pixelate"):
        text = f"{option} objects of these classes in pictures, videos and the report"
        _add_classes(parser, f"--{option}", [], text)


def _add_classes(
    parser: argparse._ActionsContainer, option: str, default: list[str] | None, text: str
) -> None:
    parser.add_argument(
        option, type=_classes, default=default, metavar="CLASSES", help=f"{text}, as in person,dog"
    )


def _classes(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected names or numbers with a comma between two of them"
        )
    return words


def _line(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4 or not all(abs(value) <= _FAR for value in values):
        raise argparse.ArgumentTypeError(
            f"{text}: expected four numbers of pixels, as in 0,240,640,240"
        )
    return values


def _frames(text: str) -> int:
    return _whole_number(text, _MOST_TRAIL, f"0 to {_MOST_TRAIL}")


def _fraction(text: str) -> float:
    return _number(text, smallest=0.0, largest=1.0, words="from 0 to 1")


def _reconnects(text: str) -> int:
    return _whole_number(text, _MOST_RECONNECTS, "0 or more")


def _whole_number(text: str, largest: int, words: str) -> int:
    if not text.isdecimal() or int(text) > largest:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number, {words}")
    return int(text)


def _seconds(text: str) -> float:
    return _number(text, smallest=0.001, largest=_MOST_SECONDS, words="of seconds above 0")


def _size(text: str) -> float:
    return _number(text, smallest=0.0, largest=1e9, words="of pixels, 0 or more")


def _number(text: str, *, smallest: float, largest: float, words: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not smallest <= value <= largest:
        raise argparse.ArgumentTypeError(f"{text}: expected a number {words}")
    return value
