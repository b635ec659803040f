"""Solution of chapter 3: the forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darknet_builder.lessons.scratch.chapter2 import source_layers


def run_layer(block: dict[str, str], module: nn.Module, x: Tensor, outputs: list[Tensor]) -> Tensor:
    """Compute the output of one layer.

    - ``route``: the outputs of its sources, joined along the channels in the order of ``layers``.
      With ``groups=G`` and ``group_id=I``, only part I of G equal parts of each source's channels.
    - ``shortcut``: the output of the layer before plus the output of the source.
    - ``yolo``: the output of the layer before, unchanged.
    - all others: the module, applied to the output of the layer before.

    Args:
        block: the section.
        module: its module of ``make_modules``.
        x: (1, C, H, W), the output of the layer before; for the first layer, the image.
        outputs: the outputs of all layers before this one, so the index of this layer is
            ``len(outputs)``.

    Example:
        >>> two, three = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0)
        >>> block = {"type": "shortcut", "from": "-2", "activation": "linear"}
        >>> run_layer(block, nn.Identity(), three, [two, three]).item()
        5.0
    """
    index = len(outputs)
    if block["type"] == "route":
        groups, group_id = int(block.get("groups", "1")), int(block.get("group_id", "0"))
        parts = []
        for source in source_layers(block, index):
            part = outputs[source].chunk(groups, dim=1)[group_id]
            parts.append(part)
        return torch.cat(parts, dim=1)
    if block["type"] == "shortcut":
        (source,) = source_layers(block, index)
        return x + outputs[source]
    result: Tensor = module(x)
    return result


def forward(blocks: list[dict[str, str]], modules: nn.ModuleList, image: Tensor) -> list[Tensor]:
    """Run the whole network and return the outputs of all layers, in order.

    Args:
        blocks: what ``parse_cfg`` returns.
        modules: what ``make_modules`` returns.
        image: (1, C, H, W).

    Example:
        >>> net = {"type": "net", "channels": "3"}
        >>> up = {"type": "upsample", "stride": "2"}
        >>> outputs = forward([net, up, up], nn.ModuleList([nn.Upsample(scale_factor=2)] * 2),
        ...                   torch.zeros(1, 3, 4, 4))
        >>> [tuple(output.shape) for output in outputs]
        [(1, 3, 8, 8), (1, 3, 16, 16)]
    """
    outputs: list[Tensor] = []
    x = image
    for block, module in zip(blocks[1:], modules, strict=True):
        x = run_layer(block, module, x, outputs)
        outputs.append(x)
    return outputs
