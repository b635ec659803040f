"""Solution of chapter 4: weights."""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor, nn

from darknet_builder.lessons.scratch.chapter1 import parse_cfg
from darknet_builder.lessons.scratch.chapter2 import make_modules


def read_header(data: bytes) -> tuple[int, int, int, int, int]:
    """Read the header of a .weights file.

    It has three int32, little-endian: major, minor and revision. Then comes the number of images
    that the network has seen: 8 bytes (int64) if ``major * 10 + minor`` is 2 or more, otherwise 4
    bytes (int32). The weights begin right after it.

    Args:
        data: the bytes of the file.

    Returns:
        major, minor, revision, the number of images, and the length of the header in bytes.

    Example:
        >>> read_header(struct.pack("<iiiq", 0, 2, 5, 6400))
        (0, 2, 5, 6400, 20)
    """
    major, minor, revision = struct.unpack_from("<iii", data)
    if major * 10 + minor >= 2:
        return major, minor, revision, struct.unpack_from("<q", data, 12)[0], 20
    return major, minor, revision, struct.unpack_from("<i", data, 12)[0], 16


def load_weights(blocks: list[dict[str, str]], modules: nn.ModuleList, data: bytes) -> int:
    """Copy the numbers of a .weights file into the modules.

    Only ``[convolutional]`` sections have weights. After the header come the float32 numbers of the
    first one, then those of the second one, and so on. The order within a section:

    - with batch norm: its biases, its scales (PyTorch's ``weight``), the running means, the running
      variances, then the weights of the convolution;
    - without: the biases, then the weights of the convolution.

    The weights are stored as PyTorch stores them: (filters, channels, height, width).

    Args:
        blocks: what ``parse_cfg`` returns.
        modules: what ``make_modules`` returns; filled in place.
        data: the bytes of the file.

    Returns:
        How many numbers were copied; it must be all of the file.

    Example:
        >>> block = {"type": "convolutional", "filters": "1", "size": "1", "stride": "1"}
        >>> modules = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 1, 1))])
        >>> data = struct.pack("<iiiq2f", 0, 2, 5, 0, 0.5, 0.25)
        >>> load_weights([{"type": "net"}, block], modules, data)
        2
        >>> modules[0][0].bias.item(), modules[0][0].weight.item()
        (0.5, 0.25)
    """
    start = read_header(data)[-1]
    values = torch.from_numpy(np.frombuffer(data, "<f4", offset=start).copy())
    position = 0
    for block, module in zip(blocks[1:], modules, strict=True):
        if block["type"] != "convolutional":
            continue
        conv, tensors = module[0], []
        if block.get("batch_normalize") == "1":
            norm = module[1]
            tensors += [norm.bias, norm.weight, norm.running_mean, norm.running_var]
        else:
            tensors += [conv.bias]
        tensors += [conv.weight]
        for tensor in tensors:
            part = values[position : position + tensor.numel()]
            with torch.no_grad():
                tensor.copy_(part.view(tensor.shape))
            position += tensor.numel()
    return position


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of one convolution that equals a convolution and its batch norm.

    In use, batch norm computes ``scale * (x - mean) / sqrt(variance + 0.00001) + bias``, for each
    channel. A convolution can do that itself: multiply its weights by a factor for each filter, and
    add a bias. Programs without batch norm need exactly this.

    Args:
        conv: a convolution without bias.
        norm: the batch norm that follows it.

    Returns:
        The weight, shaped as ``conv.weight``, and the bias, (filters,).

    Example:
        >>> conv, norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)
        >>> with torch.no_grad():
        ...     _ = conv.weight.fill_(3.0), norm.weight.fill_(2.0), norm.running_var.fill_(4.0)
        ...     _ = norm.running_mean.fill_(5.0)
        >>> weight, bias = fold_batch_norm(conv, norm)
        >>> round(weight.item(), 3), round(bias.item(), 3)
        (3.0, -5.0)
    """
    factor = norm.weight / torch.sqrt(norm.running_var + 0.00001)
    weight = conv.weight * factor.view(-1, 1, 1, 1)
    bias = norm.bias - norm.running_mean * factor
    return weight.detach(), bias.detach()


def load_network(cfg_text: str, data: bytes) -> tuple[list[dict[str, str]], nn.ModuleList]:
    r"""Make a network that is ready to use: read the cfg, make the modules, load the weights.

    Batch norm must use the running means and variances of the file, not those of the current image.

    Args:
        cfg_text: the text of a .cfg file.
        data: the bytes of its .weights file.

    Returns:
        The blocks and the modules.

    Example:
        >>> cfg = "[net]\nchannels=1\n[maxpool]\nsize=2\nstride=2"
        >>> blocks, modules = load_network(cfg, struct.pack("<iiiq", 0, 2, 5, 0))
        >>> len(blocks), modules.training
        (2, False)
    """
    blocks = parse_cfg(cfg_text)
    modules = make_modules(blocks)
    load_weights(blocks, modules, data)
    return blocks, modules.eval()
