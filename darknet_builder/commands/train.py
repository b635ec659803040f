"""``darknet-builder train``: train as Darknet does, with checkpoints from which it goes on exactly."""

from __future__ import annotations

import argparse
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from darknet_builder.arguments import add_device, add_dialect, add_precision, add_seed, add_skip_bad_labels
from darknet_builder.augmentation import Sample
from darknet_builder.average_precision import mean_average_precision
from darknet_builder.cfg_files import read_cfg
from darknet_builder.classification import accuracies
from darknet_builder.classifiers import count_classes
from darknet_builder.classifier_data import ClassedImages, class_labels, load_classed_images
from darknet_builder.datasets import DataFile, ImageSet
from darknet_builder.errors import CfgWarning, DataError, InputError
from darknet_builder.evaluation import find_boxes
from darknet_builder.drawing import class_color
from darknet_builder.images import load_opencv, write_image
from darknet_builder.initialization import InitRule, initialize
from darknet_builder.model_arguments import add_model, check_weights, take_model
from darknet_builder.network import Network, build_network
from darknet_builder.parameter_groups import RatePattern
from darknet_builder.processes import Crew, crew_of
from darknet_builder.run_log import short_name
from darknet_builder.schedules import check_burn_in
from darknet_builder.training import Outcome, Score, Trainer, sample_rule
from darknet_builder.training_data import LabelledImages, ListedImages, StepPlan, TrainingSamples
from darknet_builder.training_settings import LEAST, PRECISIONS, TrainSettings, check_trainable
from darknet_builder.weights import load_weights

HELP = "train a detector or a classifier on a Darknet data set"
EXAMPLES = """\
Everything goes into --output: NAME_last.weights every 100 steps, NAME_best.weights by mAP on the validation list,
NAME_1000.weights and so on (each 10000 from max_batches=10000 on), NAME_final.weights; checkpoints (the last three and
the best), log.jsonl, chart.png, curves for tensorboard --logdir. NAME is the cfg's. After Ctrl-C or a crash --resume
goes on from the last checkpoint, to the same numbers as if nothing had happened.

--weights with --until N takes only the layers before N, as darknet partial does (yolov4.conv.137 is such a cut-off);
training starts at step 0 in any case.

--init METHOD draws the weights otherwise than Darknet: kaiming, xavier, normal:MEAN,STD; with SECTION=METHOD only those
of a kind of section. --init prior:0.01 lets every place begin with that objectness: a head start from random weights.
--lr PATTERN=FACTOR multiplies the rate of the parameters of that name; 0 holds them still.

A network that ends in [softmax] or [cost] is a classifier: an image is of the class whose label (labels=, or names=)
stands in its line of the list, and top-1 takes the place of mAP.

torchrun --nproc-per-node N scripts/train.py ... trains with N processes, on one machine or several: the batch is the
cfg's, shared out evenly, and the rate stays as it is.

examples:
  darknet-builder train --data my.data --cfg my.cfg --output runs/first
  darknet-builder train --data my.data --cfg my.cfg --weights yolov4-tiny.weights --until 29 --output runs/tuned
  darknet-builder train --data my.data --cfg my.cfg --output runs/first --resume
  darknet-builder train --data my.data --cfg my.cfg --output runs/slow --lr 'layers.[0-9].*=0.1' --lr '*.norm.*=0'
  darknet-builder train --data my.data --cfg my.cfg --show-samples samples.png
"""
_EVALUATION_BATCH = 8
_SAMPLE_COLUMNS, _SAMPLE_ROWS = 4, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--data", required=True, metavar="FILE", help="the .data file: classes, train, valid, names")
    add_model(parser, weights="to begin from (default: CFG's, if it holds them, or drawn as --init says)")
    parser.add_argument("--until", type=int, metavar="N", help="take only the layers before N from --weights")
    parser.add_argument("--output", metavar="DIR", help="where to; needed unless --show-samples")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --output")
    parser.add_argument("--overwrite", action="store_true", help="remove the training that is in --output")
    rules = parser.add_argument_group("training")
    rules.add_argument("--max-batches", type=int, metavar="N",
                       help="steps, instead of the cfg's max_batches=; steps= and burn_in= stay as they are")
    rules.add_argument("--init", action="append", default=[], metavar="[SECTION=]METHOD", help="see below")
    rules.add_argument("--lr", action="append", default=[], metavar="PATTERN=FACTOR", help="see below")
    rules.add_argument("--freeze-norms", action="store_true",
                       help="batch norms use their stored statistics, and nothing of them changes")
    add_seed(rules, "everything drawn")
    add_dialect(rules)
    add_skip_bad_labels(rules)
    machine = parser.add_argument_group("machine")
    add_device(machine)
    add_precision(machine, PRECISIONS, "float32")
    machine.add_argument("--workers", type=int, default=1, metavar="N",
                         help="processes that prepare images; 0: none (default: %(default)s)")
    machine.add_argument("--threads", type=int, metavar="N", help="of torch (default: as many as there are cores)")
    watching = parser.add_argument_group("watching")
    watching.add_argument("--eval-every", type=int, metavar="N",
                          help="steps between mAPs; 0: only at the end (default: four epochs, 100 or more)")
    watching.add_argument("--save-every", type=int, default=100, metavar="N",
                          help="steps between checkpoints (default: %(default)s)")
    watching.add_argument("--keep", type=int, default=3, metavar="N", help="checkpoints kept (default: %(default)s)")
    watching.add_argument("--show-samples", metavar="PNG", help="draw augmented samples with their boxes; no training")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Train; returns 0, or 130 after Ctrl-C."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for name in ("workers", "save_every", "keep", "eval_every"):
        _check_least(name, getattr(args, name), LEAST[name])
    if args.threads is not None:
        torch.set_num_threads(_check_least("threads", args.threads, 1))
    take_model(args)
    check_weights(args.cfg, args.weights, required=False)
    torch.manual_seed(args.seed)
    network = _make_network(args)
    data = DataFile.read(args.data)
    images, validate, known = _load_data(args, data, network)
    if args.show_samples:
        write_image(args.show_samples, sample_sheet(network, images, args.seed))
        out.write(f"{args.show_samples}: {_SAMPLE_COLUMNS * _SAMPLE_ROWS} samples\n")
        return 0
    if not args.output:
        raise InputError("where to? give --output DIR")
    with crew_of(args.device) as crew:
        return _train(args, network, images, validate, known, crew, out)


def _train(args: argparse.Namespace, network: Network, images: LabelledImages,
           validate: Validator | ClassValidator | None, known: str, crew: Crew, out: TextIO) -> int:
    """What the crew does together."""
    trainer = Trainer(network, images, _settings(args, crew.device), out=out, validate=validate, crew=crew)
    if crew.leads:
        out.write(known + "\n")
        if burn_in := check_burn_in(network.blocks[0], network.options.schedule):
            warnings.warn(burn_in, CfgWarning, stacklevel=1)
    outcome = trainer.run()
    score = short_name(validate.metric) if validate is not None else ""
    return _report(outcome, score, args, out if crew.leads else io.StringIO())


def _settings(args: argparse.Namespace, device: str) -> TrainSettings:
    return TrainSettings(output=Path(args.output), name=Path(args.cfg).stem, seed=args.seed, device=device,
                         precision=args.precision, workers=args.workers, eval_every=args.eval_every,
                         save_every=args.save_every, keep=args.keep,
                         rates=tuple(RatePattern.parse(text) for text in args.lr), resume=args.resume,
                         overwrite=args.overwrite, freeze_norms=args.freeze_norms)


def _report(outcome: Outcome, score: str, args: argparse.Namespace, out: TextIO) -> int:
    """What to say at the end, and the exit status."""
    if outcome.interrupted:
        out.write(f"stopped after step {outcome.finished}; the same command with --resume goes on from here\n")
        return 130
    scores = "" if outcome.last is None else f", {score} {outcome.last:.4f}, best {outcome.best:.4f}"
    out.write(f"{outcome.finished} steps done{scores}; weights in {args.output}\n")
    return 0


def _check_least(name: str, number: int, least: int) -> int:
    if number is not None and number < least:
        raise InputError(f"--{name.replace('_', '-')} {number}: expected {least} or more")
    return number


# ---- the network and its data -------------------------------------------------------------------------


def _make_network(args: argparse.Namespace) -> Network:
    source = read_cfg(args.cfg)
    blocks = source.blocks
    if args.max_batches is not None:
        blocks[0] = blocks[0].with_option("max_batches", str(_check_least("max_batches", args.max_batches, 1)))
    weights = args.weights if source.tensors is None else args.cfg
    if args.until is not None and weights is None:
        raise InputError(f"--until {args.until}: of which weights? give --weights FILE")
    network = build_network(blocks, dialect=args.dialect or source.dialect)
    initialize(network, [InitRule.parse(text) for text in args.init])
    if weights is not None:
        load_weights(network, weights, until=args.until)
    return network


def _load_data(args: argparse.Namespace, data: DataFile, network: Network
               ) -> tuple[LabelledImages, Validator | ClassValidator | None, str]:
    """What to learn from, what to judge by, and a line that says so."""
    check_trainable(network)
    if not network.heads:
        return _load_classes(data, network)
    network.names = tuple(data.names or ())  # for the checkpoints
    images = load_training(data, network, skip_bad=args.skip_bad_labels)
    known = f"{len(images)} images with {images.num_boxes} boxes to learn from"
    if not data.has("valid"):
        return ListedImages(images), None, f"{known}, no valid= list, so no mAP"
    validation = data.load("valid", skip_bad_labels=args.skip_bad_labels)
    return ListedImages(images), Validator(validation, data.names), f"{known}, {len(validation)} to validate on"


def _load_classes(data: DataFile, network: Network) -> tuple[ClassedImages, ClassValidator | None, str]:
    """The lists of a classifier, checked against the network.

    Raises:
        DataError: when its classes are not the network's.
    """
    labels, classes = class_labels(data), count_classes(network)
    if len(labels) != classes:
        raise data.error(f"there are {len(labels)} labels, but the network gives {classes} scores (filters= of its "
                         "last layer)", "classes")
    network.names = tuple(data.names or labels)
    images = load_classed_images(data.file("train"), labels)
    known = f"{len(images)} images of {len(labels)} classes to learn from"
    if not data.has("valid"):
        return images, None, f"{known}, no valid= list, so no top-1"
    validation = load_classed_images(data.file("valid"), labels)
    return images, ClassValidator(validation, data.top), f"{known}, {len(validation)} to validate on"


def load_training(data: DataFile, network: Network, *, skip_bad: bool) -> ImageSet:
    """The training list, checked against the network.

    Raises:
        DataError: when its classes are not the network's, or no image has a box.
    """
    classes = {head.classes for head in network.heads}
    if classes and classes != {data.classes}:
        raise data.error(f"but the network has {', '.join(map(str, sorted(classes)))} classes (classes= in its heads); "
                         "darknet-builder adapt-cfg makes a cfg for another number", "classes")
    images = data.load("train", skip_bad_labels=skip_bad)
    if not images.num_boxes:
        raise DataError(f"{images.path}: none of its {len(images)} images has a box: there is nothing to learn")
    return images


class Validator:
    """mAP on a list, as ``darknet detector map`` computes it."""

    metric = "map"

    def __init__(self, images: ImageSet, names: Sequence[str] | None) -> None:
        self.images = images
        self.names = names or [f"class {index}" for index in range(images.classes)]

    def __call__(self, network: Network) -> Score:
        """Score a network in eval mode."""
        resize = "letterbox" if network.options.letter_box else network.dialect.resize
        found = list(find_boxes(network, self.images, resize=resize, batch=_EVALUATION_BATCH))
        result = mean_average_precision(found, self.names)
        return Score(result.mean_average_precision, self.metric)


class ClassValidator:
    """How often the right class of a list is the likeliest, as ``darknet classifier valid`` counts it."""

    metric = "top1"

    def __init__(self, images: ClassedImages, top: int) -> None:
        self.images, self.top = images, top

    def __call__(self, network: Network) -> Score:
        """Score a network in eval mode."""
        top = min(self.top, len(self.images.labels))
        paths, class_ids = zip(*((image.path, image.class_id) for image in self.images.images), strict=True)
        first, among = accuracies(network, paths, class_ids, top=top, batch=_EVALUATION_BATCH)
        return Score(first, self.metric, {} if top == 1 else {f"top{top}": among})


# ---- a look at the samples ----------------------------------------------------------------------------


def sample_sheet(network: Network, images: LabelledImages, seed: int) -> np.ndarray:
    """The first samples that a training would see, with their boxes or classes: (H, W, 3) uint8."""
    rule = sample_rule(network)
    count = _SAMPLE_COLUMNS * _SAMPLE_ROWS
    plan = StepPlan(len(images), network, rule, seed=seed, first=0, last=count)
    samples = TrainingSamples(images, rule, seed)
    # The first sample of different steps, so that batches with and without mosaic are to be seen.
    tiles = [_with_boxes(samples[plan.draws(step)[0]][0], plan.size) for step in range(count)]
    rows = [np.hstack(tiles[start:start + _SAMPLE_COLUMNS]) for start in range(0, count, _SAMPLE_COLUMNS)]
    return np.vstack(rows)


def _with_boxes(sample: Sample, size: tuple[int, int]) -> np.ndarray:
    """A sample at the network's own size, whatever multi-scale made of it."""
    cv2 = load_opencv()
    image = np.ascontiguousarray(cv2.resize(sample.image, size))
    if sample.shares is not None:
        text = ", ".join(f"{class_id}: {share:.2f}" for class_id, share in enumerate(sample.shares) if share > .01)
        cv2.putText(image, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, .35, (255, 255, 255), 1, cv2.LINE_AA)
    for x, y, width, height, class_id in sample.boxes.tolist():
        corners = [(round((x + side * width / 2) * size[0]), round((y + side * height / 2) * size[1]))
                   for side in (-1, 1)]
        cv2.rectangle(image, *corners, class_color(int(class_id)), 1, cv2.LINE_AA)
    return image
