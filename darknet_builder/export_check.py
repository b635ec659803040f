"""Whether an ONNX file is sound, and answers as the network does: ONNX's checker, then onnxruntime beside PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes import nms_by_class, pairwise_iou
from darknet_builder.errors import ExportError
from darknet_builder.extras import load_extra

ABSOLUTE, RELATIVE, OF_NORM = 1e-5, 1e-4, 1e-3
"""A value may be off by ABSOLUTE + RELATIVE * itself + OF_NORM * the root mean square of its tensor: what sums of
float32 in another order come to in a deep network."""
_WANTED = 200
"""How many candidates a comparison of suppression has, more or less."""
_OVERLAPS = (.3, .6)
"""Between these an overlap is chosen for it."""
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Comparison:
    """How far two programs are apart on one input.

    Attributes:
        what: the input.
        difference: the largest between two values.
        largest: value, to judge it by.
        boxes: how many are left after suppression; None where there is none.
    """

    what: str
    difference: float
    largest: float
    boxes: int | None = None


def open_session(path: str | Path) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Raises:
        ExportError: when onnxruntime cannot run the file.
        MissingExtraError: where it is not installed.
    """
    runtime = load_extra("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise ExportError(f"onnxruntime cannot run the exported graph: {_first_line(error)}") from None


def runtime_errors() -> tuple[type[Exception], ...]:
    """onnxruntime's own errors, which have no base class of theirs."""
    states = load_extra("onnxruntime.capi.onnxruntime_pybind11_state", "export")
    names = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented",
             "RuntimeException")
    return tuple(getattr(states, name) for name in names)


def check_file(path: str | Path) -> None:
    """ONNX's own checker, with shapes.

    Raises:
        ExportError: with the first thing that it finds.
    """
    onnx = load_extra("onnx", "export")
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


# ---- values ---------------------------------------------------------------------------------------------


def compare_values(what: str, wanted: Sequence[Tensor], found: Sequence[np.ndarray | Tensor],
                   names: Sequence[str]) -> Comparison:
    """Hold the outputs of two programs against each other.

    Raises:
        ExportError: naming the output that is further off than float32 explains.
    """
    difference = largest = 0.0
    for name, tensor, other in zip(names, wanted, found, strict=True):
        ours, theirs = tensor.detach().double(), torch.as_tensor(other).detach().double()
        if ours.shape != theirs.shape:
            raise ExportError(f"{what}: {name} has the shape {tuple(theirs.shape)} in the file and "
                              f"{tuple(ours.shape)} in PyTorch")
        if not ours.numel():
            continue
        apart = torch.where(ours == theirs, 0.0, (ours - theirs).abs())
        size = ours[ours.isfinite()].square().mean().sqrt().nan_to_num()  # 0 where nothing is finite
        bound = ABSOLUTE + RELATIVE * torch.where(ours.isfinite(), ours.abs(), 0.0) + OF_NORM * size
        difference, largest = max(difference, float(apart.max())), max(largest, float(ours.abs().max()))
        if not bool((apart <= bound).all()):
            raise ExportError(f"{what}: {name} differs from PyTorch's by {float(apart.max()):.3g} "
                              f"(values up to {float(ours.abs().max()):.3g})")
    return Comparison(what, difference, largest)


# ---- suppression ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What is left after suppression, over a batch.

    Attributes:
        rows: (M, 5) of x, y, w, h, score.
        groups: (M, 2) of image and class.
    """

    rows: Tensor
    groups: Tensor


def suppress(boxes: Tensor, scores: Tensor, objectness: Tensor, threshold: float, overlap: float) -> Kept:
    """What a graph of level ``nms`` must give, from the outputs of ``decoded``: (B, N, 4), (B, N, C), (B, N)."""
    rows, groups = [], []
    for image in range(len(boxes)):
        visible = (objectness[image, :, None] > threshold) & (scores[image] > threshold)
        kept = nms_by_class(boxes[image], torch.where(visible, scores[image], 0.0), overlap)
        place, class_id = kept.nonzero(as_tuple=True)
        rows.append(torch.cat((boxes[image, place], kept[place, class_id, None]), 1))
        groups.append(torch.stack((torch.full_like(class_id, image), class_id), 1))
    return Kept(torch.cat(rows), torch.cat(groups))


def clear_thresholds(boxes: Tensor, scores: Tensor, objectness: Tensor) -> tuple[float, float]:
    """A score and an overlap that no candidate comes near, so that rounding decides over none of them.

    They leave some hundred candidates, whatever the network was trained for.
    """
    deciding = torch.minimum(scores, objectness.unsqueeze(-1)).flatten()  # both must exceed the threshold
    best = deciding[deciding > 0].sort(descending=True).values[:2 * _WANTED]
    # Zero stands below where all are equal, as the objectness of YOLO v1 is.
    worse = best[len(best) // 4:].unique()
    threshold = _widest_gap(worse if len(worse) > 1 else torch.cat((worse.new_zeros(1), worse))) if len(worse) else 0.0
    overlaps = [boxes.new_tensor(_OVERLAPS)]
    for image in range(len(boxes)):
        visible = (objectness[image] > threshold) & (scores[image] > threshold).any(1)
        overlaps.append(pairwise_iou(boxes[image, visible], boxes[image, visible]).flatten())
    together = torch.cat(overlaps).sort().values
    return threshold, _widest_gap(together[(together >= min(_OVERLAPS)) & (together <= max(_OVERLAPS))])


def _widest_gap(values: Tensor) -> float:
    """The middle between two neighbours of a sorted list."""
    start = int(values.diff().abs().argmax())
    return float((values[start] + values[start + 1]) / 2)


def compare_kept(what: str, wanted: Kept, found: Mapping[str, np.ndarray]) -> Comparison:
    """Hold boxes after suppression against each other; their order within a class may differ where scores are equal.

    Args:
        what: the input.
        wanted: PyTorch's.
        found: the outputs of a graph of level ``nms`` by name.

    Raises:
        ExportError: when a box is missing, too much, or further off than float32 explains.
    """
    sizes = {"boxes": 4, "scores": 1}
    rows = torch.cat([torch.as_tensor(found[name]).reshape(-1, size) for name, size in sizes.items()], 1)
    groups = torch.stack([torch.as_tensor(found[name]).flatten().long() for name in ("image_ids", "class_ids")], 1)
    if len(rows) != len(wanted.rows):
        raise ExportError(f"{what}: {len(rows)} boxes are left in the file, {len(wanted.rows)} in PyTorch")
    difference = 0.0
    for group in wanted.groups.unique(dim=0):
        ours = wanted.rows[(wanted.groups == group).all(1)].double()
        theirs = rows[(groups == group).all(1)].double()
        if len(ours) != len(theirs):
            raise ExportError(f"{what}: class {int(group[1])} of image {int(group[0])} has {len(theirs)} boxes in the "
                              f"file, {len(ours)} in PyTorch")
        apart = (ours[:, None] - theirs[None]).abs().amax(2).amin(1)
        difference = max(difference, float(apart.max()))
        if difference > ABSOLUTE + OF_NORM * float(ours.abs().max()):
            raise ExportError(f"{what}: a box of class {int(group[1])} differs from PyTorch's by {difference:.3g}")
    return Comparison(what, difference, float(wanted.rows.abs().max()) if len(rows) else 0.0, len(rows))
