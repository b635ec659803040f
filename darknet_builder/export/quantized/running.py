"""Run the part of an ONNX model that computes the raw maps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from darknet_builder.export.onnx.runtime import open_session
from darknet_builder.support.extras import load_extra


def raw_part(model: Any, raw_names: Sequence[str]) -> Any:
    """Return the part of a model that ends with the raw maps.

    Args:
        model: an ``onnx.ModelProto`` of any level; it is not changed.
        raw_names: names of the tensors that hold the raw maps.
    """
    onnx = load_extra("onnx", "export")
    extractor = onnx.utils.Extractor(with_raw_maps(model, raw_names))
    # The first input is the images; those of suppression come after it.
    return extractor.extract_model([model.graph.input[0].name], list(raw_names))


def with_raw_maps(model: Any, raw_names: Sequence[str]) -> Any:
    """Return a copy of a model in which the raw maps are outputs too, after its own ones.

    Args:
        model: an ``onnx.ModelProto`` of any level.
        raw_names: names of the tensors that hold the raw maps.
    """
    onnx = load_extra("onnx", "export")
    shown = copy.deepcopy(model)
    outputs = {value.name for value in shown.graph.output}
    shown.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in raw_names
        if name not in outputs
    )
    return shown


def run_raw(model: Any) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs a model in ONNX Runtime, on any number of images.

    Args:
        model: an ``onnx.ModelProto`` whose outputs are the raw maps.
    """
    session = open_session(model.SerializeToString())
    name = model.graph.input[0].name

    def run(x: Tensor) -> list[Tensor]:
        outputs = session.run(None, {name: x.contiguous().numpy()})
        return [torch.from_numpy(output) for output in outputs]

    return in_batches(run, batch_of(model))


def batch_of(model: Any) -> int:
    """Return the batch size of a model; 0 if it may change."""
    size: int = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return size


def in_batches(
    run: Callable[[Tensor], list[Tensor]], size: int
) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs any number of images in batches of a fixed size.

    Args:
        run: maps (``size``, C, H, W) to outputs that begin with the batch axis.
        size: the batch size that ``run`` needs; 0 for any, which returns ``run`` itself.

    Example:
        >>> double = in_batches(lambda x: [2 * x], 2)
        >>> double(torch.arange(3.0))
        [tensor([0., 2., 4.])]
    """
    if not size:
        return run

    def run_parts(x: Tensor) -> list[Tensor]:
        missing = -len(x) % size
        # Fill the last batch with zeros, whose outputs are cut off again.
        filled = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
        parts = [run(part) for part in filled.split(size)]
        return [torch.cat(outputs)[: len(x)] for outputs in zip(*parts, strict=True)]

    return run_parts
