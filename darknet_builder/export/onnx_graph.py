"""A traced module -> an ONNX model: PyTorch's exporter, then what makes the graph short, and
suppression at its end.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darknet_builder.errors import InputError, MissingExtraError
from darknet_builder.export.settings import (
    LOWEST_OPSET,
    MAX_BOXES,
    OVERLAP,
    SCORE,
    Suppression,
)
from darknet_builder.support.extras import load_extra
from darknet_builder.support.version import VERSION

PRODUCER = "darknet-builder"
_UNLIMITED = 2**40
_FREE_AXES = ("batch", "channels", "height", "width")
_BOXES, _SCORES, _OBJECTNESS = "boxes", "scores", "objectness"
_NOISY = ("torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")


def to_model(
    module: nn.Module,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    *,
    dimensions: dict[int, Any] | None = None,
    opset: int = LOWEST_OPSET,
) -> Any:
    """Trace a module.

    Args:
        module: one tensor to a tuple of tensors, in eval mode.
        example: an input; two images or more where their number may change.
        input_name: of the graph.
        output_names: one for each tensor.
        dimensions: of the input that may change, by axis, as ``torch.export`` wants them.
        opset: the version of ONNX's operators.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        InputError: for an opset that cannot be written, or a graph that PyTorch cannot trace.
        MissingExtraError: without the packages of the extra ``export``.
    """
    onnx = load_extra("onnx", "export")
    newest = onnx.defs.onnx_opset_version()
    if not LOWEST_OPSET <= opset <= newest:
        raise InputError(
            f"expected a version from {LOWEST_OPSET} to {newest}, the newest that the "
            "installed package onnx knows",
            argument="opset",
            value=opset,
        )
    program = _trace(module, example, input_name, list(output_names), dimensions, opset)
    _fold_constants(program.model)
    model = program.model_proto
    if model.opset_import[0].version != opset:
        raise InputError(
            f"PyTorch {torch.__version__} cannot write it; take {model.opset_import[0].version}",
            argument="opset",
            value=opset,
        )
    _remove_traces(model)
    _fuse_padding(model)
    _name_dimensions(model)
    model.producer_name, model.producer_version, model.graph.name = PRODUCER, VERSION, "network"
    return model


def set_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Write text by key into the model's metadata."""
    load_extra("onnx", "export").helper.set_model_props(model, dict(metadata))


# ---- PyTorch's exporter --------------------------------------------------------------------------


def _trace(
    module: nn.Module,
    example: Tensor,
    input_name: str,
    output_names: list[str],
    dimensions: dict[int, Any] | None,
    opset: int,
) -> Any:
    load_extra("onnxscript", "export")
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[input_name],
                output_names=output_names,
                dynamic_shapes=(dimensions,) if dimensions else None,
                verbose=False,
            )
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise MissingExtraError(
            f"PyTorch {torch.__version__} cannot export to ONNX by torch.export; a newer one can"
        ) from None
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(
            f"PyTorch {torch.__version__} cannot trace this network: {_root_cause(error)}"
        ) from None


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n")[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that it could use, and on its own future."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _fold_constants(model: Any) -> None:
    """What depends on weights alone, whatever its size: the binary weights of XNOR layers, a grid
    of places.
    """
    with _quiet():
        load_extra("onnxscript.optimizer", "export").optimize_ir(
            model, input_size_limit=_UNLIMITED, output_size_limit=_UNLIMITED
        )


# ---- a shorter graph -----------------------------------------------------------------------------


def _remove_traces(model: Any) -> None:
    """The exporter writes each node's Python stack into the file, with the folders of the machine
    that wrote it.
    """
    graph = model.graph
    for part in (
        graph,
        *graph.node,
        *graph.initializer,
        *graph.value_info,
        *graph.input,
        *graph.output,
    ):
        del part.metadata_props[:]
        part.doc_string = ""


def _fuse_padding(model: Any) -> None:
    """Pad with minus infinity, then MaxPool: a MaxPool with padding says the same."""
    onnx, graph = load_extra("onnx", "export"), model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for pad in [node for node in graph.node if node.op_type == "Pad" and len(node.input) > 2]:
        pools = readers.get(pad.output[0], [])
        if (
            len(pools) != 1
            or pools[0].op_type != "MaxPool"
            or not {*pad.input[1:3]} <= constants.keys()
        ):
            continue
        pads, value = (onnx.numpy_helper.to_array(constants[name]) for name in pad.input[1:3])
        attributes = {attribute.name: attribute for attribute in pools[0].attribute}
        own, kernel = attributes["pads"].ints, attributes["kernel_shape"].ints
        added = [*pads[2:4], *pads[6:8]]
        if (
            value == -np.inf
            and not any(own)
            and not any(pads[[0, 1, 4, 5]])
            and max(added) < min(kernel)
        ):
            own[:] = [int(number) for number in added]
            pools[0].input[0] = pad.input[0]
            graph.node.remove(pad)
    _remove_unread(graph)


def _name_dimensions(model: Any) -> None:
    """Words for sizes that are free, where PyTorch has formulas; each tool works out those between
    by itself.
    """
    formulas = False
    for value in (*model.graph.input, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_param and not dimension.dim_param.isidentifier():
                dimension.dim_param = (
                    _FREE_AXES[axis] if value in model.graph.input else f"{value.name}_{axis}"
                )
                formulas = True
    if formulas:
        del model.graph.value_info[:]


def _remove_unread(graph: Any) -> None:
    read = {name for node in graph.node for name in node.input} | {
        output.name for output in graph.output
    }
    made = {name for node in graph.node for name in node.output}
    for constant in [constant for constant in graph.initializer if constant.name not in read]:
        graph.initializer.remove(constant)
    for info in [info for info in graph.value_info if info.name not in read & made]:
        graph.value_info.remove(info)


# ---- suppression ---------------------------------------------------------------------------------


def append_suppression(model: Any, defaults: Suppression) -> None:
    """Turn a graph of level ``decoded`` into one of level ``nms``, by one standard
    NonMaxSuppression of every class.

    The outputs become ``boxes`` (M, 4), ``scores`` (M,), ``class_ids`` (M,) and ``image_ids`` (M,),
    best first within a class of an image. The three thresholds become inputs with defaults, which
    onnxruntime lets a call replace.
    """
    onnx = load_extra("onnx", "export")
    helper, types, graph = onnx.helper, onnx.TensorProto, model.graph
    sizes = _known_sizes(graph)
    del graph.output[:]
    rename = {name: f"all_{name}" for name in (_BOXES, _SCORES, _OBJECTNESS)}
    for node in graph.node:
        node.input[:] = [rename.get(name, name) for name in node.input]
        node.output[:] = [rename.get(name, name) for name in node.output]
    defaulted: dict[str, np.ndarray] = {
        MAX_BOXES: np.array([defaults.max_boxes], np.int64),
        OVERLAP: np.array([defaults.overlap], np.float32),
        SCORE: np.array([defaults.threshold], np.float32),
    }
    constants: dict[str, np.ndarray] = {
        "no_score": np.array(0, np.float32),
        "last_axis": np.array([2], np.int64),
        "image_column": np.array(0, np.int64),
        "class_column": np.array(1, np.int64),
        "box_column": np.array(2, np.int64),
        "rows_of_4": np.array([-1, 4], np.int64),
        "flat": np.array([-1], np.int64),
    }
    for name, value in (defaulted | constants | sizes).items():
        graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    graph.input.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [1])
        for name, value in defaulted.items()
    )
    for operator, inputs, output, attributes in _suppression_nodes():
        if output not in sizes:
            graph.node.append(
                helper.make_node(
                    operator, inputs, [output], name=f"suppression_{output}", **attributes
                )
            )
    outputs: tuple[tuple[str, int, list[int]], ...] = (
        (_BOXES, types.FLOAT, [4]),
        (_SCORES, types.FLOAT, []),
        ("class_ids", types.INT64, []),
        ("image_ids", types.INT64, []),
    )
    graph.output.extend(
        helper.make_tensor_value_info(name, kind, ["found", *shape])
        for name, kind, shape in outputs
    )


def expose_candidates(model: Any) -> Any:
    """Let a graph of level ``nms`` also give what it suppresses among, behind its own outputs;
    returns the model.
    """
    onnx = load_extra("onnx", "export")
    names = [f"all_{name}" for name in (_BOXES, _SCORES, _OBJECTNESS)]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    return model


def _known_sizes(graph: Any) -> dict[str, np.ndarray]:
    """How many boxes and classes there are, as far as that is the same in every call."""
    dimensions = {output.name: output.type.tensor_type.shape.dim for output in graph.output}
    sizes = {
        "num_boxes": dimensions[_BOXES][1].dim_value,
        "num_classes": dimensions[_SCORES][2].dim_value,
    }
    return {name: np.array([size], np.int64) for name, size in sizes.items() if size}


def _suppression_nodes() -> list[tuple[str, list[str], str, dict[str, Any]]]:
    """(operator, inputs, output, attributes); every score whose objectness is too small becomes 0
    first.
    """
    return [
        ("Greater", ["all_objectness", SCORE], "is_object", {}),
        ("Unsqueeze", ["is_object", "last_axis"], "is_object_3d", {}),
        ("Where", ["is_object_3d", "all_scores", "no_score"], "object_scores", {}),
        ("Transpose", ["object_scores"], "class_scores", {"perm": [0, 2, 1]}),  # (B, C, N)
        (
            "NonMaxSuppression",
            ["all_boxes", "class_scores", MAX_BOXES, OVERLAP, SCORE],
            "selected",
            {"center_point_box": 1},
        ),  # (M, 3) of image, class, box
        ("Gather", ["selected", "image_column"], "image_ids", {"axis": 1}),
        ("Gather", ["selected", "class_column"], "class_ids", {"axis": 1}),
        ("Gather", ["selected", "box_column"], "box_ids", {"axis": 1}),
        # Places in flat lists and not GatherND: with nothing selected, OpenCV 5.0 divides by zero
        # in that.
        ("Shape", ["all_boxes"], "num_boxes", {"start": 1, "end": 2}),
        ("Shape", ["all_scores"], "num_classes", {"start": 2, "end": 3}),
        ("Mul", ["image_ids", "num_boxes"], "box_start", {}),
        ("Add", ["box_start", "box_ids"], "box_place", {}),
        ("Reshape", ["all_boxes", "rows_of_4"], "box_list", {}),
        ("Gather", ["box_list", "box_place"], _BOXES, {"axis": 0}),
        ("Mul", ["image_ids", "num_classes"], "class_start", {}),
        ("Add", ["class_start", "class_ids"], "class_row", {}),
        ("Mul", ["class_row", "num_boxes"], "row_start", {}),
        ("Add", ["row_start", "box_ids"], "score_place", {}),
        ("Reshape", ["class_scores", "flat"], "score_list", {}),
        ("Gather", ["score_list", "score_place"], _SCORES, {"axis": 0}),
    ]
