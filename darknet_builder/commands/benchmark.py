"""``darknet-builder benchmark``: engines, precisions and peers side by side on this machine."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import torch

from darknet_builder.arguments import CFG_HELP, add_dialect, add_json
from darknet_builder.benchmark import PLAIN, Comparison, as_document, compare, compare_end_to_end, matrix_rates
from darknet_builder.benchmark_report import save_chart, table
from darknet_builder.devices import computes_bfloat16
from darknet_builder.engines import PRECISIONS, TorchEngine, installed_backends
from darknet_builder.errors import InputError
from darknet_builder.memory import least_values, peak_bytes_of
from darknet_builder.network import Network, build_network
from darknet_builder.output import STDOUT, check_folder, write_json
from darknet_builder.sources import find_sources, is_video
from darknet_builder.weights import load_weights

HELP = "time a network on every engine that is installed, side by side, alone and from file to boxes"
EXAMPLES = """\
A contender is BACKEND:PRECISION: torch, compile, onnxruntime or openvino, with float32 or bfloat16, or plain:float32,
the network without the fast path. They take turns, so that whatever else the machine does strikes all of them alike;
leave it alone nevertheless. Without --weights the weights are random, which takes as long.

examples:
  darknet-builder benchmark yolov3-tiny.cfg yolov4-tiny.cfg --sizes 416 --batches 1 8
  darknet-builder benchmark yolov4.cfg --contenders torch:float32 openvino:float32 --json b.json --chart b.png
  darknet-builder benchmark yolov3.cfg --peer-python other-env/bin/python   # an OpenCV that reads Darknet's files
  darknet-builder benchmark my.cfg --weights my.weights --images photos/    # from the file to the boxes
  darknet-builder benchmark yolov3.cfg --sizes 608 --memory
"""
_MIB = 2 ** 20
_MEMORY_CALLS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("cfg", nargs="+", metavar="CFG", help=CFG_HELP)
    parser.add_argument("--weights", metavar="FILE", help="of the only network (default: random)")
    add_dialect(parser)
    parser.add_argument("--sizes", type=int, nargs="+", metavar="PIXELS", help="square inputs (default: the cfg's)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1], metavar="N", help="(default: 1)")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="(default: all that are installed)")
    parser.add_argument("--peer-python", metavar="PATH", help="an interpreter whose OpenCV takes its turns as well")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="calls of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="of every engine (default: torch's own choice)")
    parser.add_argument("--images", nargs="+", metavar="SOURCE", help="files or folders: end to end as well")
    parser.add_argument("--threshold", type=float, default=.25, metavar="P",
                        help="of post-processing, with --images (default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="the least that the graph allows, and what is taken")
    add_json(parser, "everything, each round included,")
    parser.add_argument("--chart", metavar="FILE", help="bars, as PNG, SVG or PDF (needs the extra 'evaluate')")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Measure; returns 0."""
    if args.weights and len(args.cfg) > 1:
        raise InputError(f"--weights {args.weights}: belongs to one network, {len(args.cfg)} were given")
    if min([args.rounds, *args.batches, args.threads or 1]) < 1:
        raise InputError("--rounds, --batches and --threads: expected 1 or more")
    if args.threads:
        torch.set_num_threads(args.threads)
    check_folder(args.json)
    answer, out = out, io.StringIO() if args.json == STDOUT else out
    rates = matrix_rates()
    out.write(f"{torch.get_num_threads()} threads; a large matrix product: "
              + ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in rates.items()) + "\n\n")
    comparisons = []
    for name, network in _networks(args):
        for comparison in _compare(args, name, network, out):
            out.write(table(comparison, rates) + "\n")
            out.flush()
            comparisons.append(comparison)
    write_json(args.json, as_document(comparisons, rates), answer)
    if args.chart:
        save_chart(comparisons, args.chart)
    return 0


def _networks(args: argparse.Namespace) -> Iterator[tuple[str, Network]]:
    for cfg in args.cfg:
        for size in args.sizes or [None]:
            network = build_network(cfg, width=size, height=size, dialect=args.dialect, initialize=not args.weights)
            if args.weights:
                load_weights(network, args.weights)
            yield Path(cfg).stem, network.eval()


def _compare(args: argparse.Namespace, name: str, network: Network, out: TextIO) -> Iterator[Comparison]:
    contenders = args.contenders or default_contenders(network)
    if args.memory:
        out.write(memory_line(name, network) + "\n\n")
    for batch in args.batches:
        yield compare(network, name, contenders=contenders, batch=batch, rounds=args.rounds,
                      peer_python=args.peer_python)
    if args.images:
        images = [path for path in find_sources(args.images) if not is_video(path)]
        yield compare_end_to_end(network, f"{name}, file to boxes at threshold {args.threshold:g}", images,
                                 contenders=contenders, threshold=args.threshold)


def default_contenders(network: Network) -> Sequence[str]:
    """What is installed, at the precisions that this machine computes; ``compile`` takes minutes and is not asked."""
    names = [name for name in installed_backends() if name != "compile"]
    found = [f"{name}:{precision}" for name in names for precision in PRECISIONS
             if precision == "float32" or (name != "onnxruntime" and computes_bfloat16(network.device))]
    return [*found, f"{PLAIN}:float32"]


def memory_line(name: str, network: Network) -> str:
    """The least memory of one image's forward pass, and by how much the process really grows in one."""
    least = 4 * least_values(network)
    engine, x = TorchEngine(network, "float32"), torch.rand(network.input_shape.batched(1))
    with torch.inference_mode():
        for _ in range(_MEMORY_CALLS):
            engine(x)
        measured = peak_bytes_of(lambda: engine(x))
    width, height = network.input_size
    text = f"{name} at {width} x {height}: {least / _MIB:.0f} MiB of outputs are the least that the graph allows"
    if measured is None:
        return text + "; this system does not tell what is really taken"
    return text + f"; the process grows by {measured / _MIB:.0f} MiB ({measured / least:.2f} times)"
