"""Run networks in ONNX Runtime on the CPU, in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.engines.base import one_line_errors, require_cpu
from darknet_builder.errors import InputError
from darknet_builder.export.onnx.graph import to_model
from darknet_builder.export.onnx.runtime import runtime_errors
from darknet_builder.export.traceable import Sizes, Traceable
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra


class OnnxRuntimeEngine:
    """Run the network's ONNX model in ONNX Runtime, with as many threads as PyTorch has.

    Args:
        network: a network with its weights, in eval mode on the CPU.
        precision: ``float32``; ONNX Runtime has no other convolutions on the CPU.

    Raises:
        InputError: for another precision or device, or if ONNX Runtime cannot run the network.
        MissingExtraError: if onnxruntime is not installed.
    """

    compiles = False

    def __init__(self, network: Network, precision: str) -> None:
        runtime = load_extra("onnxruntime", "export")
        require_cpu(network, "onnxruntime")
        if precision != "float32":
            raise InputError(
                f"backend='onnxruntime' has no {precision} convolutions on the CPU; use "
                "precision='float32' or another backend"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.detail = f"onnxruntime {runtime.__version__}"
        self._errors = runtime_errors()
        # protobuf cannot serialize models of 2 GB and more.
        too_large = load_extra("google.protobuf.message", "export").EncodeError
        with one_line_errors("onnxruntime", (*self._errors, InputError, too_large)):
            self._session = runtime.InferenceSession(
                onnx_bytes(network), options, providers=["CPUExecutionProvider"]
            )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        with one_line_errors("onnxruntime", self._errors):
            outputs = self._session.run(None, {self._input: x.contiguous().numpy()})
        return [torch.from_numpy(output) for output in outputs]


def onnx_bytes(network: Network) -> bytes:
    """Return the network as a serialized ONNX model of level ``raw``, for any batch size.

    Args:
        network: a network with its weights, in eval mode on the CPU.

    Raises:
        InputError: if the network cannot be exported.
        MissingExtraError: if a package of the extra ``export`` is not installed.
    """
    module, sizes = Traceable(fold_batch_norm(network), "raw").eval(), Sizes(any_batch=True)
    example = torch.zeros(network.input_shape.batched(sizes.traced_batch))
    model = to_model(
        module, example, module.input_name, module.output_names, dimensions=sizes.dimensions()
    )
    written: bytes = model.SerializeToString()
    return written
