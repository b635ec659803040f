"""Quantize an ONNX model with ONNX Runtime: QDQ nodes, weights per channel in 7 bits.

Why ONNX Runtime's quantizer: it comes with the packages of every ONNX export. The bundled detector
loses 0.1 points of mAP. Its files, in which additions, poolings and activations are quantized too,
gain speed in both engines; with quantized inputs of convolutions alone, as NNCF places them,
OpenVINO gains no more, and ONNX Runtime is slower than in float32. ``docs/performance.md`` has the
numbers. NNCF's own accuracy was not measured.

Why 7 bits: processors without VNNI add two products of 8 bits in 16 bits, which can overflow:
255 * 127 + 255 * 127 = 64,770, but 16 bits end at 32,767. Both ONNX Runtime and OpenVINO saturate
there: the signal-to-noise ratio of yolov4-tiny's maps falls from 28 to 21 dB. With weights of 7
bits, the sum is at most 255 * 64 + 255 * 64 = 32,640. A file is written on one machine and run on
another, so every file has such weights.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.export.onnx.graph import layer_of
from darknet_builder.export.quantized.calibration import measure_ranges
from darknet_builder.export.quantized.running import batch_of, raw_part
from darknet_builder.support.extras import load_extra

_OPERATORS = ("Conv", "LeakyRelu", "Relu", "Clip", "MaxPool", "Concat", "Split", "Resize", "Add")
"""The operators that run in int8. The products of swish, mish and attention stay in float32:
OpenVINO recognises these activations only without quantization between their nodes."""
_FOR_TENSORRT = {
    "ActivationSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
    "QuantizeBias": False,
}
"""What ONNX Runtime's documentation recommends for TensorRT, which has no zero points. The weights
have 7 bits all the same, because the file is checked and judged on this machine's processor."""
_CONVOLUTION = "Conv"
_WEIGHTED = (_CONVOLUTION, "Gemm", "MatMul")
"""The operators with weights; the last one before each raw map stays in float32."""


class Int8Quantizer:
    """Quantize one model, with any of its layers left in float32.

    Args:
        model: an ``onnx.ModelProto`` of any level, whose raw maps have names.
        raw_names: names of the tensors that hold the raw maps.
        symmetric: whether to quantize as TensorRT needs it.

    Attributes:
        layers: indices of the layers whose convolutions can be quantized, in order.

    Raises:
        InputError: if there are none.
    """

    def __init__(self, model: Any, raw_names: Sequence[str], symmetric: bool = False) -> None:
        self._model, self._raw_names = model, tuple(raw_names)
        self._symmetric = symmetric
        self._ranges: Any = None
        inside = set(map(_id, _nodes_before(model, raw_names)))
        heads = set(map(_id, _nodes_before(model, raw_names, end=_WEIGHTED)))
        # Heads pass their values to exponentials, so the convolution before them stays in float32,
        # and so does all that follows.
        self._excluded = [node.name for node in model.graph.node if _id(node) not in inside - heads]
        convolutions = [
            node
            for node in model.graph.node
            if node.op_type == _CONVOLUTION and node.name not in self._excluded
        ]
        layers = [index for node in convolutions if (index := layer_of(node)) is not None]
        self.layers = sorted(set(layers))
        if not self.layers:
            raise InputError(
                "the network has no convolution to quantize: the last one before each head stays"
                " in float32"
            )

    def calibrate(self, inputs: Iterable[Tensor], folder: Path) -> None:
        """Measure the range of every activation.

        Args:
            inputs: (C, H, W) each.
            folder: for temporary files; it must exist.
        """
        onnx = load_extra("onnx", "int8")
        # Without the nodes after the raw maps, which are not quantized.
        model = raw_part(self._model, self._raw_names)
        path = folder / "model.onnx"
        onnx.save(model, str(path))
        name, batch = model.graph.input[0].name, batch_of(model) or 1
        calls = ({name: _repeated(x, batch)} for x in inputs)
        self._ranges = measure_ranges(path, _OPERATORS, calls)

    def quantize(self, float_layers: Collection[int] = ()) -> Any:
        """Return the quantized ``onnx.ModelProto``, after ``calibrate``.

        Args:
            float_layers: indices of layers that stay in float32.
        """
        quantization = load_extra("onnxruntime.quantization", "int8")
        quantizer = load_extra("onnxruntime.quantization.qdq_quantizer", "int8")
        kinds = quantization.QuantType
        left = [node.name for node in self._model.graph.node if layer_of(node) in float_layers]
        made = quantizer.QDQQuantizer(
            copy.deepcopy(self._model),  # the quantizer changes it
            per_channel=True,
            reduce_range=True,
            weight_qType=kinds.QInt8,
            activation_qType=kinds.QInt8 if self._symmetric else kinds.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[*self._excluded, *left],
            op_types_to_quantize=list(_OPERATORS),
            extra_options=_FOR_TENSORRT if self._symmetric else {},
        )
        made.quantize_model()
        made.model.topological_sort()  # it appends its nodes at the end
        return made.model.model


def _nodes_before(model: Any, names: Sequence[str], end: Collection[str] = ()) -> Iterator[Any]:
    """Yield the nodes that compute some tensors, each once.

    Args:
        model: an ``onnx.ModelProto``.
        names: names of the tensors.
        end: operators before which to stop; the last node is yielded too.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    waiting, seen = list(names), set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or _id(node) in seen:
            continue  # an input or a constant, or a node with several readers
        seen.add(_id(node))
        yield node
        if node.op_type not in end:
            waiting.extend(node.input)


def _id(node: Any) -> str:
    # A name may be missing, but every output has a name of its own.
    name: str = node.output[0]
    return name


def _repeated(x: Tensor, batch: int) -> np.ndarray:
    return np.repeat(x[None].numpy(), batch, 0)  # (C, H, W) -> (B, C, H, W)
