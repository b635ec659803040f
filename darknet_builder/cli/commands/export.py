"""Write a network as a file for other programs: ``darknet-builder export``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.arguments import (
    NAMES_HELP,
    NMS_HELP,
    THRESHOLD_HELP,
    add_dialect,
    add_input_size,
    add_json,
    add_resize,
)
from darknet_builder.cli.model import (
    MODEL_OPTIONS,
    add_model,
    add_model_name,
    load_model,
    take_model,
    take_named,
)
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.cli.quantization import (
    INT8_OPTIONS,
    add_int8_options,
    check_int8,
    int8_settings,
)
from darknet_builder.errors import InputError
from darknet_builder.export.quantized.settings import INT8
from darknet_builder.export.settings import (
    FORMATS,
    GRAPHS,
    LAYOUTS,
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

if TYPE_CHECKING:
    from darknet_builder.network.network import Network

HELP = "write a network as ONNX, torch.export, TorchScript, safetensors or Darknet files"
EXAMPLES = """\
The values of --format:
  onnx         ONNX graph, for onnxruntime, OpenCV, OpenVINO and many other programs
  pt2          torch.export program; needs PyTorch, but not this package
  torchscript  TorchScript program
  safetensors  weights, cfg and class names in one file, which all commands accept as CFG
  pt           the same as a PyTorch state_dict
  darknet      a .cfg and a .weights file

The values of --level, the end of the graph:
  raw          one raw map for each head
  decoded      boxes, scores and objectness
  nms          boxes after suppression (ONNX only)

The values of --layout, the arrangement of decoded boxes:
  darknet      three outputs: boxes as fractions of the input, scores, objectness
  yolov5       one output (batch, boxes, 5 + classes), in pixels of the input
  yolov8       one output (batch, 4 + classes, boxes), in pixels, without objectness

With --precision int8, the file computes in integers of 8 bits, calibrated on photographs. With
--data, its mAP and COCO's AP are compared with those of float32. As long as they fall by more than
--max-drop or --max-ap-drop points, further layers go back to float32.

Every file is read back and compared with PyTorch on random numbers, a drawn scene and the images of
--image; a file in int8, on images of the calibration and of --image. If its results differ, it is
deleted and the command fails.

examples:
  darknet-builder export --model yolov4-tiny --level decoded
  darknet-builder export yolov4.cfg yolov4.weights --names coco.names \\
      --level decoded --dynamic-batch
  darknet-builder export yolov4.cfg yolov4.weights --names coco.names \\
      --level nms --threshold 0.3 --image dog.jpg
  darknet-builder export my.cfg my.weights --precision int8 --calibrate my.data --data my.data
  darknet-builder export my.cfg my.weights --format safetensors
  darknet-builder export my.safetensors --format darknet --fold --output my-folded.cfg
"""
OPTIONS = {**MODEL_OPTIONS, **INT8_OPTIONS}
"""Hints that are shown for a wrong library argument, by argument."""
_RAW_NOTE = (
    "note: the outputs are raw maps, which the caller must decode; for boxes and scores, add"
    " --level decoded\n"
)
"""Shown for a detector whose level was not chosen."""
_GRAPH_OPTIONS = (
    "level",
    "layout",
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
    """Add the arguments of the command to its parser."""
    add_model(parser)
    add_model_name(parser)
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        help="format, see below (default: from the suffix of --output, else onnx)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file to write (default: the name of CFG, in the current folder)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="overwrite existing files; only the format darknet requires it",
    )
    parser.add_argument(
        "--names", metavar="FILE", help=f"{NAMES_HELP}, for the metadata of the file"
    )
    add_input_size(parser)
    add_dialect(parser)
    parser.add_argument(
        "--fold",
        action="store_true",
        help="fold batch norms into the weights; the format onnx always does",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="FILE",
        help="image to compare the results on; can be given several times",
    )
    add_json(parser, "the report of the comparison")
    _add_graph_options(parser)
    _add_nms_options(parser)
    add_int8_options(parser)


def _add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the formats that hold a graph."""
    graph = parser.add_argument_group("formats onnx, pt2 and torchscript")
    graph.add_argument(
        "--level",
        choices=LEVELS,
        help=f"where the graph ends, see below (default: {LEVELS[0]})",
    )
    graph.add_argument(
        "--layout",
        choices=LAYOUTS,
        help=f"arrangement of decoded boxes, see below (default: {LAYOUTS[0]})",
    )
    graph.add_argument("--batch", type=int, metavar="N", help="batch size (default: 1)")
    graph.add_argument(
        "--dynamic-batch",
        action="store_true",
        help="allow a different batch size in every call",
    )
    graph.add_argument(
        "--dynamic-size",
        action="store_true",
        help="allow a different width and height in every call",
    )
    graph.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help=f"version of ONNX's operator set (default: {LOWEST_OPSET})",
    )
    add_resize(
        graph, FITS, text="how callers must fit images to the network input, for the metadata"
    )


def _add_nms_options(parser: argparse.ArgumentParser) -> None:
    """Add the thresholds that the file uses unless its caller passes others."""
    defaults = Suppression()
    nms = parser.add_argument_group(
        "thresholds of detectors", "used by the graph at level nms; metadata at the other levels"
    )
    nms.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help=f"{THRESHOLD_HELP} (default: {defaults.threshold})",
    )
    nms.add_argument(
        "--nms",
        type=float,
        metavar="P",
        help=f"{NMS_HELP} (default: {defaults.overlap})",
    )
    nms.add_argument(
        "--max-boxes",
        type=int,
        metavar="N",
        help="maximum number of boxes for each class in an image, at level nms only (default:"
        f" {defaults.max_boxes})",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the file and the report of its comparison with PyTorch."""
    check_answer(args.json)
    names = take_named(args, needs_names=args.names is None and args.format != "darknet")
    take_model(args)
    target = _target(args)
    kind = format_of(target, args.format)
    _refuse_other_options(args, kind)
    check_int8(args, kind)
    if kind != "darknet":
        args.names = args.names or names
    network = load_model(args).eval()
    if not network.heads:
        _refuse(
            args,
            ("threshold", "nms", "max_boxes"),
            "does not apply: the network has no detection head",
        )
    from darknet_builder.export.export import export_network

    settings = replace(_settings(args, network), int8=int8_settings(args, network))
    report = export_network(network, target, args.format, settings)
    if args.json != STDOUT:
        out.writelines(f"{line}\n" for line in _lines(report, settings))
        if kind in GRAPHS and args.level is None and settings.level == "raw" and network.heads:
            out.write(_RAW_NOTE)
    write_json(args.json, report.to_dict(), out)
    return 0


def _refuse_other_options(args: argparse.Namespace, name: str) -> None:
    """Refuse options that do not apply to a format, before any file is read.

    Raises:
        InputError: for the first such option.
    """
    if name not in GRAPHS:
        _refuse(
            args,
            _GRAPH_OPTIONS,
            f"does not apply to format {name}, which stores the whole network; it is for formats"
            f" {', '.join(GRAPHS)}",
        )
    if name != "onnx":
        _refuse(args, ("opset",), f"does not apply to format {name}; it is for format onnx")
    if name == "darknet":
        _refuse(
            args, ("names",), "does not apply to format darknet: a cfg cannot store class names"
        )
    if args.level != "nms":
        _refuse(args, ("max_boxes",), "applies only with --level nms")


def _refuse(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    given = [name for name in names if getattr(args, name) not in (None, False)]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} {reason}")


def _settings(args: argparse.Namespace, network: Network) -> ExportSettings:
    from darknet_builder.network.task import known_names

    default = Suppression()
    chosen = {"threshold": args.threshold, "overlap": args.nms, "max_boxes": args.max_boxes}
    suppression = replace(
        default, **{key: value for key, value in chosen.items() if value is not None}
    )
    return ExportSettings(
        level=args.level or ("decoded" if args.layout else LEVELS[0]),
        layout=args.layout or LAYOUTS[0],
        batch=1 if args.batch is None else args.batch,
        any_batch=args.dynamic_batch,
        any_size=args.dynamic_size,
        opset=args.opset or LOWEST_OPSET,
        suppression=suppression,
        fold=args.fold,
        names=known_names(network, args.names) if args.names else (),
        resize=args.resize,
        images=args.image,
    )


def _target(args: argparse.Namespace) -> Path:
    """Return the path of the file to write.

    Raises:
        InputError: if a file that the command reads would be overwritten, if Darknet's pair of
            files exists and ``--overwrite`` is not given, or if the folder is missing.
    """
    if args.output is None:
        suffix = FORMATS[args.format or "onnx"]
        if args.precision == INT8:
            suffix = f".{INT8}{suffix}"  # beside a file in float32
        target = Path(Path(args.cfg).stem + suffix)
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
            "choose another file with --output FILE",
        )
    # Only cfg and weights are protected: they may be somebody's only copy, exports can be repeated.
    existing = [str(path) for path in written if os.path.exists(path)] if len(written) > 1 else []
    if existing and not args.overwrite:
        raise InputError(
            f"{' and '.join(existing)}: would be overwritten; choose another file with"
            " --output FILE, or give --overwrite"
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
        rounding = (
            ""
            if comparison.own is None
            else f"; PyTorch's own float32 differs from float64 by {comparison.own:.2g}"
        )
        if comparison.relative is not None:
            rounding = f"; {100 * comparison.relative:.1f} % of the values (root mean square)"
        yield (
            f"  {comparison.what:<{width}}  largest difference {comparison.difference:.2g}{boxes}, "
            f"values up to {comparison.largest:.4g}{rounding}"
        )
    if report.int8 is not None:
        yield from report.int8.lines()
    for note in report.notes:
        yield f"note: {note}"


def _counts(nodes: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count} {name}" for name, count in sorted(nodes.items(), key=lambda item: -item[1])
    )


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"
