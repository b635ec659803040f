"""Whether an ONNX file is sound, and answers as the network does: ONNX's checker, then onnxruntime beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.overlap import nms_by_class, pairwise_iou
from darknet_builder.errors import ExportError
from darknet_builder.support.extras import load_extra

ABSOLUTE, RELATIVE, OF_NORM = 1e-5, 1e-4, 1e-3
"""A value may be off by ABSOLUTE + RELATIVE * itself + OF_NORM * the root mean square of its tensor: what sums of
float32 in another order come to in most networks."""
OF_OWN, OF_VALUES = 3.0, 1e-2
"""Deep networks with random weights magnify rounding beyond that. There float64 decides: the root mean square of what
the file is off from it may be OF_OWN times what PyTorch's own float32 is off, which must be at most OF_VALUES of the
values' own."""
_WANTED = 200
"""How many candidates a comparison of suppression has, more or less."""
_OVERLAPS = (.3, .6)
"""Between these an overlap is chosen for it."""
_CLEAR = 1e-4
"""How far, as a share of it, the nearest score should be from a threshold."""
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Comparison:
    """How far two programs are apart on one input.

    Attributes:
        what: the input.
        difference: the largest between two values.
        largest: value, to judge it by.
        boxes: how many are left after suppression; None where there is none.
        own: how far PyTorch's own float32 is from float64, where that had to decide; None elsewhere.
    """

    what: str
    difference: float
    largest: float
    boxes: int | None = None
    own: float | None = None


@dataclass(frozen=True)
class Precise:
    """What decides where two programs are further apart than usual.

    Attributes:
        exact: PyTorch's outputs in float64.
        rounded: more of PyTorch's outputs in float32, for inputs that differ by a rounding: how far they are off
            depends on chance, and the furthest counts.
    """

    exact: Sequence[Tensor]
    rounded: Sequence[Sequence[Tensor]] = ()


def open_session(graph: str | Path | bytes) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, of a file or of a serialized graph, with PyTorch's threads.

    Raises:
        ExportError: when onnxruntime cannot run the file.
        MissingExtraError: where it is not installed.
    """
    runtime = load_extra("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(graph if isinstance(graph, bytes) else str(graph), options,
                                        providers=["CPUExecutionProvider"])
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


def compare_values(what: str, wanted: Sequence[Tensor], found: Sequence[np.ndarray | Tensor], names: Sequence[str],
                   decide: Callable[[], Precise] | None = None, of_own: float = OF_OWN) -> Comparison:
    """Hold the outputs of two programs against each other.

    Args:
        what: the input.
        wanted: PyTorch's outputs.
        found: the file's.
        names: of the outputs.
        decide: gives what decides where the two are further apart than usual; it is called only then. Without it that
            is an error.
        of_own: how many times further off than PyTorch's own float32 the file may be there.

    Raises:
        ExportError: naming the output that is further off than float32 explains.
    """
    difference = largest = 0.0
    own: float | None = None
    precise: Precise | None = None
    for place, (name, tensor, other) in enumerate(zip(names, wanted, found, strict=True)):
        pair = _Pair.of(f"{what}: {name}", tensor, other)
        if not pair.ours.numel():
            continue
        difference, largest = max(difference, pair.difference), max(largest, pair.largest)
        if pair.is_close():
            continue
        if decide is None:
            raise ExportError(pair.text())
        precise = precise or decide()
        rounded = [pair.ours, *(answer[place].double() for answer in precise.rounded)]
        own = max(own or 0.0, _own_rounding(pair.text(), rounded, pair.theirs, precise.exact[place], of_own))
    return Comparison(what, difference, largest, own=own)


@dataclass(frozen=True)
class _Pair:
    """One output of both programs in float64.

    Attributes:
        label: the input and the output, for people.
        ours: PyTorch's, of any shape.
        theirs: the file's, of the same shape.
    """

    label: str
    ours: Tensor
    theirs: Tensor

    @classmethod
    def of(cls, label: str, ours: Tensor, theirs: np.ndarray | Tensor) -> _Pair:
        """Convert both to float64.

        Raises:
            ExportError: when their shapes differ.
        """
        pair = cls(label, ours.detach().double(), torch.as_tensor(theirs).detach().double())
        if pair.ours.shape != pair.theirs.shape:
            raise ExportError(f"{label} has the shape {tuple(pair.theirs.shape)} in the file and "
                              f"{tuple(pair.ours.shape)} in PyTorch")
        return pair

    @cached_property
    def apart(self) -> Tensor:
        """The distance of each value; 0 where both are the same infinity."""
        return torch.where(self.ours == self.theirs, 0.0, (self.ours - self.theirs).abs())

    @property
    def difference(self) -> float:
        """The largest distance."""
        return float(self.apart.max())

    @property
    def largest(self) -> float:
        """The largest absolute value of PyTorch's."""
        return float(self.ours.abs().max())

    def is_close(self) -> bool:
        """Return whether float32 sums in another order explain every distance."""
        ours = self.ours
        size = ours[ours.isfinite()].square().mean().sqrt().nan_to_num()  # 0 where nothing is finite
        bound = ABSOLUTE + RELATIVE * torch.where(ours.isfinite(), ours.abs(), 0.0) + OF_NORM * size
        return bool((self.apart <= bound).all())

    def text(self) -> str:
        """Return the difference as an error says it."""
        return f"{self.label} differs from PyTorch's by {self.difference:.3g} (values up to {self.largest:.3g})"


def _own_rounding(text: str, rounded: Sequence[Tensor], theirs: Tensor, exact: Tensor, of_own: float) -> float:
    """How far PyTorch's float32 is from float64, where the file is not much further.

    Raises:
        ExportError: where it is, or where PyTorch's own float32 says little itself.
    """
    size, file_off = _root_mean_square(exact), _root_mean_square(theirs - exact)
    own_off = max(_root_mean_square(ours - exact) for ours in rounded)
    if not file_off <= of_own * own_off:  # nor where one of them is no number
        raise ExportError(f"{text}; from float64 it is {file_off:.2g} off in the mean, PyTorch's float32 {own_off:.2g}")
    if not own_off <= OF_VALUES * size:
        raise ExportError(f"{text}; the network magnifies rounding so much that PyTorch's own float32 is {own_off:.2g} "
                          f"off in the mean, of values of {size:.2g}: float32 cannot hold it")
    return _furthest(rounded, exact)


def own_rounding(answers: Sequence[Tensor], precise: Precise) -> float:
    """How far PyTorch's float32 is from float64 at most, over all outputs.

    Args:
        answers: in float32.
        precise: see there.
    """
    rounded = [[answer.detach().double() for answer in each] for each in (answers, *precise.rounded)]
    return max(_furthest([each[place] for each in rounded], exact) for place, exact in enumerate(precise.exact))


def _furthest(rounded: Sequence[Tensor], exact: Tensor) -> float:
    return max(float((ours - exact).abs().max()) for ours in rounded)


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


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
    threshold = _clear_score(deciding[deciding > 0].sort(descending=True).values)
    overlaps = [boxes.new_tensor(_OVERLAPS)]
    for image in range(len(boxes)):
        visible = (objectness[image] > threshold) & (scores[image] > threshold).any(1)
        overlaps.append(pairwise_iou(boxes[image, visible], boxes[image, visible]).flatten())
    together = torch.cat(overlaps).sort().values
    return threshold, _widest_gap(together[(together >= min(_OVERLAPS)) & (together <= max(_OVERLAPS))])


def _clear_score(best: Tensor) -> float:
    """Between two of the best scores, or of more where these are all but equal, as in a network that says 1 everywhere.

    Args:
        best: positive, sorted.
    """
    most = 2 * _WANTED
    while len(best):
        # Zero stands below where all are equal, as the objectness of YOLO v1 is.
        worse = best[min(most, len(best)) // 4:most].unique()
        threshold = _widest_gap(worse if len(worse) > 1 else torch.cat((worse.new_zeros(1), worse)))
        if most >= len(best) or float((worse - threshold).abs().min()) > _CLEAR * threshold:
            return threshold
        most *= 4
    return 0.0


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
