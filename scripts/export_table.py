"""Measure what three programs make of every recorded network's ONNX file.

Then write the table of docs/export.md.

    python scripts/export_table.py [--pack DIR] [--only WORD ...] [--results FILE] [--measure-only |
    --write-only]

Measurements are kept in the file of results, so that a run that was stopped continues from there.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress as suppress_error
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darknet_builder.errors import (
    CfgWarning,
    DarknetError,
    ExportError,
    InputError,
    MissingExtraError,
)
from darknet_builder.export.onnx.file import trace_onnx
from darknet_builder.export.onnx.graph import append_suppression
from darknet_builder.export.onnx.nms_check import Kept, clear_thresholds, compare_kept, suppress
from darknet_builder.export.onnx.runtime import check_file, open_session
from darknet_builder.export.reference import Reference
from darknet_builder.export.settings import LEVELS, OVERLAP, SCORE, ExportSettings, Suppression
from darknet_builder.export.tolerance import OF_OWN, Comparison, compare_values, own_rounding
from darknet_builder.export.traceable import Traceable, why_not
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import write_text
from darknet_builder.weights.loader import load_weights

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "export.md"
FOLDERS = {"networks": "alexeyab", "networks-pjreddie": "pjreddie"}
_NO_HEAD = "no detection head"
_NUMBER = re.compile(r"\d+e[-+]\d+( \(f32: \d+e[-+]\d+\))?")
_OWN = re.compile(r" \(f32: .+\)")

Runner = Callable[[Path, np.ndarray, Sequence[str]], list[np.ndarray]]


class CannotRunError(Exception):
    """A program that does not run a file; the text says why."""


# ---- the three programs --------------------------------------------------------------------------


def run_onnxruntime(path: Path, x: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """onnxruntime, on the CPU."""
    session = open_session(path)
    return list(session.run(list(outputs), {session.get_inputs()[0].name: x}))


def run_opencv(path: Path, x: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """``cv2.dnn``."""
    cv2 = import_module("cv2")
    if int(cv2.__version__.split(".")[0]) < 5:
        raise MissingExtraError(f"OpenCV 5 is not installed: this is {cv2.__version__}")
    cv2.setNumThreads(torch.get_num_threads())
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
        network.setInput(x)
        return [
            np.zeros(0) if output is None else output for output in network.forward(list(outputs))
        ]
    except cv2.error as error:
        raise CannotRunError(" ".join(str(error).split())) from None


def run_openvino(path: Path, x: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """OpenVINO, on the CPU and in float32.

    Left to itself, it takes bfloat16 where the processor has it.
    """
    openvino = load_extra("openvino", "openvino")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        model = openvino.Core().compile_model(str(path), "CPU", options)
        found = model(x)
        return [np.asarray(found[model.output(name)]) for name in outputs]
    except RuntimeError as error:
        raise CannotRunError(" ".join(str(error).split())) from None


RUNNERS: dict[str, Runner] = {
    "onnxruntime": run_onnxruntime,
    "OpenCV 5": run_opencv,
    "OpenVINO": run_openvino,
}
_OTHERS_OF_OWN = 10.0
"""Instead of ``OF_OWN``: faster ways to compute a convolution, such as Winograd's, round more."""
_USUAL = 5e-5
"""A share of the largest value up to which a difference needs no explanation."""
_ROUNDINGS = 4
"""How often PyTorch's own float32 is measured again, where float64 decides: it depends on
chance."""
_NO_AREA = float(np.finfo(np.float32).eps)
_SUPPRESSED = ("boxes", "scores", "class_ids", "image_ids")


# ---- measuring -----------------------------------------------------------------------------------


def measure(
    network: Network,
    x: torch.Tensor,
    runners: Mapping[str, Runner],
    folder: Path,
    levels: Sequence[str] = LEVELS,
) -> dict[str, dict[str, str]]:
    """Largest difference from PyTorch, by level and program, as a share of the largest value.

    Without a number, the reason why it is missing.

    The files are those that ``export`` writes; level nms is the graph of level decoded with
    suppression behind it.

    Args:
        network: loaded.
        x: one image.
        runners: what runs the files.
        folder: for the files.
        levels: which of ``LEVELS``.
    """
    cells: dict[str, dict[str, str]] = {}
    for level in levels:
        graph = "raw" if level == "raw" else "decoded"
        reason = why_not(network, graph)
        if reason:
            cells[level] = dict.fromkeys(runners, reason)
    missing = [level for level in levels if level not in cells]
    if "raw" in missing:
        cells["raw"] = _measure_values(network, x, "raw", runners, folder)[0]
    if {"decoded", "nms"} & set(missing):
        cells |= _measure_decoded(network, x, runners, folder)
    return {level: cells[level] for level in levels}


def _measure_values(
    network: Network,
    x: torch.Tensor,
    level: str,
    runners: Mapping[str, Runner],
    folder: Path,
) -> tuple[dict[str, str], dict[str, list[np.ndarray]], Any, Sequence[torch.Tensor]]:
    """The cells of a level without suppression.

    What each program gave, the graph, and what PyTorch gives.
    """
    module = Traceable(network, level).eval()
    reference, names = Reference(module), module.output_names
    wanted = reference(x)
    decide = cache(lambda: reference.precise(x, _ROUNDINGS))
    cells, outputs, model = {}, {}, None
    try:
        model = trace_onnx(network, ExportSettings(level=level, any_batch=True))
        path = _write(model, folder / f"{level}.onnx")
    except (InputError, ExportError) as error:
        return (
            dict.fromkeys(runners, str(error).removeprefix("not exportable, because ")),
            {},
            None,
            wanted,
        )
    for program, run in runners.items():
        try:
            outputs[program] = run(path, x.numpy(), names)
            of_own = OF_OWN if program == "onnxruntime" else _OTHERS_OF_OWN
            comparison = compare_values(program, wanted, outputs[program], names, decide, of_own)
            if comparison.own is None and comparison.difference > _USUAL * comparison.largest:
                comparison = replace(comparison, own=own_rounding(wanted, decide()))
            cells[program] = _number(comparison)
        except (CannotRunError, DarknetError) as error:
            cells[program] = str(error)
    path.unlink()
    return cells, outputs, model, wanted


def _measure_decoded(
    network: Network,
    x: torch.Tensor,
    runners: Mapping[str, Runner],
    folder: Path,
) -> dict[str, dict[str, str]]:
    decoded, outputs, model, (boxes, scores, objectness) = _measure_values(
        network, x, "decoded", runners, folder
    )
    if model is None:
        return {"decoded": decoded, "nms": decoded}
    path, cells = folder / "nms.onnx", {}
    append_suppression(model, Suppression(max_boxes=boxes.shape[1]))

    def compare(
        program: str, boxes: torch.Tensor, scores: torch.Tensor, objectness: torch.Tensor
    ) -> Comparison:
        threshold, overlap = clear_thresholds(boxes, scores, objectness)
        for constant in model.graph.initializer:
            if constant.name in (SCORE, OVERLAP):
                value = np.array([threshold if constant.name == SCORE else overlap], np.float32)
                constant.CopyFrom(
                    load_extra("onnx", "export").numpy_helper.from_array(value, constant.name)
                )
        found = runners[program](_write(model, path), x.numpy(), _SUPPRESSED)
        wanted, by_name = (
            suppress(boxes, scores, objectness, threshold, overlap),
            dict(zip(_SUPPRESSED, found, strict=True)),
        )
        return compare_kept(
            program, *(_with_area(wanted, by_name) if program == "OpenCV 5" else (wanted, by_name))
        )

    for program in runners:
        try:
            cells[program] = _number(compare(program, boxes, scores, objectness))
        except (CannotRunError, DarknetError) as error:
            cells[program] = str(error)
            # As in export: where rounding decides over a box, what is left of the program's own
            # candidates is held.
            if isinstance(error, ExportError) and _NUMBER.fullmatch(decoded[program]):
                with suppress_error(ExportError):
                    compare(
                        program,
                        *(torch.as_tensor(np.asarray(values)) for values in outputs[program]),
                    )
                    cells[program] = decoded[program]
        if _NUMBER.fullmatch(cells[program]) and float(cells[program].split()[0]) > _USUAL:
            # What is left after suppression are candidates: their rounding explains theirs.
            cells[program] = cells[program].split()[0] + "".join(_OWN.findall(decoded[program]))
    path.unlink()
    return {"decoded": decoded, "nms": cells}


def _with_area(wanted: Kept, found: Mapping[str, np.ndarray]) -> tuple[Kept, dict[str, np.ndarray]]:
    """Without the smallest boxes.

    OpenCV takes two of no more than ``_NO_AREA`` together for the same.

    Raises:
        CannotRunError: when nothing is left to compare.
    """
    ours = wanted.rows[:, 2:4].prod(1) > _NO_AREA
    theirs = found["boxes"].reshape(-1, 4)[:, 2:].prod(1) > _NO_AREA
    if not ours.any():
        raise CannotRunError("no box is large enough to be compared")
    return Kept(wanted.rows[ours], wanted.groups[ours]), {
        name: values.reshape(len(theirs), -1)[theirs] for name, values in found.items()
    }


def _write(model: Any, path: Path) -> Path:
    load_extra("onnx", "export").save(model, str(path))
    check_file(path)
    return path


def _number(comparison: Comparison) -> str:
    """``7e-06``; where float64 had to decide, ``7e-04 (f32: 6e-04)``."""
    largest = max(comparison.largest, 1e-30)
    own = "" if comparison.own is None else f" (f32: {comparison.own / largest:.0e})"
    return f"{comparison.difference / largest:.0e}{own}"


@dataclass(frozen=True)
class Recorded:
    """One network of the parity pack."""

    name: str
    cfg: Path
    dialect: str
    meta: Mapping[str, Any]

    def load(self, generator: Any, folder: Path) -> tuple[Network, torch.Tensor]:
        """With the weights, at the size and on the image that Darknet was recorded with."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CfgWarning)
            network = build_network(
                self.cfg,
                width=self.meta["width"] or None,
                height=self.meta["height"] or None,
                dialect=self.dialect,
                initialize=False,
            ).eval()
        weights = folder / "network.weights"
        generator.write_weights(
            weights, [segment[1:] for segment in self.meta["segments"]], self.meta["seed"]
        )
        load_weights(network, weights)
        weights.unlink()
        shape = network.input_shape.batched(1)
        return network, torch.from_numpy(generator.input_image(self.meta["seed"] + 1, shape))


def recorded_networks(pack: Path) -> Iterator[Recorded]:
    """Those of the pack, the smallest first."""
    found = []
    for folder, dialect in FOLDERS.items():
        for path in (pack / folder).glob("*.npz"):
            with np.load(path) as file:
                meta = json.loads(bytes(file["meta"]))
            cfg = pack.parent / "cfgs" / dialect / f"{path.stem}.cfg"
            found.append(Recorded(f"{dialect}/{path.stem}", cfg, dialect, meta))
    yield from sorted(found, key=lambda network: network.meta["parameters"])


def measure_all(networks: Iterable[Recorded], generator: Any, results: Path) -> dict[str, Any]:
    """Every network at every level; what ``results`` holds already is not measured again."""
    rows: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
    for recorded in networks:
        missing = [level for level in LEVELS if level not in rows.get(recorded.name, {})]
        if not missing:
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            network, x = recorded.load(generator, Path(folder))
            rows[recorded.name] = rows.get(recorded.name, {}) | measure(
                network, x, RUNNERS, Path(folder), missing
            )
        del network, x
        gc.collect()  # the exporter leaves graphs in circles behind, with all the weights
        write_text(results, json.dumps(rows, indent=1) + "\n")
        print(
            f"{recorded.name}: {time.perf_counter() - started:.0f} s: {rows[recorded.name]}",
            flush=True,
        )
    return rows


# ---- the table -----------------------------------------------------------------------------------


def table(rows: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """Markdown: a line a network, a column a level and program; reasons stand below, by number."""
    reasons: dict[str, int] = {}
    heads = [f"{level}: {program}" for level in LEVELS for program in RUNNERS]
    lines = [f"| network | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, levels in sorted(rows.items(), key=lambda row: row[0].lower()):
        cells = [_cell(levels[level][program], reasons) for level in LEVELS for program in RUNNERS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes])


def count_measured(rows: Mapping[str, Mapping[str, Mapping[str, str]]]) -> int:
    """The number of networks with a number in some cell; the others cannot be exported."""
    return sum(
        any(_NUMBER.fullmatch(text) for cells in levels.values() for text in cells.values())
        for levels in rows.values()
    )


def _cell(text: str, reasons: dict[str, int]) -> str:
    if _NUMBER.fullmatch(text):
        return text
    reason = _NO_HEAD if text.startswith("the network has no detection head") else text
    if reason == _NO_HEAD:
        return "-"
    return f"[{reasons.setdefault(reason, len(reasons) + 1)}]"


def insert(page: str, rows: Mapping[str, Any], recorded: int) -> str:
    """The page with the table between its two marks.

    Args:
        page: its text.
        rows: what was measured, at every level.
        recorded: how many networks there are to be measured.
    """
    versions = ", ".join(
        [
            f"PyTorch {torch.__version__.split('+')[0]}",
            f"onnx {load_extra('onnx', 'export').__version__}",
            *map(_version, RUNNERS),
        ]
    )
    block = (
        f"<!-- table -->\n{count_measured(rows)} of {recorded} networks, measured with"
        f" {versions}; the others are refused, for the numbered reasons below the table.\n\n"
        f"{table(rows)}\n<!-- end of table -->"
    )
    new, count = re.subn(
        r"<!-- table -->\n.*?<!-- end of table -->", lambda match: block, page, flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit("docs/export.md has no place for the table")
    return new


def _version(program: str) -> str:
    module = {"onnxruntime": "onnxruntime", "OpenCV 5": "cv2", "OpenVINO": "openvino"}[program]
    try:
        version = str(import_module(module).__version__).split("-")[0]
    except ModuleNotFoundError:
        return f"no {program}"
    return f"{program.split()[0]} {version}"


def main() -> int:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--pack", type=Path, default=ROOT.parent / "shared" / "parity", help="the parity pack"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="networks whose name holds one of these"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "build" / "export_table.json",
        help="what is measured already (default: %(default)s)",
    )
    parser.add_argument("--measure-only", action="store_true", help="leave the page as it is")
    parser.add_argument(
        "--write-only", action="store_true", help="the page from what is measured already"
    )
    args = parser.parse_args()
    if not args.pack.is_dir():
        parser.error(f"the parity pack is not there: {args.pack}")
    sys.path.insert(0, str(args.pack))
    args.results.parent.mkdir(parents=True, exist_ok=True)
    networks = [
        network
        for network in recorded_networks(args.pack)
        if not args.only or any(word in network.name for word in args.only)
    ]
    rows = measure_all(
        [] if args.write_only else networks, import_module("generator"), args.results
    )
    if not args.measure_only:
        whole = {name: levels for name, levels in rows.items() if len(levels) == len(LEVELS)}
        write_text(PAGE, insert(PAGE.read_text(encoding="utf-8"), whole, len(networks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
