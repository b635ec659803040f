"""Batch norm folded into the weights before it: the same answers from fewer steps, as
``network.c:1289`` does.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.layers.connected import Connected
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.pjreddie_only import Deconvolutional
from darknet_builder.network.network import Network

_KEYS = ("batch_normalize", "cbn")


def fold_batch_norm(network: Network) -> Network:
    """A copy in eval mode whose convolutional and connected layers have no batch norm, those within
    recurrent ones too.

    Its blocks say so as well, so that it can be written as a cfg. A [batchnorm] section of its own
    stays.
    """
    folded = copy.deepcopy(network).eval()
    done: set[nn.Module] = set()
    changed: set[int] = set()
    for index, layer in enumerate(folded.sequence()):
        for part in layer.modules():
            if (
                isinstance(part, Convolutional | Connected | Deconvolutional)
                and part.norm is not None
            ):
                linear = part.linear if isinstance(part, Connected) else part.conv
                if (
                    linear not in done
                ):  # share_index= uses another layer's, which are folded already
                    _fold(linear, part.norm)
                    done.add(linear)
                part.norm = None
                changed.add(index)
    folded.blocks = [
        _without_batch_norm(block) if index in changed else block
        for index, block in enumerate(folded.blocks, start=-1)
    ]
    return folded


def _fold(
    linear: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm1d | nn.BatchNorm2d
) -> None:
    """Weight *= s / sqrt(v + eps); bias = b - s m / sqrt(v + eps), in float64 as Darknet does."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.detach().double() - factor * norm.running_mean.double()
    weight = linear.weight
    # A transposed convolution has its output channels in the second place.
    shape = (
        (1, -1, 1, 1) if isinstance(linear, nn.ConvTranspose2d) else (-1, *[1] * (weight.dim() - 1))
    )
    linear.weight = _parameter(weight.detach().double() * factor.view(shape), weight)
    linear.bias = _parameter(bias, weight)


def _parameter(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like.dtype), requires_grad=like.requires_grad)


def _without_batch_norm(block: Block) -> Block:
    options = {key: value for key, value in block.items() if key not in _KEYS}
    return Block(
        block.name,
        options,
        line=block.line,
        source=block.source,
        lines={key: block.line_of(key) for key in options},
    )
