"""Compute Darknet's mAP and COCO's AP of a detector: ``darknet-builder evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cfg.names import read_names
from darknet_builder.cli.arguments import (
    NAMES_HELP,
    THRESHOLD_HELP,
    add_batch,
    add_device,
    add_dialect,
    add_input_size,
    add_json,
    add_max_pixels,
    add_nms,
    add_resize,
    add_skip_bad_labels,
    add_speed_options,
    add_threshold,
)
from darknet_builder.cli.detection.tile_options import add_tile_options, tile_arguments
from darknet_builder.cli.model import (
    MODEL_OPTIONS,
    add_model,
    add_model_name,
    check_weights,
    describe_choice,
    take_model,
    take_named,
)
from darknet_builder.cli.output import STDOUT, attempt_all, check_answer, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import InputError, MissingExtraError
from darknet_builder.evaluation.map_rules import MAP_NMS, MAP_THRESHOLD, POINTS
from darknet_builder.images.fits import RESIZE_MODES
from darknet_builder.support.bundled import find_by_name
from darknet_builder.support.figures import check_plot

if TYPE_CHECKING:
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.support.distributed import ProcessGroup

HELP = "compute Darknet's mAP and COCO's AP of a detector on labelled images"
EXAMPLES = """\
Keys of the .data file: classes=, names= and valid=, the list of images; optionally difficult=, a
list whose labels mark objects that need not be found, and map=, the class in a hierarchy for each
class of the labels. The labels of images/a.jpg are in labels/a.txt or images/a.txt, one object a
line: class x y width height.

The table has the numbers of 'darknet detector map': its -points, -iou_thresh and -thresh are
--points, --iou and --confidence here. The mAP is the mean over all classes, including those without
objects.

COCO's numbers need the extra 'evaluate' (pycocotools). To compare them with published ones, add
--threshold 0.001 --nms 0.6, as 'darknet detector valid' uses.

examples:
  darknet-builder evaluate --data coco.data --model yolov4-tiny
  darknet-builder evaluate --data coco.data --cfg yolov4.cfg --weights yolov4.weights
  darknet-builder evaluate --data my.data --cfg my.cfg --weights my.weights \\
      --json map.json --plot curves.png
  darknet-builder evaluate --data my.data --split train --cfg my.cfg --weights my.weights \\
      --points 11 --iou 0.75
"""
OPTIONS = MODEL_OPTIONS
"""Hints that are shown for a wrong library argument, by argument."""
_OPTIONS = ("data", "split", "cfg", "weights", "threshold", "nms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--data", required=True, metavar="FILE", help=".data file")
    parser.add_argument(
        "--split",
        default="valid",
        metavar="KEY",
        help="key of the image list in the .data file (default: %(default)s)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N images only")
    add_skip_bad_labels(parser)
    _add_model(parser.add_argument_group("model"))
    _add_rules(parser)
    add_tile_options(parser.add_argument_group("tiles for large images"))
    _add_results(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the thresholds and the rules of the metrics."""
    rules = parser.add_argument_group("detection and metrics")
    rules.add_argument(
        "--points",
        type=int,
        choices=POINTS,
        default=0,
        help="how AP is computed from the precision-recall curve. 0: area under the curve; 11: mean"
        " over 11 recalls, as VOC 2007; 101: mean over 101 recalls, as COCO (default: %(default)s)",
    )
    rules.add_argument(
        "--iou",
        type=float,
        default=0.5,
        metavar="P",
        help="IoU that a box must exceed to match an object (default: %(default)s)",
    )
    rules.add_argument(
        "--confidence",
        type=float,
        default=0.25,
        metavar="P",
        help="minimum confidence for precision, recall, F1 and IoU (default: %(default)s)",
    )
    add_threshold(rules, MAP_THRESHOLD, f"{THRESHOLD_HELP}, of all boxes that are evaluated")
    add_nms(rules, MAP_NMS)
    add_resize(rules, RESIZE_MODES)
    rules.add_argument("--no-coco", action="store_true", help="compute Darknet's numbers only")


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Add the options of the output."""
    results = parser.add_argument_group("output")
    add_json(results, "all numbers of all classes")
    results.add_argument(
        "--plot",
        metavar="FILE",
        help="plot precision-recall curves; the suffix (.png, .svg, .pdf, ...) selects the format",
    )
    results.add_argument(
        "--quiet", action="store_true", help="show errors only: no progress and no table"
    )


def _add_model(model: argparse._ArgumentGroup) -> None:
    add_model(model)
    add_model_name(model)
    model.add_argument("--names", metavar="FILE", help=f"{NAMES_HELP} (default: from --data)")
    add_input_size(model)
    add_dialect(model)
    add_device(model)
    add_max_pixels(model)
    add_batch(model)
    add_speed_options(model)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Evaluate the detector and write the table."""
    _check_options(args)
    model_names = take_named(args)
    take_model(args)
    check_weights(args.cfg, args.weights)
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.support.distributed import init_processes

    data = DataFile.read(args.data)
    if args.names is not None:
        read_names(args.names)  # raises an error if the file is wrong
        data = data.having("names", str(find_by_name(args.names, ".names").absolute()))
    elif model_names is not None and data.names is None:
        data = data.having("names", str(Path(model_names).absolute()))
    with init_processes(args.device) as group:
        return _evaluate(args, data, group, out)


def _evaluate(args: argparse.Namespace, data: DataFile, group: ProcessGroup, out: TextIO) -> int:
    from darknet_builder.evaluation.plot import plot_curves
    from darknet_builder.evaluation.run import Evaluation, Metrics
    from darknet_builder.prediction.detector import Detector
    from darknet_builder.prediction.loading import build_unloaded, load_into

    network = build_unloaded(
        args.cfg, args.weights, width=args.width, height=args.height, dialect=args.dialect
    )
    detector = Detector(
        network,
        threshold=args.threshold,
        nms=args.nms,
        resize=args.resize,
        device=group.device,
        batch=args.batch,
        **tile_arguments(args),
    )
    evaluation = Evaluation.plan(
        data, detector, args.split, skip_bad_labels=args.skip_bad_labels, limit=args.limit
    )
    load_into(network, args.cfg, args.weights)  # takes long, so only after the labels are checked
    runner = network.optimized(args.precision, args.backend, args.batch)
    quiet = args.quiet or args.json == STDOUT or not group.is_main
    with Progress(len(group.shard(evaluation.images)), "images", quiet=quiet, out=out) as progress:
        if line := describe_choice(args, runner):
            progress.say(line)
        evaluation.warm_up(runner, group)
        coco = group.is_main and not args.no_coco and _has_pycocotools(progress)
        metrics = Metrics(args.iou, args.points, args.confidence, coco)
        if (report := evaluation.run(runner, metrics, group, progress.advance)) is None:
            return 0
        document = {**{name: getattr(args, name) for name in _OPTIONS}, **report.to_dict()}
        title = f"{Path(args.data).stem}, IoU {args.iou:g}"
        writers: list[Callable[[], object]] = [partial(write_json, args.json, document, out)]
        if args.plot is not None:
            writers.append(partial(plot_curves, report.darknet, args.plot, title))
        writers.append(lambda: progress.say("\n".join(report.lines())))
        attempt_all(writers, progress.complain)
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Check everything that would otherwise fail only after the evaluation.

    Raises:
        InputError: if a number is out of range, or a file cannot be written.
        MissingExtraError: if ``--plot`` needs matplotlib.
    """
    for name in ("iou", "confidence"):
        if not 0 <= getattr(args, name) < 1:
            raise InputError(
                f"--{name} {getattr(args, name):g}: expected a number from 0 to below 1"
            )
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit {args.limit}: expected 1 or more images")
    if args.plot is not None:
        check_plot(args.plot)
    check_answer(args.json)


def _has_pycocotools(progress: Progress) -> bool:
    from darknet_builder.evaluation.coco import load_pycocotools

    try:
        load_pycocotools()
    except MissingExtraError as error:
        progress.complain(f"COCO's numbers are left out: {error}")
        return False
    return True
