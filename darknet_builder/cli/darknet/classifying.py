"""``classifier predict`` and ``classifier valid``: the classes of images."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from darknet_builder.cli.darknet.detecting import image_paths
from darknet_builder.cli.darknet.model import announce, choose_device
from darknet_builder.cli.darknet.request import Request
from darknet_builder.data.class_lists import class_labels, load_classed_images
from darknet_builder.data.data_file import DataFile
from darknet_builder.errors import ImageError
from darknet_builder.prediction.classifier import Classifier, ClassScore

_TOP = "1"
"""Number of classes to print without ``top=`` and ``-t`` (classifier.c:850)."""


def run_predict(request: Request, out: TextIO) -> int:
    """Classify an image, or those listed on standard input; return the exit status."""
    data = DataFile.read(request.words[0])
    classifier = _make_classifier(request, data, out)
    num_classes = len(classifier.names)
    out.write(f" classes = {num_classes}, output in cfg = {num_classes} \n")
    image = request.word(3)
    if image is not None:
        _predict(classifier, image, out)
        return 0
    failures = 0
    for path in image_paths(out):
        try:
            _predict(classifier, path, out)
        except ImageError as error:
            failures += 1
            sys.stderr.write(f"Cannot load image: {error}\n")
    return 1 if failures else 0


def run_valid(request: Request, out: TextIO) -> int:
    """Print top-1 and top-k accuracy after each image of the list."""
    data = DataFile.read(request.words[0])
    images = load_classed_images(data.locate("valid"), class_labels(data))
    classifier = _make_classifier(request, data, out)
    out.write(" TOP calculation...\n")
    first = among = 0
    for index, image in enumerate(images.images):
        best = [score.class_id for score in classifier(image.path)]
        first += best[0] == image.class_id
        among += image.class_id in best
        share, top_share = first / (index + 1), among / (index + 1)
        out.write(f"\n{index}: top 1: {share:f}, top {classifier.top}: {top_share:f}")
        out.flush()
    return 0


def _make_classifier(request: Request, data: DataFile, out: TextIO) -> Classifier:
    cfg, weights = request.words[1:3]
    key = "names" if data.has("names") else "labels"
    names = data.file(key)
    top = request.value("-t", 0) or (data.top if data.has("top") else int(_TOP))
    device = choose_device(request, out)
    classifier = Classifier(cfg, weights, names, top=top, device=device)
    announce(classifier.network, out)
    return classifier


def _predict(classifier: Classifier, path: str, out: TextIO) -> None:
    x = classifier.prepare(path)
    out.write(f"{x.shape[2]} {x.shape[1]}\n")  # (C, height, width)
    started = time.perf_counter()
    (scores,) = classifier.rank(x[None])
    milliseconds = 1000 * (time.perf_counter() - started)
    out.write(f"{path}: Predicted in {milliseconds:f} milli-seconds.\n")
    out.writelines(map(_score_line, scores))
    out.flush()


def _score_line(row: ClassScore) -> str:
    if row.parent is None:
        return f"{row.name}: {row.score:f}\n"
    return f"{row.class_id}, {row.name}: {row.score:f}, parent: {row.parent} \n"
