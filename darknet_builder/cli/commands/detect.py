"""Find objects in images and videos: ``darknet-builder detect``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import add_json, add_report
from darknet_builder.cli.detection.detector import add_detector, make_detector
from darknet_builder.cli.detection.heatmap import HeatmapOutput, add_heatmap
from darknet_builder.cli.detection.options import (
    add_frame_options,
    add_hiding_options,
    add_object_options,
    add_track_options,
)
from darknet_builder.cli.detection.tile_options import add_tile_options, tile_arguments
from darknet_builder.cli.model import MODEL_OPTIONS, describe_choice, refuse_model_files, take_named
from darknet_builder.cli.output import STDOUT, check_answer, find_page
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import InputError

if TYPE_CHECKING:
    from darknet_builder.cli.detection.outputs import Outputs
    from darknet_builder.images.sources.finding import Source

HELP = "find objects in images and videos; write pictures, JSON, label files or CSV"
EXAMPLES = """\
SOURCE is an image, a video, a folder (its images and videos, without subfolders) or a quoted glob
('shots/**/*.jpg'); an http(s) address of an image; an rtsp or http(s) address of a stream; the
number of a webcam; @FILE, a list with one path a line; or -, such a list on standard input. With
the extra 'remote', images, lists, folders ending in / and quoted patterns may be in an object store
(s3://, gs://, az://) or an archive (zip://a.jpg::photos.zip, 'tar://*.jpg::photos.tar').
A source that cannot be read is reported and skipped. Of webcams and streams, always the newest
frame is processed; Ctrl-C ends them.

Files in the --output folder:
  NAME.jpg, NAME.png     annotated pictures: JPEG for JPEG sources, PNG for all others
  NAME.mp4               annotated videos, without sound
  detections.json, .csv  all objects, with --save-json and --save-csv
  detections.jsonl       all objects, one line of JSON an image or frame, with --save-jsonl
  counts.csv             number of objects of each image and class, with --count
  lines.csv              number of objects that crossed each line, with --count and --line
  labels/NAME.txt        label files, with --save-txt; labels/NAME_FRAME.txt for video frames
  DIR/part-0000000.jsonl all objects of the images of a list, one line an image, with --shards DIR
  heatmaps/NAME.jpg, .png
                         where the scores came from, with --heatmap
  report.html            gallery with a confidence slider, with --report; shows every 25th frame
                         of a video
If two sources have the same name, the files of the second one are called NAME-2.

examples:
  darknet-builder detect photo.jpg --model yolov4-tiny --download
  darknet-builder detect photo.jpg --cfg yolov4.cfg --weights yolov4.weights --names coco.names
  darknet-builder detect photo.jpg --no-images --json
  darknet-builder detect holiday/ --threshold 0.1 --report holiday.html --no-images
  darknet-builder detect holiday/ --cfg my.cfg --weights my.weights --names my.names \\
      --save-json --save-csv
  darknet-builder detect aerial.jpg --model yolov4-tiny --tile 640 --batch 8
  darknet-builder detect clip.mp4 --cfg my.cfg --weights my.weights --names my.names \\
      --device cuda --batch 8
  darknet-builder detect rtsp://camera/1 --show --no-images --every 5 --save-jsonl
  darknet-builder detect street.mp4 --classes person,car --blur face --save-crops crops
  darknet-builder detect street.mp4 --threshold 0.1 --track --line 0,240,640,240
  find . -name '*.jpg' | darknet-builder detect - --no-images --count
  darknet-builder detect @million.txt --model yolov4-tiny --shards found --resume
"""
OPTIONS = {**MODEL_OPTIONS, "layer": "--heatmap"}
"""Hints that are shown for a wrong library argument, by argument."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="image, video, folder, quoted glob, address, webcam number, @LIST or -",
    )
    add_object_options(add_detector(parser))
    add_tile_options(parser.add_argument_group("tiles for large images"))
    add_frame_options(parser.add_argument_group("videos, webcams and streams"))
    add_track_options(parser.add_argument_group("tracking"))
    _add_results(parser)


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Add the options of the output."""
    results = parser.add_argument_group("output")
    results.add_argument(
        "--output", default="output", metavar="DIR", help="output folder (default: %(default)s)"
    )
    add_json(results, "all objects of each image")
    results.add_argument(
        "--save-json", action="store_true", help="write all objects as COCO JSON: detections.json"
    )
    results.add_argument(
        "--save-txt", action="store_true", help="write a Darknet label file for each image"
    )
    results.add_argument(
        "--save-csv", action="store_true", help="write all objects as a table: detections.csv"
    )
    results.add_argument(
        "--save-jsonl",
        action="store_true",
        help="write the objects of each image or frame at once, as a line of JSON:"
        " detections.jsonl",
    )
    results.add_argument(
        "--count",
        action="store_true",
        help="write the number of objects of each image and class as a table: counts.csv",
    )
    results.add_argument(
        "--save-crops", metavar="DIR", help="write a picture of each object to this folder"
    )
    _add_shards(results)
    add_hiding_options(results)
    add_heatmap(results)
    add_report(results, "a gallery, counts and a confidence slider")
    results.add_argument(
        "--no-images", action="store_true", help="do not write annotated pictures and videos"
    )
    results.add_argument(
        "--quiet", action="store_true", help="show errors only: no progress, no list, no summary"
    )


def _add_shards(results: argparse._ActionsContainer) -> None:
    """Add the options for lists that do not fit into memory."""
    results.add_argument(
        "--shards",
        metavar="DIR",
        help="write a line of JSON for each image of one @LIST, which may be too long for the"
        " memory, to files of this folder, and nothing else; see --resume",
    )
    results.add_argument(
        "--resume",
        action="store_true",
        help="with --shards: go on with what is not done; starts if the folder is empty",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Detect objects in every source; return 1 if a source could not be read, else 0."""
    from darknet_builder.images.opencv import load_opencv

    refuse_model_files(args.source)
    load_opencv()
    if args.shards is not None:
        from darknet_builder.cli.detection.shards import check_shards, run_shards

        return run_shards(args, check_shards(args), out)
    if args.resume:
        raise InputError("--resume needs --shards DIR")
    return _run(args, out)


def _run(args: argparse.Namespace, out: TextIO) -> int:
    """Do what ``run`` does, without ``--shards``."""
    from darknet_builder.cli.detection.job import DetectionJob
    from darknet_builder.cli.detection.rules import DetectionRules, TrackRules
    from darknet_builder.cli.detection.sources import find_all
    from darknet_builder.images.sources.live import LiveSource
    from darknet_builder.images.window import Window, check_window
    from darknet_builder.support.distributed import init_processes

    check_answer(args.json)
    if args.show:
        check_window()
    open_live = partial(LiveSource, timeout=args.timeout, reconnects=args.reconnect)
    sources = find_all(args.source, open_live)
    tracks = TrackRules.from_options(args, sources)
    names = take_named(args, needs_names=args.names is None)
    args.names = args.names or names
    outputs = make_outputs(args, sources)
    targets = outputs.plan(sources)
    with init_processes(args.device) as group:
        detector = make_detector(args, group.device, tile_arguments(args))
        rules = DetectionRules.from_options(args, detector.names, tracks)
        heatmaps = HeatmapOutput.plan(args, detector, targets)
        outputs.make_folders()
        share = group.shard(targets)
        quiet = args.quiet or args.json == STDOUT or not group.is_main
        with Progress(len(share), "image", quiet=quiet, out=out) as progress:
            if line := describe_choice(args, detector.runner):
                progress.say(line)
            options = {name: getattr(args, name) for name in ("cfg", "weights", "threshold", "nms")}
            window = Window("darknet-builder") if args.show else None
            job = DetectionJob(
                detector, outputs, progress, group, out, options, rules, window, heatmaps
            )
            return job.run(share)


def make_outputs(args: argparse.Namespace, sources: Sequence[Source]) -> Outputs:
    """Return the files that the options ask for.

    Args:
        args: the parsed arguments of the command.
        sources: what the command reads; the page of ``--report`` must not replace it.

    Raises:
        InputError: if it would.
    """
    from darknet_builder.cli.detection.outputs import Outputs

    files = [source for source in sources if isinstance(source, Path)]
    return Outputs(
        Path(args.output),
        not args.no_images,
        args.save_txt,
        args.save_json,
        args.save_csv,
        find_page(args.report, args.output, [*files, args.cfg, args.weights, args.names]),
        args.json,
        lines=args.save_jsonl,
        counts=args.count,
        crops=Path(args.save_crops) if args.save_crops else None,
    )
