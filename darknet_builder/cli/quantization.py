"""Options of the command that writes quantized files, and the settings that they describe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from darknet_builder.cli.arguments import add_calibration, add_precision
from darknet_builder.errors import InputError
from darknet_builder.export.quantized.settings import (
    INT8,
    LIMITS,
    MAX_AP_DROP,
    MAX_DROP,
    Int8Settings,
)

if TYPE_CHECKING:
    from darknet_builder.network.network import Network

INT8_OPTIONS = {
    "calibrate": "--calibrate",
    "calibration_images": "--calibration-images",
    "max_drop": "--max-drop",
    "max_ap_drop": "--max-ap-drop",
}
"""The option for each library argument about quantized files."""


def add_int8_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of quantized files."""
    int8 = parser.add_argument_group("int8, format onnx only")
    add_precision(int8, ("float32", INT8), "float32", "numeric precision of the file")
    add_calibration(int8)
    int8.add_argument(
        "--data", metavar="FILE", help=".data file whose valid= list the mAP is measured on"
    )
    int8.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="most points of mAP@0.5 that int8 may lose, of 100; needs --data (default:"
        f" {MAX_DROP:g})",
    )
    int8.add_argument(
        "--max-ap-drop",
        type=float,
        metavar="POINTS",
        help="most points of COCO's AP that int8 may lose, of 100; needs --data and pycocotools"
        f" (default: {MAX_AP_DROP:g} where pycocotools is installed)",
    )
    int8.add_argument(
        "--symmetric",
        action="store_true",
        help="signed activations with 0 in the middle, as TensorRT needs; slower on CPUs",
    )


def check_int8(args: argparse.Namespace, name: str) -> None:
    """Check the options of ``add_int8_options``, before any file is read.

    Args:
        args: the command's arguments.
        name: the format, a key of ``FORMATS``.

    Raises:
        InputError: for the first option that is missing or does not apply.
    """
    if args.precision != INT8:
        for option in ("calibrate", "data", *LIMITS, "symmetric"):
            if getattr(args, option) not in (None, False):
                raise InputError(
                    f"--{option.replace('_', '-')} applies only with --precision {INT8}"
                )
        return
    if name != "onnx":
        raise InputError(
            f"--precision {INT8} does not apply to format {name}; it is for format onnx"
        )
    if args.calibrate is None:
        raise InputError(f"--precision {INT8} needs --calibrate PHOTOS")
    for limit in LIMITS:
        if args.data is None and getattr(args, limit) is not None:
            raise InputError(
                f"{INT8_OPTIONS[limit]} needs --data FILE, on which the mAP is measured"
            )


def int8_settings(args: argparse.Namespace, network: Network) -> Int8Settings | None:
    """Return the settings of ``export``; None for a file in float32.

    Args:
        args: the command's arguments, after ``check_int8``.
        network: the network to export, with its weights.

    Raises:
        DarknetError: if there are no photographs, or the labels of ``--data`` do not fit;
            ``MissingExtraError`` if ``--max-ap-drop`` is given without pycocotools.
    """
    if args.precision != INT8:
        return None
    from darknet_builder.evaluation.coco.measure import load_pycocotools
    from darknet_builder.evaluation.judge import AccuracyJudge
    from darknet_builder.export.quantized.calibration import find_photographs

    images = find_photographs(args.calibrate, args.calibration_images)
    judge = None if args.data is None else AccuracyJudge(network, args.data, args.resize)
    if args.max_ap_drop is not None:
        load_pycocotools()
    limits = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    return Int8Settings(images, judge, symmetric=args.symmetric, **limits)
