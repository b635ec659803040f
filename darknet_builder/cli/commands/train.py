"""Train a detector or a classifier as Darknet does: ``darknet-builder train``."""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import (
    WEIGHTS_HELP,
    add_device,
    add_dialect,
    add_label_rules,
    add_max_pixels,
    add_precision,
    add_seed,
    add_skip_bad_images,
    label_rules,
)
from darknet_builder.cli.model import add_model, check_weights, take_model
from darknet_builder.errors import CfgWarning, InputError, TruncatedImageWarning
from darknet_builder.support.text import plural
from darknet_builder.training.settings import LEAST, PRECISIONS, TrainSettings, check_processes

if TYPE_CHECKING:
    from darknet_builder.network.network import Network
    from darknet_builder.support.distributed import ProcessGroup
    from darknet_builder.training.datasets import TrainingLists
    from darknet_builder.training.log.outcome import Outcome

HELP = "train a detector or a classifier on a Darknet data set"
EXAMPLES = """\
Files in the --output folder; NAME is the name of the cfg file without its suffix:
  NAME_last.weights            written every --save-every steps
  NAME_best.weights            best mAP on the validation list so far
  NAME_1000.weights, ...       every 1000 steps; every 10000 if max_batches is 10000 or more
  NAME_final.weights           written at the end
  checkpoint_*.pt, best.pt     checkpoints: the last --keep ones, and the best one
  log.jsonl, chart.png         numbers of every step, and a chart of loss and mAP
  tensorboard/                 the same numbers: tensorboard --logdir DIR

Ctrl-C saves a checkpoint; SIGTERM does not. After Ctrl-C or a crash, repeat the command with
--resume: the result is exactly that of an uninterrupted training. --resume needs a checkpoint of
this program; --continue --weights FILE continues from the weights that Darknet trained.

Initial weights. --weights FILE --until N loads only the layers before N, as 'darknet partial' does;
yolov4.conv.137 is such a file. The training starts at step 0 unless --continue is given. All other
weights are random. METHOD of --init:
  darknet                      as Darknet (default)
  kaiming, xavier              Kaiming (He) or Xavier (Glorot) initialisation
  normal:MEAN,STD              normal distribution
  prior:P                      initial objectness P for every anchor box, for example prior:0.01:
                               speeds up the first steps of a training from random weights
SECTION=METHOD applies a method to one section type only.

--lr PATTERN=FACTOR multiplies the learning rate of the parameters whose PyTorch name matches the
glob PATTERN; 0 freezes them. 'darknet-builder dump CFG --what parameters' lists the names.

A network that ends in [softmax] or [cost] is trained as a classifier: the class of an image is the
label (from labels= or names= of the .data file) that occurs in its path, and top-1 accuracy
replaces mAP.

To train with N processes:
  torchrun --nproc-per-node N --no-python darknet-builder train ...
The batch size of the cfg is the total over all processes; the learning rate does not change.

examples:
  darknet-builder train --data my.data --cfg my.cfg --output runs/first
  darknet-builder train --data my.data --cfg my.cfg --output runs/first --resume
  darknet-builder train --data larger.data --cfg my.cfg --output runs/first --continue
  darknet-builder train --data my.data --cfg my.cfg --output runs/tuned \\
      --weights yolov4-tiny.weights --until 29
  darknet-builder train --data my.data --cfg my.cfg --output runs/slow \\
      --lr 'layers.[0-9].*=0.1' --lr '*.norm.*=0'
  darknet-builder train --data my.data --cfg my.cfg --show-samples samples.png
"""
OPTIONS = {"rule": "--init", "continue_run": "--continue"}
"""Options whose name differs from that of the library argument, by argument."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help=".data file with classes, train, valid and names",
    )
    add_model(
        parser,
        weights=f"{WEIGHTS_HELP}, to start from (default: those in CFG, or random weights)",
    )
    parser.add_argument(
        "--until", type=int, metavar="N", help="load only the layers before N from --weights"
    )
    _add_output(parser)
    _add_rules(parser)
    _add_machine(parser)
    _add_watching(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the result of the training."""
    rules = parser.add_argument_group("training")
    rules.add_argument(
        "--max-batches",
        type=int,
        metavar="N",
        help="number of training steps, instead of max_batches= in the cfg; steps= and burn_in= do"
        " not change",
    )
    rules.add_argument(
        "--init",
        action="append",
        default=[],
        metavar="[SECTION=]METHOD",
        help="initialisation of random weights, see below; can be given several times",
    )
    rules.add_argument(
        "--lr",
        action="append",
        default=[],
        metavar="PATTERN=FACTOR",
        help="learning rate factor of some parameters, see below; can be given several times",
    )
    rules.add_argument(
        "--freeze-norms",
        action="store_true",
        help="freeze the statistics, scales and biases of batch norms",
    )
    add_seed(rules, "initial weights, order of images and augmentation")
    add_dialect(rules)
    add_label_rules(rules)
    add_skip_bad_images(rules)
    add_max_pixels(rules)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the device, the precision and the numbers of processes and threads."""
    machine = parser.add_argument_group("hardware")
    add_device(machine)
    add_precision(
        machine,
        PRECISIONS,
        "float32",
        "numeric precision of the network; bfloat16 keeps weights and losses in float32",
    )
    machine.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="number of processes that prepare images; 0: prepare them between steps (default:"
        " %(default)s)",
    )
    machine.add_argument(
        "--threads", type=int, metavar="N", help="PyTorch threads (default: number of cores)"
    )


def _add_watching(parser: argparse.ArgumentParser) -> None:
    """Add the options of validation and checkpoints."""
    watching = parser.add_argument_group("validation and checkpoints")
    watching.add_argument(
        "--eval-every",
        type=int,
        metavar="N",
        help="steps between validations; 0: only at the end (default: four epochs, or two for"
        " classifiers, but at least 100 steps)",
    )
    watching.add_argument(
        "--save-every",
        type=int,
        default=100,
        metavar="N",
        help="steps between checkpoints (default: %(default)s)",
    )
    watching.add_argument(
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="number of checkpoints to keep (default: %(default)s)",
    )
    watching.add_argument(
        "--show-samples",
        metavar="PNG",
        help="draw augmented training samples with their boxes, and do not train",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Add the output folder, and what to do with a training that it already contains."""
    parser.add_argument(
        "--output", metavar="DIR", help="output folder; required except with --show-samples"
    )
    parser.add_argument(
        "--resume", action="store_true", help="resume from the last checkpoint in --output, exactly"
    )
    parser.add_argument(
        "--continue",
        action="store_true",
        dest="continue_run",
        help="resume with a changed cfg or data set from the last checkpoint in --output; without"
        " one, from the step recorded in --weights",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="delete an existing training in --output"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Train, or draw samples; return 0, or 130 after Ctrl-C."""
    for name in ("workers", "save_every", "keep", "eval_every"):
        _check_minimum(name, getattr(args, name), LEAST[name])
    import torch

    from darknet_builder.support.distributed import init_processes

    if args.threads is not None:
        check_processes("threads", _check_minimum("threads", args.threads, 1))
        torch.set_num_threads(args.threads)
    take_model(args)
    check_weights(args.cfg, args.weights, required=False)
    torch.manual_seed(args.seed)
    network = _make_network(args)
    if not args.show_samples:
        _check_training(args, network)  # before minutes are spent on the lists
    lists = _load_lists(args, network, out)
    if args.show_samples:
        return _show_samples(args, network, lists, out)
    with init_processes(args.device) as group:
        return _train(args, network, lists, group, out)


def _check_training(args: argparse.Namespace, network: Network) -> None:
    """Check all that can be known without the images."""
    from darknet_builder.support.devices import find_device
    from darknet_builder.training.checkpoints.output_files import check_output
    from darknet_builder.training.settings import check_settings

    if not args.output:
        raise InputError("no output folder given; give --output DIR")
    find_device(args.device)
    settings = _settings(args, args.device)
    check_settings(network, settings)
    check_output(settings)


def _show_samples(
    args: argparse.Namespace, network: Network, lists: TrainingLists, out: TextIO
) -> int:
    from darknet_builder.images.files import write_image
    from darknet_builder.training.sample_sheet import NUM_SAMPLES, sample_sheet

    write_image(args.show_samples, sample_sheet(network, lists.images, args.seed))
    out.write(f"{args.show_samples}: {NUM_SAMPLES} samples\n")
    return 0


def _load_lists(args: argparse.Namespace, network: Network, out: TextIO) -> TrainingLists:
    """Load the training and validation lists; check all images, unless only samples are drawn."""
    from darknet_builder.cli.progress import Progress
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.training.datasets import load_training_lists

    with Progress(0, "file checked", quiet=False, out=out) as progress:
        return load_training_lists(
            DataFile.read(args.data),
            network,
            **label_rules(args),
            skip_bad_images=args.skip_bad_images,
            check_files=not args.show_samples,
            counter=progress,
        )


def _train(
    args: argparse.Namespace,
    network: Network,
    lists: TrainingLists,
    group: ProcessGroup,
    out: TextIO,
) -> int:
    """Train in every process of the group; only the main one writes."""
    from darknet_builder.cfg.net_options import check_burn_in
    from darknet_builder.evaluation.score import short_name
    from darknet_builder.training.trainer import Trainer

    trainer = Trainer(
        network,
        lists.images,
        _settings(args, group.device),
        out=out,
        validate=lists.validator,
        group=group,
    )
    if group.is_main:
        out.write(lists.description + "\n")
        if burn_in := check_burn_in(network.blocks[0], network.options.schedule):
            warnings.warn(burn_in, CfgWarning, stacklevel=1)
    with warnings.catch_warnings():
        # Loading the lists has already reported their number.
        warnings.simplefilter("ignore", TruncatedImageWarning)
        outcome = trainer.run()
    score = short_name(lists.validator.metric) if lists.validator is not None else ""
    return _report(outcome, score, args, out if group.is_main else io.StringIO())


def _settings(args: argparse.Namespace, device: str) -> TrainSettings:
    from darknet_builder.training.optimizer import RatePattern

    return TrainSettings(
        output=Path(args.output),
        name=Path(args.cfg).stem,
        seed=args.seed,
        device=device,
        precision=args.precision,
        workers=args.workers,
        eval_every=args.eval_every,
        save_every=args.save_every,
        keep=args.keep,
        rates=tuple(RatePattern.parse(text) for text in args.lr),
        resume=args.resume,
        continue_run=args.continue_run,
        overwrite=args.overwrite,
        freeze_norms=args.freeze_norms,
    )


def _report(outcome: Outcome, score: str, args: argparse.Namespace, out: TextIO) -> int:
    """Write the last line of a training and return the exit status."""
    if outcome.interrupted:
        option = "--resume instead of --continue" if args.continue_run else "--resume"
        out.write(
            f"stopped after step {outcome.finished}; to resume, repeat the command with {option}\n"
        )
        return 130
    skipped = ""
    if outcome.skipped_images:
        skipped = f"; {outcome.skipped_images} {plural(outcome.skipped_images, 'image')} skipped"
    scores = (
        "" if outcome.last is None else f", {score} {outcome.last:.4f}, best {outcome.best:.4f}"
    )
    out.write(f"{outcome.finished} steps done{scores}; weights in {args.output}{skipped}\n")
    return 0


def _check_minimum(name: str, number: int, minimum: int) -> int:
    if number is not None and number < minimum:
        raise InputError(f"--{name.replace('_', '-')} {number}: expected {minimum} or more")
    return number


# ---- the network and its data --------------------------------------------------------------------


def _make_network(args: argparse.Namespace) -> Network:
    from darknet_builder.cfg.source import read_cfg
    from darknet_builder.network.build import build_network
    from darknet_builder.training.initialization import InitRule, initialize
    from darknet_builder.weights.loader import load_weights

    source = read_cfg(args.cfg)
    blocks = source.blocks
    if args.max_batches is not None:
        blocks[0] = blocks[0].with_option(
            "max_batches", str(_check_minimum("max_batches", args.max_batches, 1))
        )
    weights = args.weights if source.tensors is None else args.cfg
    if args.until is not None and args.continue_run:
        raise InputError(
            f"--until {args.until}: cannot be combined with --continue, which needs all layers;"
            " leave out one of them"
        )
    if args.until is not None and weights is None:
        raise InputError(f"--until {args.until}: no weights given; give --weights FILE")
    network = build_network(blocks, dialect=args.dialect or source.dialect)
    initialize(network, [InitRule.parse(text) for text in args.init])
    if weights is not None:
        load_weights(network, weights, until=args.until)
    return network
