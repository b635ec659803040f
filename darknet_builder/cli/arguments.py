"""Options shared by several commands: each has one name, one meaning and one help text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.cli.output import REPORT_NAME, STDOUT
from darknet_builder.engines.names import (
    BACKEND_CHOICES,
    PRECISION_CHOICES,
    WORTHWHILE,
    precision_name,
)
from darknet_builder.export.quantized.settings import NUM_IMAGES
from darknet_builder.images.fits import FITS
from darknet_builder.images.opencv import MOST_PIXELS

CFG_HELP = "network: a .cfg file, or the name of a bundled one, such as yolov4-tiny"
MODEL_HELP = f"{CFG_HELP}; or a .safetensors or .pt file, which also contains the weights"
WEIGHTS_HELP = "weights file: .weights, .safetensors or .pt"
NAMES_HELP = "class names file, one name a line"
THRESHOLD_HELP = "minimum confidence, 0 to 1"
NMS_HELP = "NMS IoU threshold, 0 to 1; 1 disables suppression"
_LARGEST_SEED = 2**32 - 1
_FIT_TEXTS = (
    "crop the centre of the image",
    "ignore the aspect ratio",
    "keep the aspect ratio and pad with grey",
)
_FIT_HELP = dict(zip(FITS, _FIT_TEXTS, strict=True))
_MOST_GIGABYTES, _MOST_PIXELS = 2.0**30, 2**40
IMAGE_OPTIONS = {"max_pixels": "--max-pixels"}
"""The options of errors about images that do not end a command."""


def add_dialect(parser: argparse._ActionsContainer) -> None:
    """Add ``--dialect``, ``--plugin`` and ``--memory-limit``, which decide how a cfg is built."""
    parser.add_argument(
        "--dialect",
        choices=tuple(DIALECTS),
        help="version of Darknet to follow (default: the one recorded in the file, else alexeyab)",
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="Python file that adds section types; can be given several times",
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
    """Add ``--width`` and ``--height``."""
    for side in ("width", "height"):
        parser.add_argument(
            f"--{side}",
            type=int,
            metavar="PIXELS",
            help=f"network input {side} in pixels (default: from the cfg)",
        )


def add_device(parser: argparse._ActionsContainer) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="device to run on: cpu, cuda, cuda:1, ... (default: %(default)s)",
    )


def add_max_pixels(parser: argparse._ActionsContainer) -> None:
    """Add ``--max-pixels``."""
    parser.add_argument(
        "--max-pixels",
        type=positive_number,
        metavar="N",
        help=f"largest number of pixels of an image (default: {MOST_PIXELS:,})",
    )


def positive_number(text: str) -> int:
    """Return a whole number above 0, for ``type`` of an option."""
    if not text.isdecimal() or not 0 < int(text) < _MOST_PIXELS:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number above 0")
    return int(text)


def add_batch(parser: argparse._ActionsContainer, default: int = 1) -> None:
    """Add ``--batch``."""
    parser.add_argument(
        "--batch", type=int, default=default, metavar="N", help="batch size (default: %(default)s)"
    )


def add_threshold(
    parser: argparse._ActionsContainer, default: float, text: str = THRESHOLD_HELP
) -> None:
    """Add ``--threshold``."""
    parser.add_argument(
        "--threshold",
        type=float,
        default=default,
        metavar="P",
        help=f"{text} (default: %(default)s)",
    )


def add_nms(parser: argparse._ActionsContainer, default: float) -> None:
    """Add ``--nms``."""
    parser.add_argument(
        "--nms", type=float, default=default, metavar="P", help=f"{NMS_HELP} (default: %(default)s)"
    )


def add_resize(
    parser: argparse._ActionsContainer,
    choices: Sequence[str],
    option: str = "--resize",
    text: str = "how to fit images to the network input",
) -> None:
    """Add ``--resize``, or ``--fit`` for classifiers, with an explanation of each choice.

    Args:
        parser: the parser or group to add it to.
        choices: ``RESIZE_MODES``, or ``FITS`` for classifiers.
        option: name of the option.
        text: the help text, without choices and default.
    """
    explained = "; ".join(f"{choice}: {_FIT_HELP[choice]}" for choice in choices)
    parser.add_argument(
        option,
        choices=choices,
        help=f"{text}. {explained} (default: set by the cfg and its dialect)",
    )


def add_precision(
    parser: argparse._ActionsContainer, choices: Sequence[str], default: str, text: str
) -> None:
    """Add ``--precision``; its values are PyTorch's names or the short ones (``fp32``, ``bf16``).

    Args:
        parser: the parser or group to add it to.
        choices: the precisions that the command accepts, by PyTorch's names.
        default: the default precision, one of ``choices``.
        text: the help text, without the default.
    """
    parser.add_argument(
        "--precision",
        choices=choices,
        default=default,
        type=precision_name,
        help=f"{text} (default: %(default)s)",
    )


def add_speed_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--precision``, ``--backend``, ``--calibrate`` and ``--calibration-images``."""
    add_precision(
        parser,
        PRECISION_CHOICES,
        "float32",
        "numeric precision; float16 is for GPUs. auto: bfloat16 if it is measured to be at least"
        f" {WORTHWHILE} times faster than float32, but always float32 for networks with depthwise"
        " convolutions; int8 needs --calibrate, and keeps an int8 file beside the weights",
    )
    parser.add_argument(
        "--backend",
        choices=BACKEND_CHOICES,
        help="inference engine. compile: torch.compile; auto: measure all installed engines and use"
        " the fastest (default: torch; for int8, openvino if it is installed, else onnxruntime)",
    )
    add_calibration(parser)


def add_calibration(parser: argparse._ActionsContainer) -> None:
    """Add ``--calibrate`` and ``--calibration-images``."""
    parser.add_argument(
        "--calibrate",
        metavar="PHOTOS",
        help="photographs to calibrate int8 on, like those that the network will see: an image, a"
        " folder, a quoted glob, or a .data file (its train= list)",
    )
    parser.add_argument(
        "--calibration-images",
        type=positive_number,
        default=NUM_IMAGES,
        metavar="N",
        help="use N of these photographs, evenly spread over them (default: %(default)s)",
    )


def add_label_rules(parser: argparse._ActionsContainer) -> None:
    """Add ``--skip-bad-labels`` and ``--strict``."""
    parser.add_argument(
        "--skip-bad-labels",
        action="store_true",
        help="skip invalid labels instead of stopping at the first",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="treat labels that training would clip or leave out as invalid too: boxes over the"
        " edge of the image, and centres at 0, 0",
    )


def label_rules(args: argparse.Namespace) -> dict[str, bool]:
    """Return the options of ``add_label_rules`` as arguments of ``DataFile.load`` and others."""
    return {"skip_bad_labels": args.skip_bad_labels, "strict": args.strict}


def add_skip_bad_images(parser: argparse._ActionsContainer) -> None:
    """Add ``--skip-bad-images``."""
    parser.add_argument(
        "--skip-bad-images",
        action="store_true",
        help="skip images that cannot be read instead of stopping",
    )


def add_seed(parser: argparse._ActionsContainer, purpose: str) -> None:
    """Add ``--seed``.

    Args:
        parser: the parser or group to add it to.
        purpose: the random choices that it determines, for the help text.
    """
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help=f"random seed for {purpose} (default: %(default)s)",
    )


def _seed(text: str) -> int:
    # NumPy's generators refuse negative seeds, and PyTorch's refuse more than 64 bits.
    if not (text.isdecimal() and int(text) <= _LARGEST_SEED):
        raise argparse.ArgumentTypeError(
            f"{text}: expected a whole number from 0 to {_LARGEST_SEED}"
        )
    return int(text)


def add_json(parser: argparse._ActionsContainer, content: str) -> None:
    """Add ``--json [FILE]``; its value is ``STDOUT`` without a file, and None without the option.

    Args:
        parser: the parser or group to add it to.
        content: the content of the JSON document, for the help text.
    """
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        type=_json_file,
        metavar="FILE",
        help=f"print {content} as JSON instead of text; with FILE (.json), write the JSON there and"
        " print text",
    )


def _json_file(text: str) -> str:
    return text if text == STDOUT else _check_suffix(text, ".json", "--json")


def add_report(parser: argparse._ActionsContainer, content: str) -> None:
    """Add ``--report [FILE]``; its value is empty without a file, and None without the option.

    Args:
        parser: the parser or group to add it to.
        content: the content of the page, for the help text.
    """
    parser.add_argument(
        "--report",
        nargs="?",
        const="",
        type=_report_file,
        metavar="FILE",
        help=f"write an HTML page with {content} (default FILE: {REPORT_NAME} in the --output"
        " folder)",
    )


def _report_file(text: str) -> str:
    return _check_suffix(text, ".html", "--report") if text else text


def _check_suffix(text: str, suffix: str, option: str) -> str:
    """Return a file name that follows an option whose file may be omitted.

    Any other suffix shows that the word is not meant for this option: in ``--json a.cfg`` it is the
    network.

    Raises:
        argparse.ArgumentTypeError: if it has another suffix.
    """
    if Path(text).suffix.lower() != suffix:
        raise argparse.ArgumentTypeError(
            f"{text} does not end in {suffix}; name such a file, or put {option} last"
        )
    return text
