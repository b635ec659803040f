"""``darknet-builder evaluate``: Darknet's mAP and COCO's AP of a detector on a labelled set of images."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.arguments import add_batch, add_device, add_dialect, add_input_size, add_json, add_skip_bad_labels
from darknet_builder.average_precision import POINTS, ImageBoxes, MapResult, mean_average_precision
from darknet_builder.datasets import DataFile, ImageSet
from darknet_builder.detections import read_names
from darknet_builder.detector import Detector
from darknet_builder.errors import InputError, MissingExtraError
from darknet_builder.evaluation import MAP_NMS, MAP_THRESHOLD, find_boxes
from darknet_builder.evaluation_coco import CocoResult, coco_average_precision, load_pycocotools
from darknet_builder.evaluation_plot import check_plot, plot_curves
from darknet_builder.images import RESIZE_MODES
from darknet_builder.inference import OptimizedNetwork, add_speed_options
from darknet_builder.layers.region import Region
from darknet_builder.loading import build_unloaded, load_into
from darknet_builder.model_arguments import add_model, check_weights, describe_choice, take_model
from darknet_builder.output import STDOUT, check_folder, write_json
from darknet_builder.processes import Crew, crew_of
from darknet_builder.progress import Progress
from darknet_builder.resources import find_by_name
from darknet_builder.summary import align_columns

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
_COLUMNS = ("class", "name", "objects", "AP %", "TP", "FP", "FN", "precision", "recall", "F1", "IoU %")
_COCO_COLUMN = "COCO AP %"
_WORDS = ("name",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--data", required=True, metavar="FILE", help="the .data file")
    parser.add_argument("--split", default="valid", metavar="KEY", help="which of its lists (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    add_skip_bad_labels(parser)
    _add_model(parser.add_argument_group("model"))
    rules = parser.add_argument_group("rules")
    rules.add_argument("--points", type=int, choices=POINTS, default=0,
                       help="recalls at which a curve is read; 0: the area under it (default: %(default)s)")
    rules.add_argument("--iou", type=float, default=.5, metavar="P",
                       help="how much a box must overlap its object (default: %(default)s)")
    rules.add_argument("--confidence", type=float, default=.25, metavar="P",
                       help="above which boxes count for precision, recall and F1 (default: %(default)s)")
    rules.add_argument("--threshold", type=float, default=MAP_THRESHOLD, metavar="P",
                       help="above which boxes count at all (default: %(default)s)")
    rules.add_argument("--nms", type=float, default=MAP_NMS, metavar="P",
                       help="most overlap of two boxes of a class; 1: any (default: %(default)s)")
    rules.add_argument("--resize", choices=RESIZE_MODES, help="how images are fitted (default: the cfg's way)")
    rules.add_argument("--no-coco", action="store_true", help="Darknet's numbers alone")
    results = parser.add_argument_group("results")
    add_json(results, "all numbers of all classes")
    results.add_argument("--plot", metavar="FILE", help="precision-recall curves, as PNG, SVG or PDF")
    results.add_argument("--quiet", action="store_true", help="no progress and no table")


def _add_model(model: argparse._ArgumentGroup) -> None:
    add_model(model)
    model.add_argument("--names", metavar="FILE", help="class names, instead of those of --data")
    add_input_size(model)
    add_dialect(model)
    add_device(model)
    add_batch(model)
    add_speed_options(model)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Evaluate."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it would tell of a broken file is said here
    _check_options(args)
    take_model(args)
    check_weights(args.cfg, args.weights)
    data = DataFile.read(args.data)
    if args.names is not None:
        read_names(args.names)  # or it says what is wrong with them
        data = data.having("names", str(find_by_name(args.names, ".names").absolute()))
    with crew_of(args.device) as crew:
        return _evaluate(args, data, crew, out)


def _evaluate(args: argparse.Namespace, data: DataFile, crew: Crew, out: TextIO) -> int:
    network = build_unloaded(args.cfg, args.weights, width=args.width, height=args.height, dialect=args.dialect)
    detector = Detector(network, threshold=args.threshold, nms=args.nms, resize=args.resize, device=crew.device,
                        batch=args.batch)
    task = _Task.plan(args, data, detector)
    load_into(network, args.cfg, args.weights)  # not before the labels are known to fit
    runner = network.optimized(args.precision, args.backend, args.batch)
    quiet = args.quiet or args.json == STDOUT or not crew.leads
    with Progress(len(crew.share(task.images)), "images", quiet=quiet, out=out) as progress:
        if line := describe_choice(args, runner):
            progress.say(line)
        report = task.run(runner, progress, crew)
        if report is None:
            return 0
        write_json(args.json, report.to_dict(args), out)
        if args.plot is not None:
            plot_curves(report.darknet, args.plot, f"{Path(args.data).stem}, IoU {args.iou:g}")
        for line in report.lines():
            progress.say(line)
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """What would otherwise be found out after the work."""
    for name in ("iou", "confidence"):
        if not 0 <= getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name):g}: expected a number from 0 to below 1")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit {args.limit}: expected 1 or more images")
    if args.plot is not None:
        check_plot(args.plot)
    check_folder(args.json)


# ---- the work -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Report:
    """All results.

    Attributes:
        images: with their labels.
        darknet: what ``detector map`` says.
        coco: COCO's numbers, where they were asked for and could be computed.
        seconds: that the network took, images read included.
    """

    images: ImageSet
    darknet: MapResult
    coco: CocoResult | None
    seconds: float

    def to_dict(self, args: argparse.Namespace) -> dict[str, Any]:
        """Fit for JSON."""
        options = {name: getattr(args, name) for name in ("data", "split", "cfg", "weights", "threshold", "nms")}
        darknet = self.darknet.to_dict()
        if self.coco is not None:
            for row, value in zip(darknet["classes"], self.coco.classes, strict=True):
                row["coco_ap"] = value
        return {**options, "skipped_labels": self.images.skipped_labels,
                "images_without_labels": self.images.num_unlabelled, "darknet": darknet,
                "coco": None if self.coco is None else self.coco.to_dict()}

    def lines(self) -> list[str]:
        """The table, and what stands under it."""
        result = self.darknet
        shown = [row for row in result.classes if row.counts.truths or row.counts.false_positives]
        rows = [(str(row.class_id), row.name, *_cells(row.counts, row.average_precision)) for row in shown]
        rows.append(("", "all", *_cells(result.counts, result.mean_average_precision)))
        columns: tuple[str, ...] = _COLUMNS
        if self.coco is not None:
            values = [*(self.coco.classes[row.class_id] for row in shown), self.coco.ap]
            rows = [(*cells, _percent(value)) for cells, value in zip(rows, values, strict=True)]
            columns = (*_COLUMNS, _COCO_COLUMN)
        return [*align_columns([columns, *rows], _WORDS), *self._means(len(result.classes) - len(shown)),
                *self._coco_lines(), self._images_line()]

    def _means(self, hidden: int) -> list[str]:
        result = self.darknet
        curve = f"{result.points} points" if result.points else "area under the curve"
        present = len(result.present)
        mean = (f"mAP@{result.iou:g} = {_percent(result.mean_average_precision)} % over all {len(result.classes)} "
                f"classes ({curve}), {_percent(result.mean_over_present)} % over the {present} that occur; "
                f"TP to IoU are at confidence {result.confidence:g}")
        if not hidden:
            return [mean]
        return [f"{hidden} more classes: no objects, and no boxes above the confidence {result.confidence:g}; "
                "their AP counts as 0", mean]

    def _coco_lines(self) -> list[str]:
        if self.coco is None:
            return []
        values = {name: _percent(value) for name, value in self.coco.to_dict().items()}
        return ["COCO: AP {ap}, AP50 {ap50}, AP75 {ap75}, small {ap_small}, medium {ap_medium}, large {ap_large}; "
                "AR1 {ar1}, AR10 {ar10}, AR100 {ar100}, small {ar_small}, medium {ar_medium}, large {ar_large} %"
                .format(**values)]

    def _images_line(self) -> str:
        images = self.images
        parts = [f"{len(images)} images, {images.num_boxes} objects; {len(images) / max(self.seconds, 1e-9):.1f} "
                 "images/s"]
        if images.num_unlabelled:
            parts.append(f"{images.num_unlabelled} images have no label file")
        if images.skipped_labels:
            parts.append(f"{images.skipped_labels} bad labels skipped")
        return "; ".join(parts)


@dataclass(frozen=True)
class _Task:
    """What is to be evaluated, all of it checked."""

    args: argparse.Namespace
    detector: Detector
    names: tuple[str, ...]
    images: ImageSet
    difficult: ImageSet | None

    @classmethod
    def plan(cls, args: argparse.Namespace, data: DataFile, detector: Detector) -> _Task:
        """Read the labels, and see that classes and names agree."""
        names = _agreed_names(data, detector)
        load = {"classes": len(names), "skip_bad_labels": args.skip_bad_labels, "limit": args.limit}
        images = data.load(args.split, **load)
        return cls(args, detector, names, images, data.load("difficult", **load) if data.has("difficult") else None)

    def run(self, runner: OptimizedNetwork, progress: Progress, crew: Crew) -> _Report | None:
        """Find boxes in this process's share of the images; the leader counts, the others have no report."""
        args, detector = self.args, self.detector
        if share := crew.share(self.images):
            # Engines compute their first images otherwise than the later ones, in the last digits.
            runner.warm_up(min(detector.batch, len(share)))
        coco = crew.leads and not args.no_coco and _has_pycocotools(progress)
        found: list[ImageBoxes] = []
        started = time.perf_counter()
        difficult = None if self.difficult is None else crew.share(self.difficult)
        for boxes in find_boxes(detector.network, share, difficult=difficult, nms=detector.nms,
                                threshold=detector.threshold, resize=detector.resize, batch=detector.batch,
                                runner=runner):
            found.append(boxes)
            progress.advance()
        found = crew.gather(found)
        seconds = time.perf_counter() - started
        if not crew.leads:
            return None
        result = mean_average_precision(found, self.names, iou=args.iou, points=args.points,
                                        confidence=args.confidence)
        return _Report(self.images, result, coco_average_precision(found, self.names) if coco else None, seconds)


def _agreed_names(data: DataFile, detector: Detector) -> tuple[str, ...]:
    """A name for each class that the network reports.

    Raises:
        DataError: located, where data, names and network disagree.
    """
    head, names, class_map = detector.network.heads[-1], data.names, data.class_map
    if class_map is not None:
        _report_by_map(data, detector, class_map)
        if names is not None and len(names) == head.classes:
            names = tuple(names[number] for number in class_map)
        elif names is not None and len(names) != len(class_map):
            raise data.error(f"{len(names)} names, but the network has {head.classes} classes, of which map= names "
                             f"{len(class_map)}", "names")
    elif data.classes != head.classes:
        key, count = ("classes", "") if "classes" in data.options else ("names", f"{data.classes} names, ")
        raise data.error(f"{count}but the network has {head.classes} classes (classes= in the cfg)", key)
    return names or tuple(f"class {index}" for index in range(head.reported_classes))


def _report_by_map(data: DataFile, detector: Detector, class_map: Sequence[int]) -> None:
    for head in detector.network.heads:
        if not isinstance(head, Region) or head.tree is None:
            raise data.error("goes with a network whose [region] has tree=, which this one is not", "map")
        if max(class_map) >= head.classes:
            raise data.error(f"names class {max(class_map)}, but the network has {head.classes}", "map")
        head.report_map = list(class_map)


def _has_pycocotools(progress: Progress) -> bool:
    try:
        load_pycocotools()
    except MissingExtraError as error:
        progress.complain(f"COCO's numbers are left out: {error}")
        return False
    return True


# ---- text ---------------------------------------------------------------------------------------------


def _cells(counts: Any, average_precision: float) -> tuple[str, ...]:
    return (str(counts.truths), _percent(average_precision), str(counts.true_positives), str(counts.false_positives),
            str(counts.false_negatives), f"{counts.precision:.2f}", f"{counts.recall:.2f}", f"{counts.f1:.2f}",
            _percent(counts.average_iou))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
