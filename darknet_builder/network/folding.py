"""Fold batch norm into the weights before it, as ``network.c:1289`` does.

The results are the same, from fewer steps.
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
_Folding = Convolutional | Connected | Deconvolutional
_Linear = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def fold_batch_norm(network: Network) -> Network:
    """Return a copy in eval mode without batch norm: it is folded into the layer before it.

    Convolutional and connected layers are folded, also those inside recurrent ones. The copy's
    blocks have no ``batch_normalize=`` either, so that it can be written as a cfg. [batchnorm]
    sections stay.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("yolov4-tiny")
        >>> fold_batch_norm(network).layers[0].norm is None
        True
    """
    folded = copy.deepcopy(network, _not_copied(network))
    done: set[nn.Module] = set()
    changed: set[int] = set()
    for index, layer in enumerate(folded.sequence()):
        for part in layer.modules():
            if isinstance(part, _Folding) and part.norm is not None:
                linear = _linear_of(part)
                # With share_index= two layers have the same weights: fold these once.
                if linear not in done:
                    _fold(linear, part.norm)
                    done.add(linear)
                part.norm = None
                changed.add(index)
    # Block 0 is [net], so layer i has block i + 1.
    for index in changed:
        folded.blocks[index + 1] = _without_batch_norm(folded.blocks[index + 1])
    # Only now, because until they are folded the copy has the batch norms of the network itself.
    return folded.eval()


def _not_copied(network: Network) -> dict[int, object]:
    """Return the memo with which ``copy.deepcopy`` leaves out what folding replaces or removes.

    Copying these weights and batch norms took as long as folding them. Blocks do not change.
    """
    shared: list[object] = list(network.blocks)
    for part in network.modules():
        if isinstance(part, _Folding) and part.norm is not None:
            shared += [part.norm, _linear_of(part).weight]
    return {id(item): item for item in shared}


def _linear_of(part: _Folding) -> _Linear:
    return part.linear if isinstance(part, Connected) else part.conv


def _fold(linear: _Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Weight *= s / sqrt(v + eps); bias = b - s m / sqrt(v + eps), in float64 as Darknet does."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.detach().double() - factor * norm.running_mean.double()
    weight = linear.weight
    # Output channels come first, (out, in, k, k) or (out, in), but second in a transposed
    # convolution, (in, out, k, k).
    shape = [1] * weight.dim()
    shape[1 if isinstance(linear, nn.ConvTranspose2d) else 0] = -1
    # In place, which takes half the time: memory for another array of 64 bits is not needed.
    linear.weight = _parameter(weight.detach().double().mul_(factor.view(shape)), weight)
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
