"""Compute Darknet's mAP and COCO's AP of a detector: ``darknet-builder evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cfg.names import read_names
from darknet_builder.cli.arguments import (
    NAMES_HELP,
    NMS_HELP,
    THRESHOLD_HELP,
    add_batch,
    add_device,
    add_dialect,
    add_input_size,
    add_json,
    add_label_rules,
    add_max_pixels,
    add_resize,
    add_speed_options,
    label_rules,
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
from darknet_builder.cli.output import STDOUT, attempt_all, check_answer, write_answer, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import InputError, MissingExtraError
from darknet_builder.evaluation.map_rules import MAP_NMS, MAP_THRESHOLD, POINTS
from darknet_builder.images.fits import RESIZE_MODES
from darknet_builder.support.bundled import find_by_name
from darknet_builder.support.figures import check_plot

if TYPE_CHECKING:
    from darknet_builder.evaluation.published import PublishedAccuracy
    from darknet_builder.evaluation.report import EvaluationReport
    from darknet_builder.evaluation.run import Evaluation
    from darknet_builder.network.network import Network
    from darknet_builder.prediction.detector import Detector
    from darknet_builder.support.distributed import ProcessGroup

HELP = "compute Darknet's mAP and COCO's AP of a detector on labelled images"
EXAMPLES = """\
Keys of the .data file: classes=, names= and valid=, the list of images; optionally difficult=, a
list whose labels mark objects that need not be found, and map=, the class in a hierarchy for each
class of the labels. The labels of images/a.jpg are in labels/a.txt or images/a.txt, one object a
line: class x y width height. The .data file, its lists and the images may be at addresses, with the
extra 'remote'.

The table has the numbers of 'darknet detector map': its -points, -iou_thresh and -thresh are
--points, --iou and --confidence here. The mAP is the mean over all classes, including those without
objects.

COCO's numbers need the extra 'evaluate' (pycocotools). With --coco and --images in place of --data,
they are COCO's own: crowds and the areas of outlines come from its annotations, and the threshold
and NMS are those of 'darknet detector valid'. --save-coco writes the file for COCO's server. The
classes of the network are looked up by name among the categories.

examples:
  darknet-builder evaluate --data coco.data --model yolov4-tiny
  darknet-builder evaluate --data coco.data --cfg yolov4.cfg --weights yolov4.weights
  darknet-builder evaluate --coco instances_val2017.json --images val2017 --model yolov4-tiny \\
      --save-coco results.json
  darknet-builder evaluate --data my.data --cfg my.cfg --weights my.weights \\
      --json map.json --plot curves.png
  darknet-builder evaluate --data my.data --split train --cfg my.cfg --weights my.weights \\
      --points 11 --iou 0.75
"""
OPTIONS = {**MODEL_OPTIONS, "folder": "--images"}
"""Hints that are shown for a wrong library argument, by argument."""
_OPTIONS = ("data", "split", "coco", "images", "cfg", "weights", "threshold", "nms")
_SPLIT = "valid"
_LABEL_OPTIONS = ("data", "split", "skip_bad_labels", "strict")
"""Options for label files, which --coco does not read."""
_COCO_OPTIONS = ("images", "save_coco")
"""Options that apply only to --coco."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--data", metavar="FILE", help=".data file")
    parser.add_argument(
        "--split",
        metavar="KEY",
        help=f"key of the image list in the .data file (default: {_SPLIT})",
    )
    parser.add_argument(
        "--coco",
        metavar="FILE",
        help="COCO's annotations in place of a .data file, such as instances_val2017.json",
    )
    parser.add_argument("--images", metavar="DIR", help="the folder with the images of --coco")
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N images only")
    add_label_rules(parser)
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
    with_coco = "with --coco, that of 'darknet detector valid'"
    rules.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help=f"{THRESHOLD_HELP}, of all boxes that are evaluated (default: {MAP_THRESHOLD};"
        f" {with_coco})",
    )
    rules.add_argument(
        "--nms", type=float, metavar="P", help=f"{NMS_HELP} (default: {MAP_NMS}; {with_coco})"
    )
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
        "--save-coco",
        metavar="FILE",
        help="write the boxes as COCO's results file (.json), which its server takes; with --coco",
    )
    results.add_argument(
        "--quiet", action="store_true", help="show errors only: no progress and no table"
    )


def _add_model(model: argparse._ArgumentGroup) -> None:
    add_model(model)
    add_model_name(model)
    model.add_argument(
        "--names", metavar="FILE", help=f"{NAMES_HELP} (default: from --data or --model)"
    )
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
    check_weights(args.cfg, args.weights, runs=True)
    from darknet_builder.support.distributed import init_processes

    if args.names is not None:
        read_names(args.names)  # raises an error if the file is wrong
        args.names = str(find_by_name(args.names, ".names").absolute())
    plan = _plan_annotated if args.coco is not None else _plan_labelled
    with init_processes(args.device) as group:
        return _evaluate(args, plan(args, model_names), group, out)


_Plan = Callable[["Detector"], "Evaluation"]
"""Read the labels for a detector whose weights are not loaded yet."""


def _plan_labelled(args: argparse.Namespace, model_names: str | None) -> _Plan:
    """Read the ``.data`` file of ``--data``."""
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.evaluation.run import Evaluation

    args.split = args.split or _SPLIT
    data = DataFile.read(args.data)
    if args.names is not None:
        data = data.having("names", args.names)
    elif model_names is not None and data.names is None:
        data = data.having("names", str(Path(model_names).absolute()))

    def plan(detector: Detector) -> Evaluation:
        return Evaluation.plan(data, detector, args.split, limit=args.limit, **label_rules(args))

    return plan


def _plan_annotated(args: argparse.Namespace, model_names: str | None) -> _Plan:
    """Prepare to read the annotations of ``--coco``."""
    from darknet_builder.evaluation.run import Evaluation

    def plan(detector: Detector) -> Evaluation:
        names = args.names or model_names
        evaluation = Evaluation.plan_annotated(
            args.coco, args.images, detector, names=names, limit=args.limit
        )
        annotated = evaluation.annotated
        if annotated is not None and annotated.annotations is None and args.save_coco is None:
            raise InputError(
                "has no annotations to compare with; give --save-coco FILE to write the boxes",
                path=args.coco,
            )
        return evaluation

    return plan


def _evaluate(args: argparse.Namespace, plan: _Plan, group: ProcessGroup, out: TextIO) -> int:
    from darknet_builder.evaluation.run import Metrics
    from darknet_builder.prediction.loading import fast_runner, load_into
    from darknet_builder.prediction.quantizing import Calibration

    detector = _make_detector(args, group)
    evaluation = plan(detector)
    network = detector.network
    load_into(network, args.cfg, args.weights)  # takes long, so only after the labels are checked
    runner = fast_runner(
        network,
        args.precision,
        args.backend,
        args.batch,
        beside=args.weights or args.cfg,
        calibration=Calibration.of(args.calibrate, args.calibration_images, detector.resize),
    )
    quiet = args.quiet or args.json == STDOUT or not group.is_main
    with Progress(len(group.shard(evaluation.images)), "images", quiet=quiet, out=out) as progress:
        if line := describe_choice(args, runner):
            progress.say(line)
        evaluation.warm_up(runner, group)
        coco = group.is_main and not args.no_coco and _has_pycocotools(progress)
        metrics = Metrics(args.iou, args.points, args.confidence, coco)
        report = evaluation.run(runner, metrics, group, progress.advance)
        if report is not None:
            report = replace(report, published=_find_published(args, network))
            attempt_all(_writers(args, report, progress, out), progress.complain)
    return 0


def _make_detector(args: argparse.Namespace, group: ProcessGroup) -> Detector:
    """Build the detector, without its weights, and store its thresholds in ``args``."""
    from darknet_builder.prediction.detector import Detector
    from darknet_builder.prediction.loading import build_unloaded

    network = build_unloaded(
        args.cfg, args.weights, width=args.width, height=args.height, dialect=args.dialect
    )
    threshold, nms = MAP_THRESHOLD, MAP_NMS
    if args.coco is not None:
        threshold, nms = network.dialect.valid_threshold, network.dialect.valid_nms
    args.threshold = threshold if args.threshold is None else args.threshold
    args.nms = nms if args.nms is None else args.nms
    return Detector(
        network,
        threshold=args.threshold,
        nms=args.nms,
        resize=args.resize,
        device=group.device,
        batch=args.batch,
        **tile_arguments(args),
    )


def _find_published(args: argparse.Namespace, network: Network) -> PublishedAccuracy | None:
    """Return the published accuracy of an official model at its input size; None for others."""
    from darknet_builder.evaluation.published import find_published
    from darknet_builder.weights.official import recognize_official

    official = recognize_official(args.cfg, args.weights, by_name=args.model is not None)
    return None if official is None else find_published(official.name, network.input_size)


def _writers(
    args: argparse.Namespace, report: EvaluationReport, progress: Progress, out: TextIO
) -> list[Callable[[], object]]:
    """Return what writes each result: the files first, the table last."""
    from darknet_builder.evaluation.plot import plot_curves

    document = {**{name: getattr(args, name) for name in _OPTIONS}, **report.to_dict()}
    title = f"{Path(args.coco or args.data).stem}, IoU {args.iou:g}"
    writers: list[Callable[[], object]] = [partial(write_json, args.json, document, out)]
    if args.save_coco is not None:
        writers.append(lambda: write_answer(args.save_coco, report.results_file(), out))
    if args.plot is not None:
        writers.append(partial(plot_curves, report.darknet, args.plot, title))
    return [*writers, lambda: progress.say("\n".join(report.lines()))]


def _check_options(args: argparse.Namespace) -> None:
    """Check everything that would otherwise fail only after the evaluation.

    Raises:
        InputError: if a number is out of range, or a file cannot be written.
        MissingExtraError: if ``--plot`` needs matplotlib, or ``--coco`` pycocotools.
    """
    _check_source(args)
    for name in ("iou", "confidence"):
        if not 0 <= getattr(args, name) < 1:
            raise InputError(
                f"--{name} {getattr(args, name):g}: expected a number from 0 to below 1"
            )
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit {args.limit}: expected 1 or more images")
    if args.plot is not None:
        check_plot(args.plot)
    for path in (args.json, args.save_coco):
        check_answer(path)


def _check_source(args: argparse.Namespace) -> None:
    """Check that the images come from ``--data`` or from ``--coco``, with its other options."""
    wrong = _COCO_OPTIONS if args.coco is None else _LABEL_OPTIONS
    for name in wrong:
        if getattr(args, name):
            option = f"--{name.replace('_', '-')}"
            verb = "needs" if args.coco is None else "does not apply to"
            raise InputError(f"{option} {verb} --coco")
    if args.coco is None and args.data is None:
        raise InputError("no labelled images given; give --data FILE, or --coco FILE --images DIR")
    if args.coco is not None and args.images is None:
        raise InputError("--coco needs --images DIR, the folder with its images")
    if args.coco is not None and not args.no_coco:
        from darknet_builder.evaluation.coco.measure import load_pycocotools

        load_pycocotools()  # the numbers that were asked for


def _has_pycocotools(progress: Progress) -> bool:
    from darknet_builder.evaluation.coco.measure import load_pycocotools

    try:
        load_pycocotools()
    except MissingExtraError as error:
        progress.complain(f"COCO's numbers are left out: {error}")
        return False
    return True
