"""Compare the speed of engines, precisions and other programs: ``darknet-builder benchmark``."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import (
    CFG_HELP,
    add_device,
    add_dialect,
    add_json,
    add_threshold,
)
from darknet_builder.cli.model import MODEL_OPTIONS, add_model_name, find_named
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.engines.names import BACKEND_NAMES, precision_name
from darknet_builder.errors import InputError

if TYPE_CHECKING:
    import torch

    from darknet_builder.benchmark.comparison import Comparison
    from darknet_builder.benchmark.pipeline import PipelineRate
    from darknet_builder.benchmark.training import TrainingRate
    from darknet_builder.network.network import Network

HELP = "compare the speed of a network on all installed inference engines"
EXAMPLES = """\
A contender is BACKEND:PRECISION, with PRECISION float32 or bfloat16. BACKEND is one of:
  torch, compile, onnxruntime, openvino   the backends of --backend in other commands
  plain                                   the network without the fast path (float32 only)
  channels-last                           the same, with tensors in channels-last order
  opencv                                  the installed OpenCV (float32 only)

The calls of the contenders are interleaved, so that other load on the machine affects all of them
alike. Run nothing else meanwhile. Random weights take the same time as trained ones, so --weights
matters only for post-processing.

examples:
  darknet-builder benchmark yolov3-tiny.cfg yolov4-tiny.cfg --sizes 416 --batches 1 8
  darknet-builder benchmark yolov4.cfg --contenders torch:float32 openvino:float32 --chart b.png

  # compare with an OpenCV that reads Darknet files, installed in another environment
  darknet-builder benchmark yolov3.cfg --peer-python other-env/bin/python

  # include reading images and post-processing; with --pipeline, drawing and writing too
  darknet-builder benchmark my.cfg --weights my.weights --images photos/
  darknet-builder benchmark my.cfg --weights my.weights --images photos/ --pipeline --batches 4

  darknet-builder benchmark yolov3-tiny.cfg --training my.data --batches 8
  darknet-builder benchmark yolov3.cfg --sizes 608 --memory
"""
OPTIONS = {**MODEL_OPTIONS, "reference_python": "--peer-python"}
"""Options whose name differs from that of the library argument, by argument."""
_TRAINING_ROUNDS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("cfg", nargs="*", metavar="CFG", help=CFG_HELP)
    add_model_name(parser)
    parser.add_argument(
        "--weights", metavar="FILE", help="weights file, for a single CFG (default: random)"
    )
    add_dialect(parser)
    _add_cases(parser)
    _add_whole_runs(parser)


def _add_cases(parser: argparse.ArgumentParser) -> None:
    """Add the options that select what is compared, and how often."""
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        metavar="PIXELS",
        help="widths of square network inputs (default: width and height of the cfg)",
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1], metavar="N", help="batch sizes (default: 1)"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        metavar="NAME",
        help="see below (default: all that are installed, except compile)",
    )
    parser.add_argument(
        "--peer-python",
        metavar="PATH",
        help="Python interpreter of another environment, whose OpenCV is measured too",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=20,
        metavar="N",
        help="number of calls of each contender (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of every engine (default: PyTorch's default)",
    )


def _add_whole_runs(parser: argparse.ArgumentParser) -> None:
    """Add the options that measure more than the network alone."""
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="SOURCE",
        help="images or folders; measure from file to boxes too",
    )
    add_threshold(parser, 0.25, "minimum confidence, with --images")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="measure the memory of a forward pass, and compare it with the possible minimum",
    )
    parser.add_argument(
        "--pipeline",
        action="store_true",
        help="with --images: measure the rate from file to annotated picture too, and the"
        " processor time of each stage",
    )
    parser.add_argument(
        "--no-images",
        action="store_true",
        help="with --pipeline: measure from file to boxes; do not draw and write pictures",
    )
    parser.add_argument(
        "--training", metavar="DATA", help=".data file; measure training on it, and nothing else"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="with --training: number of processes that prepare images (default: %(default)s)",
    )
    add_device(parser)
    add_json(parser, "all measurements of every round")
    parser.add_argument(
        "--chart", metavar="FILE", help="bar chart: PNG, SVG or PDF (needs the extra 'evaluate')"
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Measure and write the tables; return 0."""
    _check(args)
    named = find_named(args)
    if named is not None:
        args.cfg, args.weights = [str(named.cfg)], str(named.weights)
    if not args.cfg:
        raise InputError("no network given; give one or more CFG, or --model NAME")
    import torch

    from darknet_builder.benchmark.comparison import as_document, matrix_rates
    from darknet_builder.benchmark.report import save_chart, table
    from darknet_builder.support.devices import find_device

    if args.threads:
        torch.set_num_threads(args.threads)
    device = find_device(args.device) or torch.device("cpu")
    answer, out = out, io.StringIO() if args.json == STDOUT else out
    rates = matrix_rates(device)
    shown = ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    out.write(f"{torch.get_num_threads()} threads; a large matrix product: {shown}\n\n")
    comparisons: list[Comparison] = []
    pipelines: list[PipelineRate] = []
    trainings: list[TrainingRate] = []
    for cfg, size in [(cfg, size) for cfg in args.cfg for size in args.sizes or [None]]:
        if args.training:
            trainings += _train(args, cfg, size, device, out)
            continue
        network = _load(args, cfg, size, device)
        for comparison in _compare(args, Path(cfg).stem, network, out):
            out.write(table(comparison, rates) + "\n")
            out.flush()
            comparisons.append(comparison)
        if args.pipeline:
            pipelines += _run_pipeline(args, Path(cfg).stem, network, out)
    write_json(args.json, as_document(comparisons, rates, pipelines, trainings), answer)
    if args.chart:
        save_chart(comparisons, args.chart)
    return 0


def _load(args: argparse.Namespace, cfg: str, size: int | None, device: torch.device) -> Network:
    from darknet_builder.prediction.loading import load_network

    return load_network(
        cfg,
        args.weights,
        width=size,
        height=size,
        dialect=args.dialect,
        device=device,
        initialize=True,
    )


def _check(args: argparse.Namespace) -> None:
    """Check the options before anything is measured.

    Raises:
        InputError: if options exclude each other, or a number is too small.
    """
    if args.weights and len(args.cfg) > 1:
        raise InputError(f"--weights {args.weights}: expected a single CFG, got {len(args.cfg)}")
    if min([args.rounds, *args.batches, args.threads or 1]) < 1:
        raise InputError("--rounds, --batches and --threads: expected 1 or more")
    if args.no_images and not args.pipeline:
        raise InputError("--no-images: needs --pipeline")
    if args.pipeline and not args.images:
        raise InputError("--pipeline: no images given; give --images")
    if args.training and (
        args.images or args.chart or args.memory or args.contenders or args.peer_python
    ):
        raise InputError(
            "--training: cannot be combined with --images, --contenders, --peer-python, --memory or"
            " --chart; leave them out"
        )
    check_answer(args.json)


def _compare(
    args: argparse.Namespace, name: str, network: Network, out: TextIO
) -> Iterator[Comparison]:
    from darknet_builder.benchmark.candidates import default_candidates
    from darknet_builder.benchmark.comparison import compare
    from darknet_builder.benchmark.end_to_end import compare_end_to_end
    from darknet_builder.benchmark.memory import measure_memory

    candidates = args.contenders or default_candidates(network)
    if args.memory:
        out.write(measure_memory(network).line(name) + "\n\n")
    for batch in args.batches:
        yield compare(
            network,
            name,
            candidates=candidates,
            batch=batch,
            rounds=args.rounds,
            reference_python=args.peer_python,
        )
    if args.images:
        yield compare_end_to_end(
            network,
            f"{name}, file to boxes at threshold {args.threshold:g}",
            _photographs(args),
            candidates=candidates,
            threshold=args.threshold,
        )


def _photographs(args: argparse.Namespace) -> list[Path]:
    from darknet_builder.images.sources import find_sources, is_video

    return [Path(path) for path in find_sources(args.images) if not is_video(path)]


# ---- the whole pipeline, and training ------------------------------------------------------------


def _run_pipeline(
    args: argparse.Namespace, name: str, network: Network, out: TextIO
) -> list[PipelineRate]:
    from darknet_builder.benchmark.candidates import default_candidates
    from darknet_builder.benchmark.pipeline import measure_pipeline
    from darknet_builder.benchmark.report import pipeline_table
    from darknet_builder.prediction.detector import Detector

    rates, photographs = [], _photographs(args)
    for candidate in args.contenders or default_candidates(network):
        backend, _, precision = candidate.partition(":")
        if backend not in BACKEND_NAMES:
            continue  # plain, channels-last and opencv have no Detector
        for batch in args.batches:
            detector = Detector(
                network,
                threshold=args.threshold,
                batch=batch,
                backend=backend,
                precision=precision_name(precision or "float32"),
            )
            rates.append(
                measure_pipeline(
                    detector, name, candidate, photographs, pictures=not args.no_images
                )
            )
    out.write(pipeline_table(rates) + "\n")
    return rates


def _train(
    args: argparse.Namespace, cfg: str, size: int | None, device: torch.device, out: TextIO
) -> list[TrainingRate]:
    """Measure the training of one network at each batch size and write its table."""
    from darknet_builder.benchmark.report import training_table
    from darknet_builder.benchmark.training import (
        TrainingCase,
        measure_training,
        trained_precisions,
    )
    from darknet_builder.data.data_file import DataFile
    from darknet_builder.training.datasets import load_training
    from darknet_builder.training.samples import ListedImages

    case = TrainingCase(cfg, size, args.dialect, args.weights)
    data, network = DataFile.read(args.training), case.network(args.batches[0], steps=1)
    images = ListedImages(load_training(data, network, skip_bad=False))
    rates = []
    for batch in args.batches:
        rates += measure_training(
            partial(case.network, batch),
            Path(cfg).stem,
            images,
            precisions=trained_precisions(device),
            rounds=_TRAINING_ROUNDS,
            steps=args.rounds,
            workers=args.workers,
            device=args.device,
        )
    out.write(training_table(rates) + "\n")
    out.flush()
    return rates
