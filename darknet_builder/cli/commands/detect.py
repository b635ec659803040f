"""Find objects in photographs and videos: ``darknet-builder detect``.

It writes pictures with boxes, COCO JSON, label files and CSV.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import (
    add_batch,
    add_device,
    add_dialect,
    add_input_size,
    add_json,
    add_max_pixels,
    add_speed_options,
)
from darknet_builder.cli.model import check_weights, describe_choice
from darknet_builder.cli.output import STDOUT, check_answer, check_page
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import InputError
from darknet_builder.images.fits import RESIZE_MODES
from darknet_builder.support.bundled import default_model

if TYPE_CHECKING:
    from darknet_builder.prediction.detector import Detector

HELP = (
    "find objects in images, folders, globs and videos; draw them, save them as JSON, labels or CSV"
)
EXAMPLES = """\
SOURCE is an image, a video, a folder (its images and videos, without subfolders) or a quoted glob ('shots/**/*.jpg').

What is written into --output: the pictures under their own names (JPEG stays JPEG, all else becomes PNG, videos MP4
without sound); --save-json: detections.json; --save-csv: detections.csv; --save-txt: labels/NAME.txt, or
labels/NAME_FRAME.txt for each frame of a video. Two sources of one name become NAME and NAME-2. --report is a page for
a browser, with the pictures in it (of a video every 25th frame) and a slider for the threshold.

The exit status is 0, or 1 where a SOURCE could not be read (the others are done), or 2 for a mistake in the command.

examples:
  darknet-builder detect photo.jpg --cfg yolov4.cfg --weights yolov4.weights --names coco.names
  darknet-builder detect holiday/ --cfg my.cfg --weights my.weights --names my.names --save-json --save-csv
  darknet-builder detect photo.jpg --no-images --json
  darknet-builder detect holiday/ --threshold 0.1 --report holiday.html --no-images
  darknet-builder detect clip.mp4 --cfg my.cfg --weights my.weights --names my.names --device cuda --batch 8
"""
DEFAULT_CFG, DEFAULT_WEIGHTS, DEFAULT_NAMES = default_model()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "source", nargs="+", metavar="SOURCE", help="image, video, folder or quoted glob"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--cfg",
        metavar="FILE",
        help=(
            "the network (default: the bundled one); a .safetensors or .pt "
            "file of 'export' brings its weights and names"
        ),
    )
    model.add_argument("--weights", metavar="FILE", help="its weights (default: the bundled ones)")
    model.add_argument(
        "--names", metavar="FILE", help="class names, one a line (default: class 0, class 1, ...)"
    )
    add_input_size(model)
    add_dialect(model)
    add_device(model)
    add_max_pixels(model)
    add_batch(model)
    add_speed_options(model)
    _add_rules(parser)
    _add_results(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the thresholds and the fit."""
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--threshold",
        type=float,
        default=0.25,
        metavar="P",
        help="least probability of an object (default: %(default)s)",
    )
    rules.add_argument(
        "--nms",
        type=float,
        default=0.45,
        metavar="P",
        help="most overlap of two objects of a class; 1: any (default: %(default)s)",
    )
    rules.add_argument(
        "--resize", choices=RESIZE_MODES, help="how images are fitted (default: the cfg's way)"
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Add the options of the output."""
    results = parser.add_argument_group("results")
    results.add_argument(
        "--output", default="output", metavar="DIR", help="where to (default: %(default)s)"
    )
    add_json(results, "all objects, image by image,")
    results.add_argument("--save-json", action="store_true", help="all objects in COCO's format")
    results.add_argument(
        "--save-txt", action="store_true", help="a Darknet label file for each image"
    )
    results.add_argument("--save-csv", action="store_true", help="all objects as a table")
    results.add_argument(
        "--report", metavar="FILE", help="a page (.html): gallery, counts, threshold slider"
    )
    results.add_argument("--no-images", action="store_true", help="draw no pictures and videos")
    results.add_argument(
        "--quiet", action="store_true", help="no progress, no list and no summary: only mistakes"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Detect in every source; returns 0, or 1 where some could not be read."""
    from darknet_builder.cli.detection_job import DetectionJob
    from darknet_builder.cli.detection_outputs import Outputs
    from darknet_builder.images.opencv import load_opencv
    from darknet_builder.images.sources import find_sources
    from darknet_builder.support.distributed import init_processes

    load_opencv()
    check_answer(args.json)
    outputs = Outputs(
        Path(args.output),
        not args.no_images,
        args.save_txt,
        args.save_json,
        args.save_csv,
        Path(args.report) if args.report else None,
        args.json,
    )
    sources = find_sources(args.source)
    check_page(args.report, [*sources, args.cfg, args.weights, args.names])
    targets = outputs.plan(sources)
    with init_processes(args.device) as group:
        detector = make_detector(args, group.device)
        outputs.make_folders()
        share = group.shard(targets)
        quiet = args.quiet or args.json == STDOUT or not group.is_main
        with Progress(len(share), "image", quiet=quiet, out=out) as progress:
            if line := describe_choice(args, detector.runner):
                progress.say(line)
            options = {name: getattr(args, name) for name in ("cfg", "weights", "threshold", "nms")}
            return DetectionJob(detector, outputs, progress, group, out, options).run(share)


def make_detector(args: argparse.Namespace, device: str) -> Detector:
    """The network that the options name, or the bundled one where they name none.

    Raises:
        InputError: saying which option to give.
    """
    cfg, weights, names = args.cfg, args.weights, args.names
    if cfg is None and weights is None and DEFAULT_CFG.exists() and DEFAULT_WEIGHTS.exists():
        cfg, weights, names = DEFAULT_CFG, DEFAULT_WEIGHTS, names or DEFAULT_NAMES
    if cfg is None:
        raise InputError(
            "which network? give --cfg FILE, --weights FILE and, for the classes' names, --names"
            " FILE"
        )
    check_weights(cfg, weights)
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
    )
