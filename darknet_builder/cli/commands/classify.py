"""``darknet-builder classify``: photographs in, the likeliest classes of each out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from darknet_builder.cli.arguments import (
    IMAGE_OPTIONS,
    MODEL_HELP,
    WEIGHTS_HELP,
    add_batch,
    add_device,
    add_dialect,
    add_input_size,
    add_json,
    add_max_pixels,
    add_speed_options,
)
from darknet_builder.cli.model import check_weights, describe_choice
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import ImageError
from darknet_builder.images.fits import FITS

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_builder.prediction.classifier import Classifier, ClassScore

HELP = "name what is in images: the likeliest classes of a classifier"
EXAMPLES = """\
SOURCE is an image, a folder (its images, without subfolders) or a quoted glob ('shots/**/*.jpg').

As 'darknet classifier predict' does, the middle of each image is taken, its shorter side as long as the network's input
is wide; pjreddie's Darknet (--dialect pjreddie) letterboxes the whole image instead. Where the network has a hierarchy
of classes (tree=), each score is that of the whole path, and the class above stands behind the name.

The exit status is 0, or 1 where a SOURCE could not be read (the others are done), or 2 for a mistake in the command.

examples:
  darknet-builder classify dog.jpg --cfg darknet19.cfg --weights darknet19.weights --names imagenet.shortnames.list
  darknet-builder classify photos/ --cfg my.cfg --weights my.weights --names my.names --top 1 --json classes.json
"""


@dataclass
class _Result:
    """The classes of each image, and the number of files that could not be read."""

    found: list[tuple[Path, list[ClassScore]]] = field(default_factory=list)
    failures: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("source", nargs="+", metavar="SOURCE", help="image, folder or quoted glob")
    model = parser.add_argument_group("model")
    model.add_argument("--cfg", required=True, metavar="FILE", help=MODEL_HELP)
    model.add_argument("--weights", metavar="FILE", help=WEIGHTS_HELP)
    model.add_argument(
        "--names",
        metavar="FILE",
        help="class names, one a line (default: the file's or the tree's own, or class 0, ...)",
    )
    add_input_size(model)
    add_dialect(model)
    add_device(model)
    add_max_pixels(model)
    add_batch(model)
    add_speed_options(model)
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="classes an image (default: %(default)s)"
    )
    parser.add_argument(
        "--fit", choices=FITS, help="how images are fitted (default: the dialect's way)"
    )
    add_json(parser, "the classes")
    parser.add_argument(
        "--quiet", action="store_true", help="no progress and no list: only mistakes"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Classify every source; returns 0, or 1 where some could not be read."""
    from darknet_builder.images.files import IMAGE_SUFFIXES
    from darknet_builder.images.opencv import load_opencv
    from darknet_builder.images.sources import find_sources

    load_opencv()
    check_answer(args.json)
    check_weights(args.cfg, args.weights)
    sources = [
        path
        for path in find_sources(args.source)
        if path.suffix.lower() in IMAGE_SUFFIXES or str(path) in args.source
    ]
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
    )


def _classify(
    classifier: Classifier, sources: Sequence[Path], progress: Progress, result: _Result
) -> None:
    """Classify every source into ``result``."""
    import torch

    for start in range(0, len(sources), classifier.batch):
        inputs: list[tuple[Path, Tensor]] = []
        for path in sources[start : start + classifier.batch]:
            try:
                inputs.append((path, classifier.prepare(path)))
            except ImageError as error:
                result.failures += 1
                text = error.describe(IMAGE_OPTIONS.get)
                progress.complain(
                    f"skipped: {text if text.startswith(str(path)) else f'{path}: {text}'}"
                )
            progress.advance()
        if not inputs:
            continue
        for (path, _), scores in zip(
            inputs, classifier.rank(torch.stack([x for _, x in inputs])), strict=True
        ):
            result.found.append((path, scores))
            progress.say("\n".join([str(path), *map(_line, scores)]))


def _line(row: ClassScore) -> str:
    above = f"  ({row.parent})" if row.parent is not None else ""
    return f"{row.score:9.4f}  {row.name}{above}"
