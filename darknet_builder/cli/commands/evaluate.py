"""Measure a detector's accuracy: ``darknet-builder evaluate``.

It prints Darknet's mAP and COCO's AP on a labelled set of images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cfg.names import read_names
from darknet_builder.cli.arguments import (
    add_batch,
    add_device,
    add_dialect,
    add_input_size,
    add_json,
    add_max_pixels,
    add_skip_bad_labels,
    add_speed_options,
)
from darknet_builder.cli.model import add_model, check_weights, describe_choice, take_model
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

HELP = "measure a detector on labelled images: mAP as Darknet computes it, and COCO's AP"
EXAMPLES = """\
FILE of --data is Darknet's .data file: classes=, valid= (a list of images), names=, and where there is one difficult=
(a list whose labels name objects that need not be found) or map= (which class of a tree each class of the labels is).
The labels of images/a.jpg are in labels/a.txt or images/a.txt, one box a line: class x y width height.

The first numbers are those of 'darknet detector map' (-points, -iou_thresh and -thresh are --points, --iou and
--confidence here); the mean is over all classes, those without objects included. COCO's need the extra 'evaluate'
(pycocotools); to compare them with published ones, give --threshold 0.001 --nms 0.6 as 'darknet detector valid' does.

examples:
  darknet-builder evaluate --data coco.data --cfg yolov4.cfg --weights yolov4.weights
  darknet-builder evaluate --data my.data --cfg my.cfg --weights my.weights --json map.json --plot curves.png
  darknet-builder evaluate --data my.data --split train --cfg my.cfg --weights my.weights --points 11 --iou 0.75
"""
_OPTIONS = ("data", "split", "cfg", "weights", "threshold", "nms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--data", required=True, metavar="FILE", help="the .data file")
    parser.add_argument(
        "--split", default="valid", metavar="KEY", help="which of its lists (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    add_skip_bad_labels(parser)
    _add_model(parser.add_argument_group("model"))
    _add_rules(parser)
    _add_results(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide what counts."""
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--points",
        type=int,
        choices=POINTS,
        default=0,
        help="recalls at which a curve is read; 0: the area under it (default: %(default)s)",
    )
    rules.add_argument(
        "--iou",
        type=float,
        default=0.5,
        metavar="P",
        help="how much a box must overlap its object (default: %(default)s)",
    )
    rules.add_argument(
        "--confidence",
        type=float,
        default=0.25,
        metavar="P",
        help="above which boxes count for precision, recall and F1 (default: %(default)s)",
    )
    rules.add_argument(
        "--threshold",
        type=float,
        default=MAP_THRESHOLD,
        metavar="P",
        help="above which boxes count at all (default: %(default)s)",
    )
    rules.add_argument(
        "--nms",
        type=float,
        default=MAP_NMS,
        metavar="P",
        help="most overlap of two boxes of a class; 1: any (default: %(default)s)",
    )
    _add_resize(rules)
    rules.add_argument("--no-coco", action="store_true", help="Darknet's numbers alone")


def _add_resize(rules: argparse._ArgumentGroup) -> None:
    rules.add_argument(
        "--resize", choices=RESIZE_MODES, help="how images are fitted (default: the cfg's way)"
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Add the options of the output."""
    results = parser.add_argument_group("results")
    add_json(results, "all numbers of all classes")
    results.add_argument(
        "--plot", metavar="FILE", help="precision-recall curves, as PNG, SVG or PDF"
    )
    results.add_argument("--quiet", action="store_true", help="no progress and no table")


def _add_model(model: argparse._ArgumentGroup) -> None:
    add_model(model)
    model.add_argument("--names", metavar="FILE", help="class names, instead of those of --data")
    add_input_size(model)
    add_dialect(model)
    add_device(model)
    add_max_pixels(model)
    add_batch(model)
    add_speed_options(model)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Evaluate."""
    _check_options(args)
    take_model(args)
    check_weights(args.cfg, args.weights)
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.support.distributed import init_processes

    data = DataFile.read(args.data)
    if args.names is not None:
        read_names(args.names)  # or it says what is wrong with them
        data = data.having("names", str(find_by_name(args.names, ".names").absolute()))
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
    )
    evaluation = Evaluation.plan(
        data, detector, args.split, skip_bad_labels=args.skip_bad_labels, limit=args.limit
    )
    load_into(network, args.cfg, args.weights)  # not before the labels are known to fit
    runner = network.optimized(args.precision, args.backend, args.batch)
    quiet = args.quiet or args.json == STDOUT or not group.is_main
    with Progress(len(group.shard(evaluation.images)), "images", quiet=quiet, out=out) as progress:
        if line := describe_choice(args, runner):
            progress.say(line)
        evaluation.warm_up(runner, group)
        coco = group.is_main and not args.no_coco and _has_pycocotools(progress)
        metrics = Metrics(args.iou, args.points, args.confidence, coco)
        report = evaluation.run(runner, metrics, group, progress.advance)
        if report is None:
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
    """What would otherwise be found out after the work."""
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
