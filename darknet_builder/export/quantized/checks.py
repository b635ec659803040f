"""Compare a quantized file with the network: raw maps loosely, all that follows them exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from darknet_builder.errors import ExportError
from darknet_builder.export.onnx.nms_check import clear_thresholds, compare_kept, suppress
from darknet_builder.export.onnx.runtime import open_session
from darknet_builder.export.quantized.ranking import relative_error
from darknet_builder.export.quantized.running import with_raw_maps
from darknet_builder.export.settings import MAX_BOXES, OVERLAP, SCORE
from darknet_builder.export.tolerance import Comparison, compare_values
from darknet_builder.export.traceable import Traceable

OF_VALUES = 0.25
"""The root mean square difference of a raw map from float32 may be this part of its values' root
mean square. Trained networks stay below .13 on photographs; a wrong scale gives about 1."""


def compare_quantized(
    model: Any, module: Traceable, inputs: Mapping[str, Tensor]
) -> list[Comparison]:
    """Compare a quantized model with the network that it was made of.

    Args:
        model: the ``onnx.ModelProto`` as read from the file.
        module: the network at the file's level, in float32.
        inputs: (B, C, H, W) each, by name.

    Returns:
        One comparison for each input; ``relative`` has the largest error of a raw map.

    Raises:
        ExportError: if a raw map differs by more than ``OF_VALUES``, or if what follows the raw
            maps is not what PyTorch computes from the same raw maps.
    """
    raw_names = module.raw_names
    session = open_session(with_raw_maps(model, raw_names).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    comparisons = []
    for what, x in inputs.items():
        found = dict(zip(names, session.run(None, {module.input_name: x.numpy()}), strict=True))
        with torch.inference_mode():
            wanted = module.network.outputs(x)
        maps = [torch.from_numpy(found[name]) for name in raw_names]
        comparison = _compare_maps(what, raw_names, wanted, maps)
        if module.level == "nms":
            boxes = _compare_suppressed(what, session, module, x, maps)
            comparison = replace(comparison, boxes=boxes)
        elif module.level != "raw":
            with torch.inference_mode():
                outputs = module.finish(maps, x)
            listed = [found[name] for name in module.output_names]
            compare_values(what, outputs, listed, module.output_names)
        comparisons.append(comparison)
    return comparisons


def _compare_maps(
    what: str, names: Sequence[str], wanted: Sequence[Tensor], found: Sequence[Tensor]
) -> Comparison:
    """Compare the raw maps with float32.

    Raises:
        ExportError: naming the first one that differs by more than ``OF_VALUES``.
    """
    difference = largest = relative = 0.0
    for name, expected, actual in zip(names, wanted, found, strict=True):
        error = relative_error(expected, actual)
        if not error <= OF_VALUES:  # also false for nan
            raise ExportError(
                f"{what}: {name} in int8 differs from float32 by {100 * error:.0f} % of its values"
                f" (root mean square); the limit is {100 * OF_VALUES:.0f} %",
                hint="calibrate on photographs like those that the network will see",
            )
        difference = max(difference, float((actual - expected).abs().max()))
        largest, relative = max(largest, float(expected.abs().max())), max(relative, error)
    return Comparison(what, difference, largest, relative=relative)


def _compare_suppressed(
    what: str, session: Any, module: Traceable, x: Tensor, maps: Sequence[Tensor]
) -> int | None:
    """Compare the boxes that are left after suppression; returns their number.

    Raises:
        ExportError: if they are not what PyTorch keeps of the same candidates.
    """
    with torch.inference_mode():
        boxes, scores, objectness = module.decode(maps, (x.shape[3], x.shape[2]))
    threshold, overlap = clear_thresholds(boxes, scores, objectness)
    inputs = {
        module.input_name: x.numpy(),
        SCORE: torch.tensor([threshold]).numpy(),
        OVERLAP: torch.tensor([overlap]).numpy(),
        MAX_BOXES: torch.tensor([boxes.shape[1]]).numpy(),
    }
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, inputs), strict=True))
    kept = suppress(boxes, scores, objectness, threshold, overlap)
    return compare_kept(what, kept, found).boxes
