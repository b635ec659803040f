"""A network made ready for inference: batch norm folded, dead layers gone, activations in a form
that fuses.

Three ways to run it, from the fastest to the one that always works:

* ``graph``: traced by TorchScript and compiled by oneDNN Graph, which is part of PyTorch's x86
  builds for Linux: weights are packed once, activations and additions become part of the
  convolutions, Python dispatches no operator.
* ``packed``: oneDNN's own convolutions with packed weights and fused activations, one by one.
* ``plain``: PyTorch's public functions on channels-last tensors.

``graph`` and ``packed`` rest on private parts of PyTorch:
``torch.ops.mkldnn._convolution_pointwise`` and ``_reorder_convolution_weight``, which its own
compiler uses, and ``torch._C._jit_set_llga_enabled``. A new version of PyTorch may drop or change
them. ``available_methods`` looks for each by name and falls back to the next method; a change of
their arguments shows in the tests, which compare every method with the network itself.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.layers.base import NETWORK_INPUT, Layer
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.pooling import Maxpool
from darknet_builder.layers.route import Route
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.network.plan import Plan

METHODS = ("graph", "packed", "plain")
_MISH_CHUNK = 65536
"""Values that mish works on at a time: few enough for a core's own cache, so that its seven passes
cost as two."""
_POINTWISE: dict[type[nn.Module], tuple[str, Callable[[nn.Module], list[float]]]] = {
    nn.Identity: ("none", lambda module: []),
    nn.ReLU: ("relu", lambda module: []),
    nn.Sigmoid: ("sigmoid", lambda module: []),
    nn.Tanh: ("tanh", lambda module: []),
    nn.SiLU: ("swish", lambda module: []),
    nn.LeakyReLU: ("leaky_relu", lambda module: [float(module.negative_slope)]),
    nn.ReLU6: ("hardtanh", lambda module: [0.0, 6.0]),
    nn.Hardtanh: (
        "hardtanh",
        lambda module: [float(module.min_val), float(module.max_val)],
    ),
}
"""The activations that oneDNN's convolution applies itself, as ``_convolution_pointwise`` names
them."""


def available_methods() -> tuple[str, ...]:
    """Those of ``METHODS`` that this PyTorch can do on this machine, the best first."""
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
    return tuple(
        name for name, usable in zip(METHODS, (graph, packed, True), strict=True) if usable
    )


class FusedNetwork(nn.Module):
    """The layers that a network's output needs, as they are now, for inference alone.

    It is called with (B, C, H, W) and returns the raw maps as float32. The convolutions that the
    output is read from stay in float32: their values go through exponentials.

    Args:
        network: what it is made of; it is copied, so that it may change afterwards.
        dtype: float32 or bfloat16.
        method: one of ``METHODS``.
        channels_last: bring the input into that order. Done in here, the copy is released after its
            last reader; a caller's would live as long as the call.
    """

    def __init__(
        self,
        network: Network,
        dtype: torch.dtype = torch.float32,
        method: str = "plain",
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        layers = fold_batch_norm(network).sequence()
        self.dtype = dtype
        self.channels_last = channels_last
        self.output_indices = network.output_indices
        swapped = _routes_after_pools(network)
        routes = set(swapped.values())
        self.indices = tuple(index for index in network.output_plan.steps if index not in routes)
        self.sources = [layers[swapped.get(index, index)].sources for index in self.indices]
        self.released = Plan.of(self.indices, self.sources, self.output_indices).released
        self.dtypes = [
            torch.float32 if index in self.output_indices else dtype for index in self.indices
        ]
        functions = (
            _for_inference(layers[index], own, method)
            for index, own in zip(self.indices, self.dtypes, strict=True)
        )
        self.functions = nn.ModuleList(
            _PoolsOfRoute(function, layers[swapped[index]]) if index in swapped else function
            for index, function in zip(self.indices, functions, strict=True)
        )
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the raw map of every head, or the last layer's output."""
        outputs = {NETWORK_INPUT: self._ordered(x)}
        del x
        for index, function, sources, dtype, released in zip(
            self.indices, self.functions, self.sources, self.dtypes, self.released, strict=True
        ):
            outputs[index] = function(*[_in_dtype(outputs[source], dtype) for source in sources])
            for old in released:
                del outputs[old]
        return tuple(outputs[index] for index in self.output_indices)

    def _ordered(self, x: Tensor) -> Tensor:
        return (
            x.contiguous(memory_format=torch.channels_last)
            if self.channels_last and x.dim() == 4
            else x
        )


def _in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    # Not even a call of to() where there is nothing to do: a trace would keep it, and it would
    # stand between two operators that could be one.
    return x if x.dtype == dtype else x.to(dtype)


def _for_inference(layer: Layer, dtype: torch.dtype, method: str) -> nn.Module:
    """Return the module that computes the same as a layer, in the form that runs fastest."""
    if (
        layer.shares_buffer and layer.in_shape == layer.out_shape
    ):  # dropout, unless it makes a vector an image
        return nn.Identity()
    if isinstance(layer, Convolutional) and not layer.xnor:
        return _Convolution(layer, dtype, method)
    if isinstance(layer, Maxpool) and layer.blur is None and _ends_inside(layer):
        return nn.MaxPool2d(layer.size, layer.stride)
    return layer.to(dtype)


class _PoolsOfRoute(nn.Module):
    """A route of pooled inputs, instead of the pool of a route: the same values, and a fraction of
    them is copied.
    """

    def __init__(self, pool: nn.Module, route: nn.Module) -> None:
        super().__init__()
        self.pool, self.route = pool, route

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, C_i, H, W) each -> (B, sum C_i, H', W')."""
        joined: Tensor = self.route(*[self.pool(x) for x in inputs])
        return joined


def _routes_after_pools(network: Network) -> dict[int, int]:
    """{pool: route} where a strided pool reads a route of several layers that nothing else
    reads.
    """
    layers = network.sequence()
    readers = Counter(
        source for index in network.output_plan.steps for source in layers[index].sources
    )
    readers.update(network.output_indices)
    found = {}
    for index in network.output_plan.steps:
        pool = layers[index]
        source = pool.sources[0]
        if (
            isinstance(pool, Maxpool)
            and pool.blur is None
            and max(pool.stride) > 1
            and source != NETWORK_INPUT
        ):
            route = layers[source]
            if (
                isinstance(route, Route)
                and route.groups == 1
                and len(route.sources) > 1
                and readers[source] == 1
                and not any(layers[part].out_shape.flat for part in route.sources)
            ):
                found[index] = source
    return found


def _ends_inside(layer: Maxpool) -> bool:
    """Whether no window reaches beyond the image, so that what is padded on the right is never
    read.
    """
    return layer.padding // 2 == 0 and all(
        (new - 1) * stride + layer.size <= old
        for new, stride, old in (
            (layer.out_shape.height, layer.stride[0], layer.in_shape.height),
            (layer.out_shape.width, layer.stride[1], layer.in_shape.width),
        )
    )


class _Convolution(nn.Module):
    """Convolution, then the activation, then the blur."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: Convolutional, dtype: torch.dtype, method: str) -> None:
        super().__init__()
        assert layer.norm is None and layer.conv.bias is not None
        weight, bias = layer.conv.weight.detach(), layer.conv.bias.detach()
        self.register_buffer("bias", bias.to(dtype))
        stride, padding, dilation = layer.geometry
        self.places = (list(padding), list(stride), list(dilation), layer.groups)
        self.blur = None if layer.blur is None else layer.blur.to(dtype)
        self.activation: Callable[[Tensor], Tensor] | None = _activation(layer.activation, method)
        weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.fused: tuple[str, list[float]] | None = None
        if method == "packed":
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight, *self.places, [1, *layer.in_shape.batched(1)[1:]]
            )
            self._fuse(layer.activation)
        self.register_buffer("weight", weight)

    def _fuse(self, activation: nn.Module) -> None:
        name, scalars = _POINTWISE.get(type(activation), ("none", lambda module: []))
        self.fused = name, scalars(activation)
        if type(activation) in _POINTWISE:
            self.activation = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        padding, stride, dilation, groups = self.places
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
    """The activation in the form that ``method`` runs fastest; None for none."""
    if isinstance(module, nn.Identity):
        return None
    if isinstance(module, nn.SiLU) and method == "graph":
        return _swish
    if isinstance(module, nn.Mish) and method in ("graph", "packed"):
        return _scripted_mish()
    return module


def _swish(x: Tensor) -> Tensor:
    """The pattern that oneDNN Graph finds and makes part of the convolution; ``silu`` it does not
    know.
    """
    return x * torch.sigmoid(x)


def _mish(x: Tensor, chunk: int) -> Tensor:
    """X * tanh(log(1 + e^x)) in place, as x * n / (n + 1) with n = e^x + e^(2 x) / 2: one
    exponential, no logarithm.

    Beyond 20 the factor is 1 in float32. bfloat16 is computed in float32, chunk by chunk.
    """
    for part in x.permute(0, 2, 3, 1).reshape(-1).split(chunk):
        power = part.float().clamp_max(20.0).exp_()
        n = torch.addcmul(power, power, power, value=0.5)
        part.mul_(n.div_(torch.add(n, 1.0, out=power)))
    return x


@cache
def _scripted_mish() -> Callable[[Tensor], Tensor]:
    with quiet_torchscript():
        scripted = torch.jit.script(_mish)
    return lambda x: scripted(x.contiguous(memory_format=torch.channels_last), _MISH_CHUNK)


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """A context in which TorchScript says nothing of its age, and tracing nothing of constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
