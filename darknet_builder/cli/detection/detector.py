"""The detector of a command line: its options, and the ``Detector`` that they describe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from darknet_builder.cli.arguments import (
    MODEL_HELP,
    NAMES_HELP,
    WEIGHTS_HELP,
    add_nms,
    add_resize,
    add_threshold,
)
from darknet_builder.cli.detection.tile_options import NO_TILES, TileArguments
from darknet_builder.cli.model import add_model_files, check_weights
from darknet_builder.errors import InputError
from darknet_builder.images.fits import RESIZE_MODES
from darknet_builder.support.bundled import default_model

if TYPE_CHECKING:
    from darknet_builder.prediction.detector import Detector

DEFAULT_CFG, DEFAULT_WEIGHTS, DEFAULT_NAMES = default_model()


def add_detector(parser: argparse.ArgumentParser, batch: int = 1) -> argparse._ActionsContainer:
    """Add the options that ``make_detector`` reads.

    Args:
        parser: the parser of the command.
        batch: default batch size.

    Returns:
        The group of the thresholds, for further options of this kind.
    """
    add_model_files(
        parser.add_argument_group("model"),
        f"{MODEL_HELP} and class names (default: the bundled detector)",
        f"{WEIGHTS_HELP} (default: those of the bundled detector)",
        f"{NAMES_HELP} (default: those in the model file, else class 0, ...)",
        batch,
    )
    rules = parser.add_argument_group("detection")
    add_threshold(rules, 0.25)
    add_nms(rules, 0.45)
    add_resize(rules, RESIZE_MODES)
    return rules


def make_detector(
    args: argparse.Namespace, device: str, tiling: TileArguments | None = None
) -> Detector:
    """Make the detector that the options describe; without options, the bundled one.

    Args:
        args: the parsed arguments of the command.
        device: the device of this process, such as ``cuda:1``.
        tiling: how to cut images into tiles; None for no tiles.

    Raises:
        InputError: if the network or its weights are missing; the message names the option.
    """
    cfg, weights, names = args.cfg, args.weights, args.names
    if cfg is None and weights is None and DEFAULT_CFG.exists() and DEFAULT_WEIGHTS.exists():
        cfg, weights, names = DEFAULT_CFG, DEFAULT_WEIGHTS, names or DEFAULT_NAMES
    if cfg is None:
        if weights is not None and DEFAULT_CFG.exists():
            raise InputError(
                f"{weights}: no network given for these weights; give --cfg FILE (the bundled"
                " detector is used only without --cfg and --weights)"
            )
        raise InputError(
            "no network given; give --cfg FILE and --weights FILE, and --names FILE for class names"
        )
    check_weights(cfg, weights, runs=True)
    from darknet_builder.prediction.detector import Detector

    return Detector(
        cfg,
        weights,
        names,
        threshold=args.threshold,
        nms=args.nms,
        resize=args.resize,
        width=args.width,
        height=args.height,
        dialect=args.dialect,
        device=device,
        batch=args.batch,
        precision=args.precision,
        backend=args.backend,
        calibrate=args.calibrate,
        calibration_images=args.calibration_images,
        **(tiling or NO_TILES),
    )
