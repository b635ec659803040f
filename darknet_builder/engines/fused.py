"""Prepare a network for inference: fold batch norm, drop unused layers, fuse activations.

There are three methods to run it, from the fastest to the one that always works:

* ``graph``: oneDNN Graph, part of PyTorch's x86 builds for Linux, compiles a TorchScript trace.
  Weights are packed once, activations and additions become part of the convolutions, and Python
  dispatches no operators. This module prepares layers that oneDNN Graph can compile;
  ``torch_engine`` makes the trace. Called without a trace, they run like ``plain``.
* ``packed``: oneDNN's convolutions with packed weights and fused activations, called one by one.
* ``plain``: PyTorch's public functions on channels-last tensors.

``graph`` and ``packed`` depend on private parts of PyTorch:
``torch.ops.mkldnn._convolution_pointwise`` and ``_reorder_convolution_weight``, which its own
compiler uses, and ``torch._C._jit_set_llga_enabled``. A new version of PyTorch may remove or change
them. If one is missing, ``available_methods`` leaves its method out. If its arguments change, the
tests fail: they compare every method with the network itself.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.layers.base import NETWORK_INPUT, Layer
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.pooling import Maxpool
from darknet_builder.layers.route import Route
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.network.plan import Plan

METHODS = ("graph", "packed", "plain")
"""All methods, the fastest first."""
_MISH_CHUNK = 65536
"""Number of values that mish processes at a time. They stay in the cache of one core, so that the
seven operators of ``_mish`` take the time of two that read and write main memory."""


def _no_scalars(module: nn.Module) -> list[float]:
    return []


def _slope(module: nn.LeakyReLU) -> list[float]:
    return [float(module.negative_slope)]


def _limits(module: nn.Hardtanh) -> list[float]:
    # nn.ReLU6 is a Hardtanh with limits 0 and 6.
    return [float(module.min_val), float(module.max_val)]


_POINTWISE: dict[type[nn.Module], tuple[str, Callable[[Any], list[float]]]] = {
    nn.Identity: ("none", _no_scalars),
    nn.ReLU: ("relu", _no_scalars),
    nn.Sigmoid: ("sigmoid", _no_scalars),
    nn.Tanh: ("tanh", _no_scalars),
    nn.SiLU: ("swish", _no_scalars),
    nn.LeakyReLU: ("leaky_relu", _slope),
    nn.ReLU6: ("hardtanh", _limits),
    nn.Hardtanh: ("hardtanh", _limits),
}
"""The activations that oneDNN's convolution can apply itself: their names in
``_convolution_pointwise``, and their parameters."""


def available_methods() -> tuple[str, ...]:
    """Return the methods that this PyTorch supports on this machine, the fastest first."""
    # On x86 the capability is DEFAULT, AVX2 or AVX512; oneDNN Graph needs one of the last two.
    graph = (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.jit, "enable_onednn_fusion")
        and hasattr(torch._C, "_jit_set_llga_enabled")
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
    )
    packed = torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name)
        for name in ("_convolution_pointwise", "_reorder_convolution_weight")
    )
    usable = dict(zip(METHODS, (graph, packed, True), strict=True))
    return tuple(name for name in METHODS if usable[name])


class FusedNetwork(nn.Module):
    """A copy of the layers that a network's outputs depend on, for inference only.

    It is called with (B, C, H, W) and returns the raw maps as float32. The layers that compute
    these maps stay in float32, because heads pass the values to exponentials.

    Args:
        network: the network to copy. Changes of its weights after this do not reach the copy.
        dtype: type of the weights and of all other maps: float32, bfloat16 or float16.
        method: how convolutions are computed, one of ``METHODS``; ``graph`` is for a network that
            is traced afterwards.
        channels_last: whether to convert the input to channels-last order. Converting it here, not
            in the caller, frees the copy as soon as no layer needs it any more.

    Attributes:
        indices: the layers that run, in order, by their index in the cfg.
        sources: for each of them, the layers that it reads.
        released: for each of them, the outputs that no later layer reads.
        dtypes: for each of them, the type of its inputs and output.
        functions: for each of them, the module that computes it.

    Raises:
        InputError: for a method that does not exist.

    Example:
        >>> from darknet_builder import build_network
        >>> fused = FusedNetwork(build_network("lesson").eval())
        >>> [tuple(raw.shape) for raw in fused(torch.zeros(1, 3, 64, 64))]
        [(1, 21, 8, 8), (1, 21, 16, 16)]
    """

    def __init__(
        self,
        network: Network,
        dtype: torch.dtype = torch.float32,
        method: str = "plain",
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise InputError(
                f"expected {', '.join(METHODS[:-1])} or {METHODS[-1]}",
                argument="method",
                value=repr(method),
                hint=did_you_mean(method, METHODS),
            )
        layers = fold_batch_norm(network).sequence()
        self.dtype = dtype
        self.channels_last = channels_last
        self.output_indices = network.output_indices
        # {pool: route}: run the pool on each input of the route, then the route, in one step:
        #     inputs -> route -> pool   becomes   inputs -> pools -> route
        swapped = _routes_after_pools(network)
        routes = set(swapped.values())
        self.indices = tuple(index for index in network.output_plan.steps if index not in routes)
        self.sources = [layers[swapped.get(index, index)].sources for index in self.indices]
        self.released = Plan.of(self.indices, self.sources, self.output_indices).released
        self.dtypes = [self._dtype_of(index) for index in self.indices]
        self.functions = nn.ModuleList()
        for index, layer_dtype in zip(self.indices, self.dtypes, strict=True):
            function = _for_inference(layers[index], layer_dtype, method)
            if index in swapped:
                function = _PoolsOfRoute(function, layers[swapped[index]])
            self.functions.append(function)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the raw map of every head, or the last layer's output."""
        outputs = {NETWORK_INPUT: self._ordered(x)}
        del x  # so that ``outputs`` holds the only reference, and releasing it frees the memory
        for index, function, sources, dtype, released in zip(
            self.indices, self.functions, self.sources, self.dtypes, self.released, strict=True
        ):
            outputs[index] = function(*[_in_dtype(outputs[source], dtype) for source in sources])
            for unread in released:
                del outputs[unread]
        return tuple(outputs[index] for index in self.output_indices)

    def _dtype_of(self, index: int) -> torch.dtype:
        return torch.float32 if index in self.output_indices else self.dtype

    def _ordered(self, x: Tensor) -> Tensor:
        if self.channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x


def _in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    # Do not call to() without need: a trace would keep the call, and it would separate two
    # operators that oneDNN Graph could otherwise fuse.
    return x if x.dtype == dtype else x.to(dtype)


def _for_inference(layer: Layer, dtype: torch.dtype, method: str) -> nn.Module:
    """Return a module that computes the same as a layer, in the form that runs fastest."""
    # [dropout], which shares the buffer of its source, computes nothing in inference. But after a
    # vector it can change the shape: its output is an image.
    if layer.shares_buffer and layer.in_shape == layer.out_shape:
        return nn.Identity()
    if isinstance(layer, Convolutional) and not layer.xnor:
        return _Convolution(layer, dtype, method)
    if isinstance(layer, Maxpool) and layer.blur is None and _ends_inside(layer):
        # Without the layer's explicit padding, oneDNN Graph can compile it.
        return nn.MaxPool2d(layer.size, layer.stride)
    return layer.to(dtype)


class _PoolsOfRoute(nn.Module):
    """Concatenate pooled inputs, instead of pooling the concatenation.

    The values are the same, but the concatenation copies only the pooled ones: a quarter of them
    with stride 2.
    """

    def __init__(self, pool: nn.Module, route: nn.Module) -> None:
        super().__init__()
        self.pool, self.route = pool, route

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, C_i, H, W) each -> (B, sum C_i, H', W')."""
        concatenated: Tensor = self.route(*[self.pool(x) for x in inputs])
        return concatenated


def _routes_after_pools(network: Network) -> dict[int, int]:
    """Return {pool: route} for each strided pool that is the only reader of its route.

    The route must concatenate several layers.
    """
    layers = network.sequence()
    steps = network.output_plan.steps
    readers = Counter(source for index in steps for source in layers[index].sources)
    readers.update(network.output_indices)
    swapped = {}
    for index in steps:
        pool = layers[index]
        source = pool.sources[0]
        if not isinstance(pool, Maxpool) or source == NETWORK_INPUT:
            continue
        # Only a stride makes the maps smaller. A blur has a filter for each channel of the route.
        is_strided = pool.blur is None and max(pool.stride) > 1
        if is_strided and readers[source] == 1 and _concatenates_images(layers, layers[source]):
            swapped[index] = source
    return swapped


def _concatenates_images(layers: Sequence[Layer], layer: Layer) -> bool:
    # With groups, a route takes only a part of the channels; vectors have no pixels to pool.
    if not isinstance(layer, Route) or layer.groups > 1 or len(layer.sources) == 1:
        return False
    return not any(layers[part].out_shape.flat for part in layer.sources)


def _ends_inside(layer: Maxpool) -> bool:
    """Return whether every window of a pool lies inside the image.

    Then the padding that Darknet adds on the right and below is never read.
    """
    # Along one axis, the last window ends at (new - 1) * stride + size:
    #     |--size--|            image: 0 ... old
    #       stride |--size--|
    return layer.padding // 2 == 0 and all(
        (new - 1) * stride + layer.size <= old
        for new, stride, old in (
            (layer.out_shape.height, layer.stride[0], layer.in_shape.height),
            (layer.out_shape.width, layer.stride[1], layer.in_shape.width),
        )
    )


class _Convolution(nn.Module):
    """A convolution with bias, then its activation, then its blur (antialiasing)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: Convolutional, dtype: torch.dtype, method: str) -> None:
        super().__init__()
        assert layer.norm is None and layer.conv.bias is not None
        weight, bias = layer.conv.weight.detach(), layer.conv.bias.detach()
        self.register_buffer("bias", bias.to(dtype))
        # In the order of ``_reorder_convolution_weight``'s arguments.
        stride, padding, dilation = layer.geometry
        self.geometry = (list(padding), list(stride), list(dilation), layer.groups)
        self.blur = None if layer.blur is None else layer.blur.to(dtype)
        self.activation: Callable[[Tensor], Tensor] | None = _activation(layer.activation, method)
        weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.fused: tuple[str, list[float]] | None = None
        if method == "packed":
            # oneDNN chooses the order of the weights for an input of this shape, (1, C, H, W).
            in_shape = [1, *layer.in_shape.batched(1)[1:]]
            weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, in_shape)
            self._fuse(layer.activation)
        self.register_buffer("weight", weight)

    def _fuse(self, activation: nn.Module) -> None:
        """Choose the activation that oneDNN applies; others remain a step of their own."""
        name, scalars = _POINTWISE.get(type(activation), ("none", _no_scalars))
        self.fused = name, scalars(activation)
        if type(activation) in _POINTWISE:
            self.activation = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        padding, stride, dilation, groups = self.geometry
        if self.fused is None:
            x = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        else:
            x = torch.ops.mkldnn._convolution_pointwise.default(
                x, self.weight, self.bias, padding, stride, dilation, groups, *self.fused, ""
            )
        if self.activation is not None:
            x = self.activation(x)
        return x if self.blur is None else self.blur(x)


# ---- activations ---------------------------------------------------------------------------------


def _activation(module: nn.Module, method: str) -> Callable[[Tensor], Tensor] | None:
    """Return an activation in the form that runs fastest by ``method``; None for linear."""
    if isinstance(module, nn.Identity):
        return None
    if isinstance(module, nn.SiLU) and method == "graph":
        return _swish
    if isinstance(module, nn.Mish) and method in ("graph", "packed"):
        return _scripted_mish()
    return module


def _swish(x: Tensor) -> Tensor:
    """Compute swish in a form that oneDNN Graph recognises and fuses with the convolution."""
    # It does not recognise ``aten::silu``.
    return x * torch.sigmoid(x)


def _mish(x: Tensor, chunk: int) -> Tensor:
    """Compute mish, x * tanh(log(1 + e^x)), in place with one exponential and no logarithm.

    Args:
        x: (B, C, H, W) in channels-last order.
        chunk: number of values to process at a time.
    """
    # With p = e^x and n = p + p^2 / 2:
    #     tanh(log(1 + p)) = ((1 + p)^2 - 1) / ((1 + p)^2 + 1) = n / (n + 1)
    # Beyond x = 20 that is 1 in float32, and clamping avoids an overflow of p^2.
    # Each chunk is computed in float32, also if x is bfloat16.
    #
    # Channels-last memory is (B, H, W, C), so the reshape below is a view and no copy.
    for part in x.permute(0, 2, 3, 1).reshape(-1).split(chunk):
        power = part.float().clamp_max(20.0).exp_()
        n = torch.addcmul(power, power, power, value=0.5)
        part.mul_(n.div_(torch.add(n, 1.0, out=power)))
    return x


@cache
def _scripted_mish() -> Callable[[Tensor], Tensor]:
    """Return mish compiled by TorchScript, which a trace can contain with its loop."""
    with quiet_torchscript():
        scripted = torch.jit.script(_mish)
    return lambda x: scripted(x.contiguous(memory_format=torch.channels_last), _MISH_CHUNK)


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """Silence TorchScript's deprecation warnings and its warnings about constants in traces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
