"""What can run a network fast: PyTorch alone, PyTorch with a compiler, ONNX Runtime, OpenVINO.

An engine is called with (B, C, H, W) float32 and answers with the raw maps as float32. It holds a copy of the weights.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from darknet_builder.devices import require_bfloat16
from darknet_builder.engine_choices import BACKEND_NAMES, PRECISION_NAMES
from darknet_builder.errors import InputError
from darknet_builder.export_check import runtime_errors
from darknet_builder.extras import load_extra
from darknet_builder.folding import fold_batch_norm
from darknet_builder.fused import FusedNetwork, available_methods, quiet_torchscript
from darknet_builder.network import Network
from darknet_builder.onnx_graph import to_model
from darknet_builder.tracing import Sizes, Traceable

PRECISIONS: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISION_NAMES}
"""What a network can run in; float16 is for GPUs."""
_MOST_SHAPES = 4
"""How many input shapes stay compiled: each has its own packed weights."""
_Form = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and strides of an input: what is compiled assumes both."""
COMPILED_FROM_CALL = 3
"""Compiling takes about a second: a single photograph should not wait for it."""
_WARM_UP = 3
"""TorchScript looks at the shapes in the first call and compiles in the second."""
_CACHED_BYTES = 16 * 2 ** 20
"""How large the largest map of a part of a batch may be: half of a common last-level cache, so that what one layer has
written is still there when the next reads it. ``docs/performance.md`` has the measurement."""
_COMPILERS = ("g++", "clang++", "c++", "icpx", "cl")
_OPENVINO_FAILURES = ("GeneralFailure", "InitializationFailure", "NotImplementedFailure", "OpConversionFailure",
                      "OpValidationFailure")


class Engine(Protocol):
    """Runs one network at one precision.

    Attributes:
        detail: how, for people: the engine's own name or version.
    """

    detail: str

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) float32 -> the raw maps, float32."""


def make_engine(network: Network, backend: str, precision: str) -> Engine:
    """Build one.

    Args:
        network: loaded, in eval mode.
        backend: a key of ``BACKENDS``.
        precision: a key of ``PRECISIONS``.

    Raises:
        InputError: where the backend cannot run the network, or not at this precision or on its device.
        MissingExtraError: where it is not installed.
    """
    if network.is_recurrent:
        if backend != "torch" or precision != "float32":
            raise InputError(f"backend={backend!r}, precision={precision!r}: a network with recurrent layers runs with "
                             "backend='torch' and precision='float32' alone")
        return RecurrentEngine(network)
    if precision == "bfloat16":
        require_bfloat16(network.device, f"precision={precision!r}", "precision='float32' or 'auto'")
    if precision == "float16" and network.device.type == "cpu":
        raise InputError("precision='float16' is for GPUs: processors compute faster in bfloat16 or float32")
    return BACKENDS[backend](network, precision)


@contextmanager
def _one_line(backend: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """What an engine says of a network that it cannot run, as one line.

    Raises:
        InputError: in place of any of ``errors``.
    """
    try:
        yield
    except errors as error:
        raise InputError(f"backend={backend!r} cannot run this network: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    """The line that says what is wrong: engines put places in their own sources before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if re.search("not support|unsupported|no conversion rule", line, re.I)]
    return (telling or lines or [type(error).__name__])[0]


def _ordered(x: Tensor, dtype: torch.dtype) -> Tensor:
    """In the order and the precision that convolutions want."""
    return x.to(dtype, memory_format=torch.channels_last) if x.dim() == 4 else x.to(dtype)


class RecurrentEngine:
    """The network itself, in float32: its memory stays its own."""

    detail = "the network itself"

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        return self._network.outputs(x)


class TorchEngine:
    """PyTorch without a compiler, in the best way that this machine's PyTorch has (see ``fused``).

    With ``graph``, the third call of a shape compiles, the first two run as ``plain``. On the CPU a batch whose maps
    would fall out of the cache goes through in parts.

    Args:
        network: loaded.
        precision: a key of ``PRECISIONS``.
        method: one of ``fused.METHODS``; the best one by default.
    """

    def __init__(self, network: Network, precision: str, method: str | None = None) -> None:
        device = network.device
        self.detail = method or (available_methods()[0] if device.type == "cpu" else "plain")
        self._dtype = PRECISIONS[precision]
        self._fused = FusedNetwork(network, self._dtype, self.detail, channels_last=True)
        self._compiled: OrderedDict[_Form, Callable[[Tensor], tuple[Tensor, ...]]] = OrderedDict()
        self._calls: Counter[_Form] = Counter()
        self._images_cached = _images_cached(network, self._dtype) if device.type == "cpu" else None

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        if self._images_cached is None or len(x) <= self._images_cached:
            return self._run(x)
        parts = [self._run(part) for part in _even_parts(x, self._images_cached)]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def _run(self, x: Tensor) -> list[Tensor]:
        if x.dtype != self._dtype or not x.is_contiguous():
            x = _ordered(x, self._dtype)
        return [output.float() for output in self._function_for(x)(x)]

    def _function_for(self, x: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """What is compiled for a form of input; a form that comes rarely, as the last batch of a folder, is not."""
        form = tuple(x.shape), x.stride()
        self._calls[form] += 1
        if self.detail != "graph" or self._calls[form] < COMPILED_FROM_CALL:
            return self._fused
        if form not in self._compiled:
            self._compiled[form] = _compile_graph(self._fused, x)
            if len(self._compiled) > _MOST_SHAPES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(form)
        return self._compiled[form]


def _images_cached(network: Network, dtype: torch.dtype) -> int:
    """How many images at once keep the largest map within ``_CACHED_BYTES``; one at least."""
    layers = network.sequence()
    largest = max([network.input_shape.size, *(layers[index].out_shape.size for index in network.output_plan.steps)])
    return max(1, _CACHED_BYTES // (largest * dtype.itemsize))


def _even_parts(x: Tensor, most: int) -> Sequence[Tensor]:
    """A batch in parts of up to ``most`` images: equal ones if they need not be small, as each size is compiled."""
    divisor = next(size for size in range(most, 0, -1) if len(x) % size == 0)
    return x.split(divisor) if 2 * divisor >= most else x.tensor_split(-(-len(x) // most))


def _compile_graph(fused: FusedNetwork, example: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Trace, freeze, and have oneDNN Graph compile what it knows; the switch is global, so it is put back."""
    before = torch.jit.onednn_fusion_enabled()
    with torch.inference_mode(False), torch.no_grad(), quiet_torchscript():
        try:
            torch.jit.enable_onednn_fusion(True)
            x = torch.zeros_like(example)
            compiled = torch.jit.freeze(torch.jit.trace(fused, x, check_trace=False))
            for _ in range(_WARM_UP):
                compiled(x)
        finally:
            torch.jit.enable_onednn_fusion(before)
    return compiled


class CompileEngine:
    """``torch.compile``: the best code for a GPU, minutes of compilation; on a CPU it needs a C++ compiler."""

    def __init__(self, network: Network, precision: str) -> None:
        if network.device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))):
            raise InputError("backend='compile' needs a C++ compiler (Debian, Ubuntu: apt-get install g++); "
                             "backend='torch' needs none")
        self.detail = "inductor"
        self._dtype = PRECISIONS[precision]
        self._compiled = torch.compile(FusedNetwork(network, self._dtype), dynamic=False)
        self._errors = (import_module("torch._dynamo.exc").TorchDynamoException,)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        with torch.inference_mode(False), torch.no_grad(), _one_line("compile", self._errors):
            return [output.float() for output in self._compiled(_ordered(x, self._dtype))]


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU."""

    def __init__(self, network: Network, precision: str) -> None:
        runtime = load_extra("onnxruntime", "export")
        _require_cpu(network, "onnxruntime")
        if precision != "float32":
            raise InputError(f"backend='onnxruntime' has no {precision} convolutions on the CPU: use "
                             "precision='float32' or another backend")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.detail = f"onnxruntime {runtime.__version__}"
        self._errors = runtime_errors()
        too_large = load_extra("google.protobuf.message", "export").EncodeError
        with _one_line("onnxruntime", (*self._errors, InputError, too_large)):
            self._session = runtime.InferenceSession(onnx_bytes(network), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        with _one_line("onnxruntime", self._errors):
            outputs = self._session.run(None, {self._input: x.contiguous().numpy()})
        return [torch.from_numpy(output) for output in outputs]


class OpenVinoEngine:
    """OpenVINO on the CPU."""

    def __init__(self, network: Network, precision: str) -> None:
        openvino = load_extra("openvino", "openvino")
        _require_cpu(network, "openvino")
        self.detail = f"openvino {openvino.__version__.split('-')[0]}"
        failures = load_extra("openvino.frontend", "openvino")
        self._errors = (RuntimeError, *(getattr(failures, name) for name in _OPENVINO_FAILURES))
        with _one_line("openvino", self._errors):
            model = openvino.convert_model(_traced(network), example_input=_example(network))
            model.reshape([-1, *network.input_shape.batched(1)[1:]])
            self._compiled: Any = _openvino_core().compile_model(model, "CPU", {
                "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"})

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        with _one_line("openvino", self._errors):
            outputs = self._compiled(x.contiguous().numpy())
        # The memory belongs to the engine's next call.
        return [torch.from_numpy(np.array(outputs[index], np.float32)) for index in range(len(outputs))]


@cache
def _openvino_core() -> Any:
    """One for the whole process.

    Each Core brings a stack for signals and takes it away when it ends; two that end in the order in which they began
    leave the process with one that is gone, and the next signal (a child that ends, Ctrl-C) kills it.
    """
    return load_extra("openvino", "openvino").Core()


BACKENDS: dict[str, Callable[[Network, str], Engine]] = dict(zip(
    BACKEND_NAMES, (TorchEngine, CompileEngine, OnnxRuntimeEngine, OpenVinoEngine), strict=True))


def _require_cpu(network: Network, backend: str) -> None:
    device = network.device
    if device.type != "cpu":
        raise InputError(f"backend={backend!r} runs on the CPU here, the network is on {device}; use backend='torch' "
                         "or 'compile'")


def _example(network: Network) -> Tensor:
    return torch.zeros(network.input_shape.batched(1))


def _traced(network: Network) -> nn.Module:
    with torch.no_grad(), quiet_torchscript():
        traced: nn.Module = torch.jit.trace(FusedNetwork(network), _example(network), check_trace=False)
    return traced


def onnx_bytes(network: Network) -> bytes:
    """The network as an ONNX model for any batch, its outputs as raw maps: what ``export`` writes."""
    module, sizes = Traceable(fold_batch_norm(network), "raw").eval(), Sizes(any_batch=True)
    example = torch.zeros(network.input_shape.batched(sizes.traced_batch))
    model = to_model(module, example, module.input_name, module.output_names, dimensions=sizes.dimensions())
    written: bytes = model.SerializeToString()
    return written


def installed_backends(names: Sequence[str] = tuple(BACKENDS)) -> list[str]:
    """Those of ``names`` whose packages are installed."""
    packages = {"onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}
    return [name for name in names if all(_is_installed(package) for package in packages.get(name, ()))]


def _is_installed(package: str) -> bool:
    return find_spec(package) is not None
