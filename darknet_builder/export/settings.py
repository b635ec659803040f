"""Settings of an export, their checks, and the report of an export; none of it needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.export.quantized.settings import Int8Report, Int8Settings

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
"""The formats, each with the suffix of its files."""
GRAPHS = ("onnx", "pt2", "torchscript")
"""The formats that hold a graph at one level; the others hold the network itself."""
LEVELS = ("raw", "decoded", "nms")
LAYOUTS = ("darknet", "yolov5", "yolov8")
"""The arrangements of decoded boxes and scores; see ``Traceable``."""
LOWEST_OPSET = 18
"""The lowest version that PyTorch's exporter writes directly. For lower ones it uses a converter
that supports few operators."""
MAX_BOXES, OVERLAP, SCORE = "max_boxes", "iou_threshold", "score_threshold"
"""Names of the optional inputs of a graph with suppression; each has a default."""


@dataclass(frozen=True)
class Suppression:
    """Default thresholds of a graph with non-maximum suppression; a call may pass other values.

    Attributes:
        threshold: minimum confidence, in [0, 1]; score and objectness must both exceed it.
        overlap: NMS IoU threshold, in [0, 1]; 1 disables suppression.
        max_boxes: maximum number of boxes of a class in an image.

    Example:
        >>> settings = ExportSettings(level="nms", suppression=Suppression(threshold=0.4))
        >>> settings.suppression.metadata("raw")
        {'score_threshold': '0.4', 'iou_threshold': '0.45'}
    """

    threshold: float = 0.25
    overlap: float = 0.45
    max_boxes: int = 1000

    def metadata(self, level: str) -> dict[str, str]:
        """Return the entries of a file's metadata, text by key.

        Args:
            level: the thresholds are written at every level, the rest only at ``nms``.
        """
        entries = {SCORE: str(self.threshold), OVERLAP: str(self.overlap)}
        if level == "nms":
            entries |= {MAX_BOXES: str(self.max_boxes), "nms": "iou"}
        return entries


@dataclass(frozen=True)
class ExportSettings:
    """Settings of ``export_network``.

    Attributes:
        level: where the graph ends: ``raw`` maps, ``decoded`` boxes, or boxes after ``nms`` (ONNX
            only).
        layout: arrangement of the outputs at level ``decoded``, one of ``LAYOUTS``.
        batch: number of images in a call, 1 or more.
        any_batch: whether the number of images may change from call to call.
        any_size: whether width and height may change from call to call.
        opset: version of ONNX's operator set, ``LOWEST_OPSET`` or higher.
        suppression: the default thresholds of level ``nms``; other levels only record them.
        fold: whether to fold batch norm into the weights; ONNX files always have it folded.
        names: class names for the metadata; empty takes the network's own.
        resize: ``stretch``, ``letterbox`` or, for classifiers, ``crop``, for the metadata; None
            takes the default of the cfg and its dialect.
        images: paths of photographs to compare the file on, besides a drawn scene and random
            numbers, or for int8 besides those of the calibration.
        int8: how to quantize an ONNX file; None for float32.

    Example:
        >>> settings = ExportSettings(level="decoded", any_batch=True)
        >>> settings.batch, settings.suppression.threshold
        (1, 0.25)
    """

    level: str = "raw"
    layout: str = LAYOUTS[0]
    batch: int = 1
    any_batch: bool = False
    any_size: bool = False
    opset: int = LOWEST_OPSET
    suppression: Suppression = field(default_factory=Suppression)
    fold: bool = False
    names: Sequence[str] = ()
    resize: str | None = None
    images: Sequence[str | Path] = ()
    int8: Int8Settings | None = None


@dataclass(frozen=True)
class ExportReport:
    """The files of an export, and how far their outputs differ from the network's.

    Attributes:
        paths: the files that were written.
        format: a key of ``FORMATS``.
        comparisons: one for each trial input.
        inputs, outputs: shapes by name, with a word for a size that may change; empty for formats
            that hold the network itself.
        nodes: number of nodes in an ONNX graph by operator; empty for other formats.
        notes: what the file does differently from the network, one sentence each.
        int8: how the file was quantized; None for float32.

    Example:
        >>> from darknet_builder.export.tolerance import Comparison
        >>> report = ExportReport((Path("a.pt"),), "pt", (Comparison("random input", 0.0, 1.5),))
        >>> report.difference
        0.0
    """

    paths: tuple[Path, ...]
    format: str
    comparisons: tuple[Comparison, ...]
    inputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    int8: Int8Report | None = None

    @property
    def difference(self) -> float:
        """The largest absolute difference of all comparisons."""
        return max(comparison.difference for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary that ``json.dumps`` accepts."""
        return {
            "paths": list(map(str, self.paths)),
            "format": self.format,
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "nodes": dict(self.nodes),
            "notes": list(self.notes),
            "int8": None if self.int8 is None else self.int8.to_dict(),
            "comparisons": list(map(asdict, self.comparisons)),
        }


def format_of(path: str | Path, name: str | None) -> str:
    """Return the key of ``FORMATS`` that a path and a name stand for.

    Args:
        path: the file to write.
        name: a key of ``FORMATS``; None takes the format from the suffix of ``path``.

    Raises:
        InputError: if the format is unknown, or the suffix belongs to another one.

    Example:
        >>> format_of("yolov4.onnx", None)
        'onnx'
    """
    if name is not None and name not in FORMATS:
        raise InputError(
            f"format={name!r} is unknown; expected one of {', '.join(FORMATS)}"
            f"{did_you_mean(name, FORMATS)}"
        )
    suffix = Path(path).suffix.lower()
    matching = [known for known, ending in FORMATS.items() if ending == suffix]
    if name is None and not matching:
        raise InputError(
            f"unknown suffix; expected one of {', '.join(FORMATS.values())}",
            path=path,
        )
    if name is not None and suffix != FORMATS[name]:
        raise InputError(
            f"expected a name that ends in {FORMATS[name]} for the format {name}", path=path
        )
    # A given name agrees with the suffix here, and each format has a suffix of its own.
    return matching[0]


def check_settings(name: str, settings: ExportSettings) -> None:
    """Check that the settings are valid and that a format supports them.

    Args:
        name: a key of ``FORMATS``.
        settings: the settings to check.

    Raises:
        InputError: for the first setting that is unknown, out of range or not supported.
    """
    if settings.level not in LEVELS:
        raise InputError(
            f"level={settings.level!r} is unknown; expected one of {', '.join(LEVELS)}"
            f"{did_you_mean(settings.level, LEVELS)}"
        )
    if settings.layout not in LAYOUTS:
        raise InputError(
            f"layout={settings.layout!r} is unknown; expected one of {', '.join(LAYOUTS)}"
            f"{did_you_mean(settings.layout, LAYOUTS)}"
        )
    if settings.layout != LAYOUTS[0] and settings.level != "decoded":
        raise InputError(
            f"arranges decoded boxes, so it needs the level 'decoded', not {settings.level!r}",
            argument="layout",
            value=settings.layout,
        )
    if settings.level == "nms" and name != "onnx":
        raise InputError(
            f"the format {name} has no operator for non-maximum suppression; use the format onnx",
            argument="level",
            value=settings.level,
        )
    if name not in GRAPHS and (settings.level != "raw" or settings.any_batch or settings.any_size):
        raise InputError(
            f"the format {name} holds the whole network, so level, any_batch and any_size do not"
            " apply; leave them out"
        )
    if settings.int8 is not None:
        if name != "onnx":
            raise InputError(f"the format {name} has no int8; use the format onnx")
        settings.int8.check()
    _check_suppression(settings.suppression)


def _check_suppression(suppression: Suppression) -> None:
    for key, value in (
        ("threshold", suppression.threshold),
        ("overlap", suppression.overlap),
    ):
        if not 0 <= value <= 1:
            raise InputError("expected a number from 0 to 1", argument=key, value=value)
    if suppression.max_boxes < 1:
        raise InputError("expected 1 or more", argument="max_boxes", value=suppression.max_boxes)
