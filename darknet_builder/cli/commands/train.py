"""Train as Darknet does: ``darknet-builder train``.

Checkpoints allow a training to be resumed exactly.
"""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import (
    add_device,
    add_dialect,
    add_max_pixels,
    add_precision,
    add_seed,
    add_skip_bad_images,
    add_skip_bad_labels,
)
from darknet_builder.cli.model import add_model, check_weights, take_model
from darknet_builder.errors import CfgWarning, InputError, TruncatedImageWarning
from darknet_builder.support.text import plural
from darknet_builder.training.settings import LEAST, PRECISIONS, TrainSettings

if TYPE_CHECKING:
    from darknet_builder.network.network import Network
    from darknet_builder.support.distributed import ProcessGroup
    from darknet_builder.training.datasets import TrainingLists
    from darknet_builder.training.log.outcome import Outcome

HELP = "train a detector or a classifier on a Darknet data set"
EXAMPLES = """\
Everything goes into --output: NAME_last.weights every 100 steps, NAME_best.weights by mAP on the validation list,
NAME_1000.weights and so on (each 10000 from max_batches=10000 on), NAME_final.weights; checkpoints (the last three and
the best), log.jsonl, chart.png, curves for tensorboard --logdir. NAME is the cfg's. After Ctrl-C or a crash --resume
resumes from the last checkpoint, to the same numbers as if nothing had happened.

--weights with --until N takes only the layers before N, as darknet partial does (yolov4.conv.137 is such a cut-off);
training starts at step 0 unless --continue is given.

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
  darknet-builder train --data larger.data --cfg my.cfg --output runs/first --continue
  darknet-builder train --data my.data --cfg my.cfg --output runs/slow --lr 'layers.[0-9].*=0.1' --lr '*.norm.*=0'
  darknet-builder train --data my.data --cfg my.cfg --show-samples samples.png
"""
OPTIONS = {"rule": "--init", "continue_run": "--continue"}
"""The option for a library argument of another name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--data", required=True, metavar="FILE", help="the .data file: classes, train, valid, names"
    )
    add_model(
        parser, weights="to begin from (default: CFG's, if it holds them, or drawn as --init says)"
    )
    parser.add_argument(
        "--until", type=int, metavar="N", help="take only the layers before N from --weights"
    )
    _add_output(parser)
    _add_rules(parser)
    _add_machine(parser)
    _add_watching(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide what is learnt."""
    rules = parser.add_argument_group("training")
    rules.add_argument(
        "--max-batches",
        type=int,
        metavar="N",
        help="steps, instead of the cfg's max_batches=; steps= and burn_in= stay as they are",
    )
    rules.add_argument(
        "--init", action="append", default=[], metavar="[SECTION=]METHOD", help="see below"
    )
    rules.add_argument(
        "--lr", action="append", default=[], metavar="PATTERN=FACTOR", help="see below"
    )
    rules.add_argument(
        "--freeze-norms",
        action="store_true",
        help="batch norms use their stored statistics, and nothing of them changes",
    )
    add_seed(rules, "everything drawn")
    add_dialect(rules)
    add_skip_bad_labels(rules)
    add_skip_bad_images(rules)
    add_max_pixels(rules)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options of the machine."""
    machine = parser.add_argument_group("machine")
    add_device(machine)
    add_precision(machine, PRECISIONS, "float32")
    machine.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that prepare images; 0: none (default: %(default)s)",
    )
    machine.add_argument(
        "--threads", type=int, metavar="N", help="of torch (default: as many as there are cores)"
    )


def _add_watching(parser: argparse.ArgumentParser) -> None:
    """Add the options of validation and checkpoints."""
    watching = parser.add_argument_group("watching")
    watching.add_argument(
        "--eval-every",
        type=int,
        metavar="N",
        help="steps between mAPs; 0: only at the end (default: four epochs, 100 or more)",
    )
    watching.add_argument(
        "--save-every",
        type=int,
        default=100,
        metavar="N",
        help="steps between checkpoints (default: %(default)s)",
    )
    watching.add_argument(
        "--keep", type=int, default=3, metavar="N", help="checkpoints kept (default: %(default)s)"
    )
    watching.add_argument(
        "--show-samples", metavar="PNG", help="draw augmented samples with their boxes; no training"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    """The folder, and what to do with a training in it."""
    parser.add_argument("--output", metavar="DIR", help="where to; needed unless --show-samples")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --output"
    )
    parser.add_argument(
        "--continue",
        action="store_true",
        dest="continue_run",
        help="as --resume, or from the steps that --weights count, with a changed cfg or data set",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="remove the training that is in --output"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Train; returns 0, or 130 after Ctrl-C."""
    for name in ("workers", "save_every", "keep", "eval_every"):
        _check_least(name, getattr(args, name), LEAST[name])
    import torch

    from darknet_builder.support.distributed import init_processes

    if args.threads is not None:
        torch.set_num_threads(_check_least("threads", args.threads, 1))
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
        raise InputError("where to? give --output DIR")
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
    """Load both lists; before a training, also check that all their images can be read."""
    from darknet_builder.cli.progress import Progress
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.training.datasets import load_training_lists

    with Progress(0, "file looked at", quiet=False, out=out) as progress:
        return load_training_lists(
            DataFile.read(args.data),
            network,
            skip_bad_labels=args.skip_bad_labels,
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
    """What to say at the end, and the exit status."""
    if outcome.interrupted:
        way = "--resume in place of --continue" if args.continue_run else "--resume"
        out.write(
            f"stopped after step {outcome.finished}; the same command with {way} goes on from"
            " here\n"
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


def _check_least(name: str, number: int, least: int) -> int:
    if number is not None and number < least:
        raise InputError(f"--{name.replace('_', '-')} {number}: expected {least} or more")
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
            "max_batches", str(_check_least("max_batches", args.max_batches, 1))
        )
    weights = args.weights if source.tensors is None else args.cfg
    if args.until is not None and args.continue_run:
        raise InputError(
            f"--until {args.until}: a part of the weights cannot be continued; leave out one of"
            " --until and --continue"
        )
    if args.until is not None and weights is None:
        raise InputError(f"--until {args.until}: of which weights? give --weights FILE")
    network = build_network(blocks, dialect=args.dialect or source.dialect)
    initialize(network, [InitRule.parse(text) for text in args.init])
    if weights is not None:
        load_weights(network, weights, until=args.until)
    return network
