"""Measure what three programs make of every recorded network's ONNX file, and write the table of docs/export.md.

    python scripts/export_table.py [--pack DIR] [--only WORD ...] [--results FILE] [--measure-only | --write-only]

What was measured once is kept in the file of results, so that a run that was stopped goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darknet_builder.errors import CfgWarning, DarknetError, ExportError, InputError, MissingExtraError
from darknet_builder.export import ExportSettings, export_network
from darknet_builder.export_check import clear_thresholds, compare_kept, compare_values, open_session, suppress
from darknet_builder.extras import load_extra
from darknet_builder.files import write_text
from darknet_builder.network import Network, build_network
from darknet_builder.onnx_graph import Suppression
from darknet_builder.tracing import LEVELS, Traceable
from darknet_builder.weights import load_weights

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "export.md"
FOLDERS = {"networks": "alexeyab", "networks-pjreddie": "pjreddie"}
_NO_HEAD = "no detection head"

Runner = Callable[[Path, np.ndarray, Sequence[str]], list[np.ndarray]]


class CannotRunError(Exception):
    """A program that does not run a file; the text says why."""


# ---- the three programs -----------------------------------------------------------------------------------


def run_onnxruntime(path: Path, x: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """onnxruntime, on the CPU."""
    session = open_session(path)
    return list(session.run(list(outputs), {session.get_inputs()[0].name: x}))


def run_opencv(path: Path, x: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """``cv2.dnn``."""
    cv2 = import_module("cv2")
    if int(cv2.__version__.split(".")[0]) < 5:
        raise MissingExtraError(f"OpenCV 5 is not installed: this is {cv2.__version__}")
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
        network.setInput(x)
        return [np.zeros(0) if output is None else output for output in network.forward(list(outputs))]
    except cv2.error as error:
        raise CannotRunError(" ".join(str(error).split())) from None


def run_openvino(path: Path, x: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
    """OpenVINO, on the CPU and in float32: left to itself, it takes bfloat16 where the processor has it."""
    openvino = load_extra("openvino", "openvino")
    try:
        model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = model(x)
        return [np.asarray(found[model.output(name)]) for name in outputs]
    except RuntimeError as error:
        raise CannotRunError(" ".join(str(error).split())) from None


RUNNERS: dict[str, Runner] = {"onnxruntime": run_onnxruntime, "OpenCV 5": run_opencv, "OpenVINO": run_openvino}


# ---- measuring ----------------------------------------------------------------------------------------------


def measure(network: Network, x: torch.Tensor, level: str, runners: Mapping[str, Runner],
            folder: Path) -> dict[str, str]:
    """By program: the largest difference from PyTorch as a share of the largest value, or the reason why not.

    Args:
        network: loaded.
        x: one image.
        level: one of ``LEVELS``.
        runners: what runs the file.
        folder: for the file.
    """
    try:
        with torch.inference_mode():
            wanted = Traceable(network, level).eval()(x)
        threshold, overlap = clear_thresholds(wanted[0], wanted[1], wanted[2]) if level == "nms" else (.25, .45)
        path = folder / f"{level}.onnx"
        report = export_network(network, path, settings=ExportSettings(
            level=level, any_batch=True, suppression=Suppression(threshold, overlap)))
    except (InputError, ExportError) as error:
        return dict.fromkeys(runners, str(error).removeprefix("not exportable, because "))
    names = list(report.outputs)
    cells = {}
    for program, run in runners.items():
        try:
            found = run(path, x.numpy(), names)
            if level == "nms":
                kept = suppress(wanted[0], wanted[1], wanted[2], threshold, overlap)
                comparison = compare_kept(program, kept, dict(zip(names, found, strict=True)))
            else:
                comparison = compare_values(program, wanted, found, names)
            cells[program] = f"{comparison.difference / max(comparison.largest, 1e-30):.0e}"
        except (CannotRunError, DarknetError) as error:
            cells[program] = str(error)
    return cells


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
            network = build_network(self.cfg, width=self.meta["width"] or None, height=self.meta["height"] or None,
                                    dialect=self.dialect, initialize=False).eval()
        weights = folder / "network.weights"
        generator.write_weights(weights, [segment[1:] for segment in self.meta["segments"]], self.meta["seed"])
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
        for level in LEVELS:
            if level in rows.get(recorded.name, {}):
                continue
            with tempfile.TemporaryDirectory() as folder:
                network, x = recorded.load(generator, Path(folder))
                rows.setdefault(recorded.name, {})[level] = measure(network, x, level, RUNNERS, Path(folder))
            write_text(results, json.dumps(rows, indent=1) + "\n")
            print(recorded.name, level, rows[recorded.name][level], flush=True)
    return rows


# ---- the table ----------------------------------------------------------------------------------------------


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


def _cell(text: str, reasons: dict[str, int]) -> str:
    if re.fullmatch(r"\d+e[-+]\d+", text):
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
    versions = ", ".join([f"PyTorch {torch.__version__.split('+')[0]}",
                          f"onnx {load_extra('onnx', 'export').__version__}", *map(_version, RUNNERS)])
    block = (f"<!-- table -->\n{len(rows)} of {recorded} networks, measured with {versions}.\n\n{table(rows)}\n"
             "<!-- end of table -->")
    new, count = re.subn(r"<!-- table -->\n.*?<!-- end of table -->", lambda match: block, page, flags=re.DOTALL)
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
    parser.add_argument("--pack", type=Path, default=ROOT.parent / "shared" / "parity", help="the parity pack")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="networks whose name holds one of these")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "export_table.json",
                        help="what is measured already (default: %(default)s)")
    parser.add_argument("--measure-only", action="store_true", help="leave the page as it is")
    parser.add_argument("--write-only", action="store_true", help="the page from what is measured already")
    args = parser.parse_args()
    if not args.pack.is_dir():
        parser.error(f"the parity pack is not there: {args.pack}")
    sys.path.insert(0, str(args.pack))
    args.results.parent.mkdir(parents=True, exist_ok=True)
    networks = [network for network in recorded_networks(args.pack)
                if not args.only or any(word in network.name for word in args.only)]
    rows = measure_all([] if args.write_only else networks, import_module("generator"), args.results)
    if not args.measure_only:
        whole = {name: levels for name, levels in rows.items() if len(levels) == len(LEVELS)}
        write_text(PAGE, insert(PAGE.read_text(encoding="utf-8"), whole, len(networks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
