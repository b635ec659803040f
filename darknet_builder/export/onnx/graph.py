"""Convert a module to an ONNX model, shorten its graph, and append suppression to it."""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
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
"""A size in bytes that no tensor reaches."""
_FREE_AXES = ("batch", "channels", "height", "width")
_BOXES, _SCORES, _OBJECTNESS = "boxes", "scores", "objectness"
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter keeps the names of the modules that a node was traced in."""
_LAYER_SCOPE = re.compile(r"\blayers\.(\d+)\b")
_LAYER_NODE = re.compile(r"layer_(\d+)_")
_NOISY_LOGGERS = ("torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")


def to_model(
    module: nn.Module,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    *,
    dimensions: dict[int, Any] | None = None,
    opset: int = LOWEST_OPSET,
) -> Any:
    """Convert a module to an ONNX model with a short graph.

    Args:
        module: maps one tensor to a tuple of tensors; in eval mode.
        example: (B, C, H, W) or (B, N), with B at least 2 if the batch size may change.
        input_name: the name of the graph's input.
        output_names: the name of each output tensor.
        dimensions: the ``torch.export.Dim`` of each axis of the input that may change, if any.
        opset: version of ONNX's operator set, ``LOWEST_OPSET`` or higher.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        InputError: if the opset cannot be written, or PyTorch cannot trace the module.
        MissingExtraError: if a package of the extra ``export`` is not installed.
    """
    _check_opset(opset)
    program = _trace(module, example, input_name, list(output_names), dimensions, opset)
    _fold_constants(program.model)
    model = program.model_proto
    # If the converter fails, PyTorch logs that and keeps the version that it exports by itself.
    written = model.opset_import[0].version
    if written != opset:
        text = f"PyTorch {torch.__version__} cannot write this version; use {written}"
        raise InputError(text, argument="opset", value=opset)
    _name_nodes(model)
    _remove_traces(model)
    _fuse_padding(model)
    _name_dimensions(model)
    model.producer_name, model.producer_version, model.graph.name = PRODUCER, VERSION, "network"
    return model


def _check_opset(opset: int) -> None:
    newest = load_extra("onnx", "export").defs.onnx_opset_version()
    if not LOWEST_OPSET <= opset <= newest:
        text = (
            f"expected a version from {LOWEST_OPSET} to {newest}, the newest that the installed"
            " package onnx supports"
        )
        raise InputError(text, argument="opset", value=opset)


def set_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Set the model's metadata; ``metadata`` is text by key."""
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
    """Run PyTorch's exporter; returns a ``torch.onnx.ONNXProgram``."""
    load_extra("onnxscript", "export")  # imported by PyTorch, whose own error names no extra
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
        # PyTorch 2.4 has no ``dynamic_shapes``.
        if "unexpected keyword argument" not in str(error):
            raise
        raise MissingExtraError(
            f"PyTorch {torch.__version__} cannot export to ONNX through torch.export; install a"
            " newer version"
        ) from None
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(
            f"PyTorch {torch.__version__} cannot trace this network: {_root_cause(error)}"
        ) from None


def _root_cause(error: BaseException) -> str:
    """Return the first line of the innermost error; the outer ones hold pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n")[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on missing optional packages and on deprecations."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
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
    """Compute now what depends only on weights, as the binary weights of XNOR layers do."""
    with _quiet():
        # The optimiser's default limits would leave large tensors to be computed in every call.
        load_extra("onnxscript.optimizer", "export").optimize_ir(
            model, input_size_limit=_UNLIMITED, output_size_limit=_UNLIMITED
        )


# ---- a shorter graph -----------------------------------------------------------------------------


def _name_nodes(model: Any) -> None:
    """Name the nodes after the layers that they compute, such as ``layer_12_Conv``."""
    used: Counter[str] = Counter()
    for node in model.graph.node:
        scopes = "".join(entry.value for entry in node.metadata_props if entry.key == _SCOPES)
        layer = _LAYER_SCOPE.search(scopes)
        if layer is None:
            continue  # computed outside the layers, as the boxes are
        name = f"layer_{layer[1]}_{node.op_type}"
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}_{used[name]}"


def layer_of(node: Any) -> int | None:
    """Return the index of the layer that a node computes; None for other nodes."""
    layer = _LAYER_NODE.match(node.name)
    return None if layer is None else int(layer[1])


def _remove_traces(model: Any) -> None:
    """Remove the Python stack of each node, which names folders of the machine that exports."""
    graph = model.graph
    values = (*graph.initializer, *graph.value_info, *graph.input, *graph.output)
    for part in (graph, *graph.node, *values):
        del part.metadata_props[:]
        part.doc_string = ""


def _fuse_padding(model: Any) -> None:
    """Replace Pad with minus infinity, then MaxPool, by a MaxPool that pads by itself."""
    onnx, graph = load_extra("onnx", "export"), model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    # Pad's inputs are (data, pads, value).
    pads = [node for node in graph.node if node.op_type == "Pad" and len(node.input) > 2]
    for pad in pads:
        pools = readers.get(pad.output[0], [])
        has_one_pool = len(pools) == 1 and pools[0].op_type == "MaxPool"
        if not has_one_pool or not {*pad.input[1:3]} <= constants.keys():
            continue
        sides, value = (onnx.numpy_helper.to_array(constants[name]) for name in pad.input[1:3])
        if value == -np.inf and _take_over_padding(pools[0], sides):
            pools[0].input[0] = pad.input[0]
            graph.node.remove(pad)
    _remove_unread(graph)


def _take_over_padding(pool: Any, sides: np.ndarray) -> bool:
    """Set the padding of a MaxPool, if it has none and the new one is valid for it.

    Args:
        pool: the node; it is changed if the answer is True.
        sides: (8,) int64, the ``pads`` of a Pad node on (B, C, H, W).
    """
    attributes = {attribute.name: attribute for attribute in pool.attribute}
    pool_pads, kernel = attributes["pads"].ints, attributes["kernel_shape"].ints
    # Pad:      begin of B, C, H, W, then end of B, C, H, W    sides[0:4], sides[4:8]
    # MaxPool:  begin of H, W,       then end of H, W
    # MaxPool pads only the image, and by less than its kernel.
    added = [*sides[2:4], *sides[6:8]]
    if any(pool_pads) or any(sides[[0, 1, 4, 5]]) or max(added) >= min(kernel):
        return False
    pool_pads[:] = [int(number) for number in added]
    return True


def _name_dimensions(model: Any) -> None:
    """Name the free sizes of inputs and outputs by a word, where PyTorch writes a formula."""
    has_formulas = False
    for value in (*model.graph.input, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            # For example "8*rows": valid in ONNX, but other programs do not read it.
            if not dimension.dim_param or dimension.dim_param.isidentifier():
                continue
            has_formulas = True
            is_input = value in model.graph.input
            dimension.dim_param = _FREE_AXES[axis] if is_input else f"{value.name}_{axis}"
    if has_formulas:
        # The shapes in between use the same formulas. They are optional: every program infers them.
        del model.graph.value_info[:]


def _remove_unread(graph: Any) -> None:
    """Remove constants and shape entries of tensors that no node reads any more."""
    read = {name for node in graph.node for name in node.input}
    read |= {output.name for output in graph.output}
    made = {name for node in graph.node for name in node.output}
    for constant in [constant for constant in graph.initializer if constant.name not in read]:
        graph.initializer.remove(constant)
    for info in [info for info in graph.value_info if info.name not in read & made]:
        graph.value_info.remove(info)


# ---- suppression ---------------------------------------------------------------------------------


def append_suppression(model: Any, defaults: Suppression) -> None:
    """Turn a graph of level ``decoded`` into one of level ``nms``.

    One standard NonMaxSuppression node handles all classes. The outputs become ``boxes`` (M, 4),
    ``scores`` (M,), ``class_ids`` (M,) and ``image_ids`` (M,), best first within a class of an
    image. The three thresholds become inputs with defaults; onnxruntime lets a call replace them.

    Args:
        model: the ``onnx.ModelProto``; it is changed.
        defaults: the values of the three inputs.
    """
    onnx, graph = load_extra("onnx", "export"), model.graph
    helper, sizes = onnx.helper, _known_sizes(graph)
    del graph.output[:]
    # The names ``boxes`` and ``scores`` are needed for the boxes that are left.
    rename = {name: f"all_{name}" for name in (_BOXES, _SCORES, _OBJECTNESS)}
    for node in graph.node:
        node.input[:] = [rename.get(name, name) for name in node.input]
        node.output[:] = [rename.get(name, name) for name in node.output]
    thresholds: dict[str, np.ndarray] = {
        MAX_BOXES: np.array([defaults.max_boxes], np.int64),
        OVERLAP: np.array([defaults.overlap], np.float32),
        SCORE: np.array([defaults.threshold], np.float32),
    }
    for name, value in (thresholds | _index_constants() | sizes).items():
        graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    # An input that has an initializer of the same name is optional (ONNX IR version 4).
    for name, value in thresholds.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, [1]))
    for operator, inputs, output, attributes in _SUPPRESSION_NODES:
        # A size that is a constant already needs no Shape node.
        if output not in sizes:
            name = f"suppression_{output}"
            graph.node.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
    _declare_outputs(onnx, graph)


def _index_constants() -> dict[str, np.ndarray]:
    """Return the constants of the suppression nodes by name."""
    return {
        "no_score": np.array(0, np.float32),
        "last_axis": np.array([2], np.int64),
        "image_column": np.array(0, np.int64),
        "class_column": np.array(1, np.int64),
        "box_column": np.array(2, np.int64),
        "rows_of_4": np.array([-1, 4], np.int64),
        "flat": np.array([-1], np.int64),
    }


def _declare_outputs(onnx: Any, graph: Any) -> None:
    """Declare the outputs of level ``nms``; the number of boxes is the free size ``found``."""
    types = onnx.TensorProto
    outputs: tuple[tuple[str, int, list[int]], ...] = (
        (_BOXES, types.FLOAT, [4]),
        (_SCORES, types.FLOAT, []),
        ("class_ids", types.INT64, []),
        ("image_ids", types.INT64, []),
    )
    for name, kind, shape in outputs:
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, ["found", *shape]))


def expose_candidates(model: Any) -> Any:
    """Add the candidates before suppression to the outputs of a graph of level ``nms``.

    Returns:
        ``model`` itself, an ``onnx.ModelProto``. Its last three outputs are now ``all_boxes``
        (B, N, 4), ``all_scores`` (B, N, C) and ``all_objectness`` (B, N).
    """
    onnx = load_extra("onnx", "export")
    names = [f"all_{name}" for name in (_BOXES, _SCORES, _OBJECTNESS)]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    return model


def _known_sizes(graph: Any) -> dict[str, np.ndarray]:
    """Return the number of boxes and of classes, each only if it is the same in every call."""
    dimensions = {output.name: output.type.tensor_type.shape.dim for output in graph.output}
    sizes = {
        "num_boxes": dimensions[_BOXES][1].dim_value,
        "num_classes": dimensions[_SCORES][2].dim_value,
    }
    # ``dim_value`` is 0 for a free size.
    return {name: np.array([size], np.int64) for name, size in sizes.items() if size}


# (operator, inputs, output, attributes) of each node of the suppression. B images, N boxes,
# C classes, M boxes that are left:
#
#     all_objectness (B, N) --- > threshold ---+
#     all_scores (B, N, C) ----------------- Where --- NonMaxSuppression --- selected (M, 3)
#     all_boxes (B, N, 4) -------------------------------------+
#     selected --- columns --- image_ids, class_ids, box_ids (M,)
#     all_boxes, all_scores --- rows at these ids --- boxes (M, 4), scores (M,)
_SUPPRESSION_NODES: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
    # A score counts only where the objectness exceeds the threshold too: set it to 0 elsewhere.
    ("Greater", ["all_objectness", SCORE], "is_object", {}),  # (B, N)
    ("Unsqueeze", ["is_object", "last_axis"], "is_object_3d", {}),  # (B, N, 1)
    ("Where", ["is_object_3d", "all_scores", "no_score"], "object_scores", {}),  # (B, N, C)
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
    # Index flat lists instead of GatherND, in which OpenCV 5.0 divides by zero if nothing is
    # selected:
    #     boxes[image, box]          = box_list[image * N + box]
    #     scores[image, class, box]  = score_list[(image * C + class) * N + box]
    ("Shape", ["all_boxes"], "num_boxes", {"start": 1, "end": 2}),  # N
    ("Shape", ["all_scores"], "num_classes", {"start": 2, "end": 3}),  # C
    ("Mul", ["image_ids", "num_boxes"], "box_start", {}),
    ("Add", ["box_start", "box_ids"], "box_place", {}),
    ("Reshape", ["all_boxes", "rows_of_4"], "box_list", {}),  # (B * N, 4)
    ("Gather", ["box_list", "box_place"], _BOXES, {"axis": 0}),  # (M, 4)
    ("Mul", ["image_ids", "num_classes"], "class_start", {}),
    ("Add", ["class_start", "class_ids"], "class_row", {}),
    ("Mul", ["class_row", "num_boxes"], "row_start", {}),
    ("Add", ["row_start", "box_ids"], "score_place", {}),
    ("Reshape", ["class_scores", "flat"], "score_list", {}),  # (B * C * N,)
    ("Gather", ["score_list", "score_place"], _SCORES, {"axis": 0}),  # (M,)
)
