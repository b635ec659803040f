"""Options that several commands take: each has one name, one meaning and one text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.cli.output import STDOUT
from darknet_builder.engines.names import (
    BACKEND_CHOICES,
    PRECISION_CHOICES,
    WORTHWHILE,
    precision_name,
)
from darknet_builder.images.opencv import MOST_PIXELS

CFG_HELP = "the network: a .cfg, or the name of one that comes with the project (yolov4-tiny)"
MODEL_HELP = f"{CFG_HELP}, or a .safetensors or .pt file, which holds its weights too"
WEIGHTS_HELP = "its .weights, .safetensors or .pt file"
_LARGEST_SEED = 2**32 - 1
_MOST_GIGABYTES, _MOST_PIXELS = 2.0**30, 2**40
IMAGE_OPTIONS = {"max_pixels": "--max-pixels"}
"""The options of errors about images that do not end a command."""


def add_dialect(parser: argparse._ActionsContainer) -> None:
    """``--dialect``, ``--plugin`` and ``--memory-limit``: how a network is built."""
    parser.add_argument(
        "--dialect",
        choices=tuple(DIALECTS),
        help="whose Darknet (default: what the file notes, or alexeyab)",
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="run a Python file that adds sections; may be given several times",
    )
    parser.add_argument(
        "--memory-limit",
        type=_gigabytes,
        metavar="GIB",
        help="largest size of weights and one image's outputs (default: half of the free memory)",
    )


def _gigabytes(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < _MOST_GIGABYTES:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of GiB above 0")
    return size


def add_input_size(parser: argparse._ActionsContainer) -> None:
    """``--width`` and ``--height``."""
    parser.add_argument(
        "--width", type=int, metavar="PIXELS", help="of the network's input (default: the cfg's)"
    )
    parser.add_argument("--height", type=int, metavar="PIXELS", help="likewise")


def add_device(parser: argparse._ActionsContainer) -> None:
    """``--device``."""
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="cpu, cuda, cuda:1, ... (default: %(default)s)",
    )


def add_max_pixels(parser: argparse._ActionsContainer) -> None:
    """``--max-pixels``."""
    parser.add_argument(
        "--max-pixels",
        type=_pixels,
        metavar="N",
        help=f"largest number of pixels of an image (default: {MOST_PIXELS:,})",
    )


def _pixels(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < _MOST_PIXELS:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number above 0")
    return int(text)


def add_batch(parser: argparse._ActionsContainer) -> None:
    """``--batch``."""
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="images at once (default: %(default)s)"
    )


def add_precision(
    parser: argparse._ActionsContainer, choices: Sequence[str], default: str, text: str = ""
) -> None:
    """``--precision``, in torch's words.

    The short ones (``fp32``, ``bf16``) are accepted as well.
    """
    parser.add_argument(
        "--precision",
        choices=choices,
        default=default,
        type=precision_name,
        help=f"{text}(default: %(default)s)",
    )


def add_speed_options(parser: argparse._ActionsContainer) -> None:
    """``--precision`` and ``--backend``, which mean the same in every command."""
    add_precision(
        parser,
        PRECISION_CHOICES,
        "float32",
        f"auto: bfloat16 where it is measured to be {WORTHWHILE} times faster; networks with"
        " depthwise convolutions stay in float32; float16 is for GPUs ",
    )
    parser.add_argument(
        "--backend",
        choices=BACKEND_CHOICES,
        default="torch",
        help="auto: what is measured to be fastest of what is installed (default: %(default)s)",
    )


def add_skip_bad_labels(parser: argparse._ActionsContainer) -> None:
    """``--skip-bad-labels``."""
    parser.add_argument(
        "--skip-bad-labels", action="store_true", help="leave out what is wrong in label files"
    )


def add_skip_bad_images(parser: argparse._ActionsContainer) -> None:
    """``--skip-bad-images``."""
    parser.add_argument(
        "--skip-bad-images",
        action="store_true",
        help="go on without the images that cannot be read",
    )


def add_seed(parser: argparse._ActionsContainer, what: str) -> None:
    """``--seed``."""
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help=f"of {what} (default: %(default)s)"
    )


def _seed(text: str) -> int:
    """NumPy's generators know no number below 0, and torch's none of more than 64 bits."""
    if not (text.isdecimal() and int(text) <= _LARGEST_SEED):
        raise argparse.ArgumentTypeError(
            f"{text}: expected a whole number from 0 to {_LARGEST_SEED}"
        )
    return int(text)


def add_json(parser: argparse._ActionsContainer, what: str) -> None:
    """``--json [FILE]``: None without the option, ``STDOUT`` without a file."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        type=_json_file,
        metavar="FILE",
        help=f"{what} as JSON: in place of the text, or in FILE (.json)",
    )


def _json_file(text: str) -> str:
    """Return the file after ``--json``, which must end in .json.

    Any other word is more likely meant for another option than as a file to write.
    """
    if text != STDOUT and Path(text).suffix.lower() != ".json":
        raise argparse.ArgumentTypeError(
            f"{text} does not end in .json; name such a file, or write --json last"
        )
    return text
