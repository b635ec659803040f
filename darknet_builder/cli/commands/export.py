"""``darknet-builder export``: a network as a file that other programs read."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from darknet_builder.cfg.names import read_names
from darknet_builder.cli.arguments import add_dialect, add_input_size, add_json
from darknet_builder.cli.model import add_model, load_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.errors import InputError
from darknet_builder.export.settings import (
    FORMATS,
    GRAPHS,
    LEVELS,
    LOWEST_OPSET,
    ExportReport,
    ExportSettings,
    Suppression,
    format_of,
)
from darknet_builder.images.fits import FITS
from darknet_builder.support.bundled import find_by_name
from darknet_builder.support.files import check_folder, refuse_overwriting

HELP = (
    "write a network as ONNX, torch.export, TorchScript, safetensors, state_dict, or Darknet's own"
    " files"
)
EXAMPLES = """\
CFG may be a .safetensors or .pt file that this command wrote: it holds the weights too. WEIGHTS may be a .weights,
.safetensors or .pt file.

--level raw: the maps that the heads read; decoded: boxes, scores and objectness; nms: the boxes that are left after
suppression inside the graph (ONNX alone). Every file is read back and compared with PyTorch before it gets its name; a
file that differs is an error (exit status 1) and is not left behind.

examples:
  darknet-builder export yolov4.cfg yolov4.weights --names coco.names --level decoded --dynamic-batch
  darknet-builder export yolov4.cfg yolov4.weights --names coco.names --level nms --threshold 0.3 --image dog.jpg
  darknet-builder export my.cfg my.weights --format safetensors
  darknet-builder export my.safetensors --format darknet --fold --output my-folded.cfg
"""
_OF_GRAPHS = (
    "level",
    "batch",
    "dynamic_batch",
    "dynamic_size",
    "opset",
    "resize",
    "threshold",
    "nms",
    "max_boxes",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_model(parser)
    parser.add_argument(
        "--format", choices=list(FORMATS), help="of the file (default: as --output ends, or onnx)"
    )
    parser.add_argument("--output", metavar="FILE", help="the file (default: CFG's name, here)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a .cfg and .weights that are there"
    )
    parser.add_argument(
        "--names", metavar="FILE", help="class names, one a line, for the file's metadata"
    )
    add_input_size(parser)
    add_dialect(parser)
    parser.add_argument(
        "--fold", action="store_true", help="fold batch norm into the weights; ONNX always does"
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="FILE",
        help="a photograph that the file is tried on; may be given again",
    )
    add_json(parser, "the report")
    _add_graph_options(parser)
    _add_nms_options(parser)


def _add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the formats that hold a graph."""
    graph = parser.add_argument_group("graphs (onnx, pt2, torchscript)")
    graph.add_argument(
        "--level", choices=LEVELS, help=f"where the graph ends (default: {LEVELS[0]})"
    )
    graph.add_argument("--batch", type=int, metavar="N", help="images a call (default: 1)")
    graph.add_argument(
        "--dynamic-batch",
        action="store_true",
        help="let every call take as many images as it likes",
    )
    graph.add_argument(
        "--dynamic-size", action="store_true", help="let every call have its own width and height"
    )
    graph.add_argument(
        "--opset", type=int, metavar="N", help=f"of ONNX alone (default: {LOWEST_OPSET})"
    )
    graph.add_argument(
        "--resize", choices=FITS, help="how images are fitted (default: Darknet's way)"
    )


def _add_nms_options(parser: argparse.ArgumentParser) -> None:
    """Add the default thresholds of a detector."""
    defaults = Suppression()
    nms = parser.add_argument_group("detectors", "for the metadata; at level nms for the graph too")
    nms.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help=f"least probability of an object (default: {defaults.threshold})",
    )
    nms.add_argument(
        "--nms",
        type=float,
        metavar="P",
        help=f"most overlap of two objects of a class (default: {defaults.overlap})",
    )
    nms.add_argument(
        "--max-boxes",
        type=int,
        metavar="N",
        help=f"of a class in an image, at level nms alone (default: {defaults.max_boxes})",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the file, and what came of holding it against PyTorch."""
    check_answer(args.json)
    take_model(args)
    target = _target(args)
    _refuse_what_does_not_apply(args, format_of(target, args.format))
    network = load_model(args).eval()
    if not network.heads:
        _refuse(
            args,
            ("threshold", "nms", "max_boxes"),
            "does not go with a network without a detection head",
        )
    from darknet_builder.export.export import export_network

    settings = _settings(args)
    report = export_network(network, target, args.format, settings)
    if args.json != STDOUT:
        out.writelines(f"{line}\n" for line in _lines(report, settings))
    write_json(args.json, report.to_dict(), out)
    return 0


def _refuse_what_does_not_apply(args: argparse.Namespace, name: str) -> None:
    """What a format cannot hold is said by the option's own name, before anything is read.

    Raises:
        InputError: naming the first.
    """
    if name not in GRAPHS:
        _refuse(
            args, _OF_GRAPHS, f"does not go with the format {name}, which holds a whole network"
        )
    if name != "onnx":
        _refuse(args, ("opset",), f"does not go with the format {name}: it is ONNX's")
    if name == "darknet":
        _refuse(
            args, ("names",), "does not go with the format darknet: a cfg holds no names of classes"
        )
    else:
        _refuse(args, ("overwrite",), "is for the format darknet; other files are replaced anyway")
    if args.level != "nms":
        _refuse(args, ("max_boxes",), "is for level nms")


def _refuse(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    given = [name for name in names if getattr(args, name) not in (None, False)]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} {reason}")


def _settings(args: argparse.Namespace) -> ExportSettings:
    default = Suppression()
    chosen = {"threshold": args.threshold, "overlap": args.nms, "max_boxes": args.max_boxes}
    suppression = replace(
        default, **{key: value for key, value in chosen.items() if value is not None}
    )
    return ExportSettings(
        level=args.level or LEVELS[0],
        batch=1 if args.batch is None else args.batch,
        any_batch=args.dynamic_batch,
        any_size=args.dynamic_size,
        opset=args.opset or LOWEST_OPSET,
        suppression=suppression,
        fold=args.fold,
        names=read_names(args.names) if args.names else (),
        resize=args.resize,
        images=args.image,
    )


def _target(args: argparse.Namespace) -> Path:
    """Where to, which must be no file that the network comes from.

    Raises:
        InputError: likewise for a pair of Darknet's files that is there already, without
            --overwrite.
    """
    if args.output is None:
        target = Path(Path(args.cfg).stem + FORMATS[args.format or "onnx"])
    else:
        target = Path(args.output)
        check_folder(target)
    written = [target]
    if target.suffix.lower() == FORMATS["darknet"]:
        written.append(target.with_suffix(".weights"))
    for path in written:
        refuse_overwriting(
            path,
            (find_by_name(args.cfg, ".cfg"), args.weights, args.names, *args.image),
            "give --output FILE",
        )
    there = [str(path) for path in written if path.exists()] if len(written) > 1 else []
    if there and not args.overwrite:
        raise InputError(
            f"{' and '.join(there)}: would be overwritten; give --output FILE, or --overwrite"
        )
    return target


# ---- the report ----------------------------------------------------------------------------------


def _lines(report: ExportReport, settings: ExportSettings) -> Iterator[str]:
    sizes = ", ".join(f"{path} ({path.stat().st_size:,} bytes)" for path in report.paths)
    yield f"wrote {sizes}"
    if report.nodes:
        yield f"opset {settings.opset}, {sum(report.nodes.values())} nodes: {_counts(report.nodes)}"
    for title, shapes in (("input", report.inputs), ("output", report.outputs)):
        for name, shape in shapes.items():
            yield f"{title:<7} {name} {_shape(shape)}"
    yield "compared with PyTorch:"
    width = max(len(comparison.what) for comparison in report.comparisons)
    for comparison in report.comparisons:
        boxes = "" if comparison.boxes is None else f" in {comparison.boxes} boxes"
        own = (
            ""
            if comparison.own is None
            else f"; PyTorch's own float32 is off by {comparison.own:.2g}"
        )
        yield (
            f"  {comparison.what:<{width}}  largest difference {comparison.difference:.2g}{boxes}, "
            f"values up to {comparison.largest:.4g}{own}"
        )
    for note in report.notes:
        yield f"note: {note}"


def _counts(nodes: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count} {name}" for name, count in sorted(nodes.items(), key=lambda item: -item[1])
    )


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"
