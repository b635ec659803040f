"""Print the most likely classes of each image: ``darknet-builder classify``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from darknet_builder.cli.arguments import (
    IMAGE_OPTIONS,
    MODEL_HELP,
    NAMES_HELP,
    WEIGHTS_HELP,
    add_json,
    add_resize,
)
from darknet_builder.cli.model import (
    MODEL_OPTIONS,
    add_model_files,
    check_weights,
    describe_choice,
    refuse_model_files,
    take_named,
)
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.fits import FITS
from darknet_builder.support.text import one_line

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_builder.prediction.classifier import Classifier, ClassScore

HELP = "print the most likely classes of each image"
EXAMPLES = """\
SOURCE is an image, a folder (its images, without subfolders) or a quoted glob ('shots/**/*.jpg').

Images are prepared as 'darknet classifier predict' does: AlexeyAB's Darknet scales the shorter side
to the network input and crops the centre; pjreddie's (--dialect pjreddie) letterboxes the image.

If the network has a hierarchy of classes (tree=), a score is the probability of the class and all
its ancestors, and the parent class is shown in brackets.

An image that cannot be read is reported and skipped.

examples:
  darknet-builder classify dog.jpg --model darknet19
  darknet-builder classify dog.jpg --cfg darknet19.cfg --weights darknet19.weights \\
      --names imagenet
  darknet-builder classify photos/ --cfg my.cfg --weights my.weights --names my.names \\
      --top 1 --json classes.json
"""
OPTIONS = MODEL_OPTIONS
"""Hints that are shown for a wrong library argument, by argument."""


@dataclass
class _Result:
    """The classes of each image, and the number of files that could not be read."""

    found: list[tuple[Path, list[ClassScore]]] = field(default_factory=list)
    failures: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("source", nargs="+", metavar="SOURCE", help="image, folder or quoted glob")
    add_model_files(
        parser.add_argument_group("model"),
        MODEL_HELP,
        WEIGHTS_HELP,
        f"{NAMES_HELP} (default: those in the model file or of tree=, else class 0, ...)",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=5,
        metavar="N",
        help="number of classes shown for each image (default: %(default)s)",
    )
    add_resize(parser, FITS, "--fit")
    add_json(parser, "the classes of all images")
    parser.add_argument(
        "--quiet", action="store_true", help="show errors only: no progress and no classes"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Classify every source; return 1 if a source could not be read, else 0."""
    from darknet_builder.images.files import IMAGE_SUFFIXES
    from darknet_builder.images.opencv import load_opencv
    from darknet_builder.images.sources import find_sources

    refuse_model_files(args.source)
    load_opencv()
    check_answer(args.json)
    sources = [
        path
        for path in find_sources(args.source)
        if path.suffix.lower() in IMAGE_SUFFIXES or str(path) in args.source
    ]
    names = take_named(args, needs_names=args.names is None)
    args.names = args.names or names
    if args.cfg is None:
        raise InputError("no network given; give --model NAME, or --cfg FILE and --weights FILE")
    check_weights(args.cfg, args.weights, runs=True)
    classifier = _make_classifier(args)
    with Progress(
        len(sources), "image", quiet=args.quiet or args.json == STDOUT, out=out
    ) as progress:
        if line := describe_choice(args, classifier.runner):
            progress.say(line)
        result = _Result()
        try:
            _classify(classifier, sources, progress, result)
        finally:  # after Ctrl-C, too
            # Without a finished image, the file of an earlier run stays as it is.
            if result.found or args.json == STDOUT:
                write_json(args.json, _document(args, classifier, result), out)
    return 1 if result.failures else 0


def _document(args: argparse.Namespace, classifier: Classifier, result: _Result) -> dict[str, Any]:
    images = []
    for path, scores in result.found:
        images.append({"file": str(path), "classes": [row.to_dict() for row in scores]})
    return {
        "cfg": args.cfg,
        "weights": args.weights,
        "fit": classifier.fit,
        "not_readable": result.failures,
        "images": images,
    }


def _make_classifier(args: argparse.Namespace) -> Classifier:
    from darknet_builder.prediction.classifier import Classifier

    return Classifier(
        args.cfg,
        args.weights,
        args.names,
        top=args.top,
        fit=args.fit,
        width=args.width,
        height=args.height,
        dialect=args.dialect,
        device=args.device,
        batch=args.batch,
        precision=args.precision,
        backend=args.backend,
        calibrate=args.calibrate,
        calibration_images=args.calibration_images,
    )


def _classify(
    classifier: Classifier, sources: Sequence[Path], progress: Progress, result: _Result
) -> None:
    """Classify every source into ``result``."""
    import torch

    from darknet_builder.network.batch_memory import explaining_memory

    for start in range(0, len(sources), classifier.batch):
        inputs: list[tuple[Path, Tensor]] = []
        for path in sources[start : start + classifier.batch]:
            try:
                inputs.append((path, classifier.prepare(path)))
            except ImageError as error:
                result.failures += 1
                text = error.describe(IMAGE_OPTIONS.get)
                name = one_line(path)
                progress.complain(
                    f"skipped: {text if text.startswith(name) else f'{name}: {text}'}"
                )
            progress.advance()
        if not inputs:
            continue
        with explaining_memory(classifier.network, len(inputs)):
            ranked = classifier.rank(torch.stack([x for _, x in inputs]))
        for (path, _), scores in zip(inputs, ranked, strict=True):
            result.found.append((path, scores))
            progress.say("\n".join([one_line(path), *map(_line, scores)]))


def _line(row: ClassScore) -> str:
    parent = f"  ({row.parent})" if row.parent is not None else ""
    return f"{row.score:9.4f}  {row.name}{parent}"
