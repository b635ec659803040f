"""How a network is exported, and the report of an export. Nothing here imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darknet_builder.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from darknet_builder.export.tolerance import Comparison

FORMATS = {
    "onnx": ".onnx",
    "pt2": ".pt2",
    "torchscript": ".torchscript",
    "safetensors": ".safetensors",
    "pt": ".pt",
    "darknet": ".cfg",
}
"""The formats and how their files end."""
GRAPHS = ("onnx", "pt2", "torchscript")
"""Those that hold a function at one level, not a network."""
LEVELS = ("raw", "decoded", "nms")
LOWEST_OPSET = 18
"""What PyTorch's exporter writes by itself; lower ones come out of a converter that knows few
operators."""
MAX_BOXES, OVERLAP, SCORE = "max_boxes", "iou_threshold", "score_threshold"
"""Inputs of a graph with suppression; each has a default."""


@dataclass(frozen=True)
class Suppression:
    """The defaults of a graph that suppresses boxes itself; any call may give other values.

    Attributes:
        threshold: what score and objectness must exceed.
        overlap: the most that two boxes of a class may overlap, as intersection over union.
        max_boxes: how many boxes of a class are kept in an image.
    """

    threshold: float = 0.25
    overlap: float = 0.45
    max_boxes: int = 1000

    def metadata(self, level: str) -> dict[str, str]:
        """For a file's metadata: the thresholds at every level, the rest where the graph suppresses
        by itself.
        """
        own = {MAX_BOXES: str(self.max_boxes), "nms": "iou"} if level == "nms" else {}
        return {SCORE: str(self.threshold), OVERLAP: str(self.overlap)} | own


@dataclass(frozen=True)
class ExportSettings:
    """How a network is exported.

    Attributes:
        level: ``raw``, ``decoded`` or ``nms``; the last for ONNX alone.
        batch: how many images a call takes.
        any_batch: let the number of images change from call to call.
        any_size: let width and height change as well.
        opset: of ONNX.
        suppression: the thresholds of level ``nms``.
        fold: fold batch norm into the weights; ONNX always does.
        names: of the classes; the network's own by default.
        resize: ``stretch`` or ``letterbox``, for the file's metadata; None means the cfg's or the
            dialect's way.
        images: photographs that the file is tried on, beside a drawn scene and random numbers.
    """

    level: str = "raw"
    batch: int = 1
    any_batch: bool = False
    any_size: bool = False
    opset: int = LOWEST_OPSET
    suppression: Suppression = field(default_factory=Suppression)
    fold: bool = False
    names: Sequence[str] = ()
    resize: str | None = None
    images: Sequence[str | Path] = ()


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how near it is to the network.

    Attributes:
        paths: of the files.
        format: a key of ``FORMATS``.
        inputs, outputs: shapes by name; empty for files of weights.
        nodes: of an ONNX graph by operator.
        comparisons: with PyTorch.
        notes: what the file does not do as the network does.
    """

    paths: tuple[Path, ...]
    format: str
    comparisons: tuple[Comparison, ...]
    inputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """The largest of all comparisons."""
        return max(comparison.difference for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "paths": [str(path) for path in self.paths],
            "format": self.format,
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "nodes": dict(self.nodes),
            "notes": list(self.notes),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def format_of(path: str | Path, name: str | None) -> str:
    """The key of ``FORMATS`` that a path and, where it is given, a name stand for.

    Raises:
        InputError: where they stand for none, or for two.
    """
    if name is not None and name not in FORMATS:
        raise InputError(
            f"format={name!r} is unknown; expected one of {', '.join(FORMATS)}"
            f"{did_you_mean(name, FORMATS)}"
        )
    suffix = Path(path).suffix.lower()
    found = [known for known, ending in FORMATS.items() if ending == suffix]
    if name is None and not found:
        raise InputError(
            f"which format? expected one of the suffixes {', '.join(FORMATS.values())}", path=path
        )
    if name is not None and suffix != FORMATS[name]:
        raise InputError(f"a file of the format {name} ends in {FORMATS[name]}", path=path)
    return found[0]


def check_settings(name: str, settings: ExportSettings) -> None:
    """Check that a format can hold what the settings ask for.

    Args:
        name: a key of ``FORMATS``.
        settings: to be checked.

    Raises:
        InputError: for the first setting that is unknown, out of range or not for this format.
    """
    if settings.level not in LEVELS:
        raise InputError(
            f"level={settings.level!r} is unknown; expected one of {', '.join(LEVELS)}"
            f"{did_you_mean(settings.level, LEVELS)}"
        )
    if settings.level == "nms" and name != "onnx":
        raise InputError(
            f"level=nms: a file of the format {name} has no operator that suppresses boxes; take"
            " onnx"
        )
    if name not in GRAPHS and (settings.level != "raw" or settings.any_batch or settings.any_size):
        raise InputError(
            f"the format {name} holds a whole network: level, any_batch and any_size do not go"
            " with it"
        )
    for key, value in (
        ("threshold", settings.suppression.threshold),
        ("overlap", settings.suppression.overlap),
    ):
        if not 0 <= value <= 1:
            raise InputError("expected a number from 0 to 1", argument=key, value=value)
    if settings.suppression.max_boxes < 1:
        raise InputError(
            "expected 1 or more", argument="max_boxes", value=settings.suppression.max_boxes
        )
