"""Solution of chapter 2: blocks to modules."""

from __future__ import annotations

from torch import nn

from darknet_builder.lessons.scratch.chapter1 import numbers


def source_layers(block: dict[str, str], index: int) -> list[int]:
    """Return the indices of the layers that a ``[route]`` or ``[shortcut]`` reads.

    A route lists them in ``layers``, a shortcut names one in ``from``. A number below 0 counts back
    from the layer itself: -1 is the layer before. Any other number is the index of a layer. Layers
    are counted from 0; ``[net]`` is not counted.

    Args:
        block: the section.
        index: the index of this route or shortcut.

    Example:
        >>> source_layers({"type": "route", "layers": "-1,4"}, index=17)
        [16, 4]
        >>> source_layers({"type": "shortcut", "from": "-3"}, index=8)
        [5]
    """
    text = block["layers"] if block["type"] == "route" else block["from"]
    sources = []
    for number in numbers(text):
        source = int(number)
        if source < 0:
            source = index + source
        sources.append(source)
    return sources


def make_layer(block: dict[str, str], in_channels: int) -> nn.Module:
    """Make the module of one section.

    - ``convolutional``: an ``nn.Conv2d`` with ``filters``, ``size``, ``stride``; with ``pad=1`` the
      padding is half of the size, rounded down. With ``batch_normalize=1`` it has no bias, and an
      ``nn.BatchNorm2d`` follows. Then the activation: ``leaky`` (slope 0.1) or ``linear`` (none).
    - ``maxpool``: ``size`` and ``stride``. Darknet pads ``size - 1`` in each direction, half of it
      (rounded down) left and above, the rest right and below, with values that never win.
    - ``upsample``: repeats each value ``stride`` times in both directions.
    - ``route``, ``shortcut``, ``yolo``: an ``nn.Identity``; chapter 3 computes them.

    Args:
        block: the section.
        in_channels: the number of channels that the layer reads.

    Raises:
        ValueError: for any other type of section.

    Example:
        >>> make_layer({"type": "upsample", "stride": "2"}, 8)
        Upsample(scale_factor=2.0, mode='nearest')
    """
    kind = block["type"]
    if kind == "convolutional":
        return _make_convolution(block, in_channels)
    if kind == "maxpool":
        size, stride = int(block["size"]), int(block["stride"])
        before = (size - 1) // 2
        after = size - 1 - before
        pad = nn.ConstantPad2d((before, after, before, after), float("-inf"))
        return nn.Sequential(pad, nn.MaxPool2d(size, stride))
    if kind == "upsample":
        return nn.Upsample(scale_factor=int(block["stride"]), mode="nearest")
    if kind in ("route", "shortcut", "yolo"):
        return nn.Identity()
    raise ValueError(f"unknown section [{kind}]")


def _make_convolution(block: dict[str, str], in_channels: int) -> nn.Sequential:
    """Make the module of a ``[convolutional]`` section; ``make_layer`` says how."""
    filters, size, stride = int(block["filters"]), int(block["size"]), int(block["stride"])
    has_norm = block.get("batch_normalize") == "1"
    padding = size // 2 if block.get("pad") == "1" else 0
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, filters, size, stride, padding, bias=not has_norm)
    ]
    if has_norm:
        layers.append(nn.BatchNorm2d(filters, eps=1e-5))
    if block["activation"] == "leaky":
        layers.append(nn.LeakyReLU(0.1))
    return nn.Sequential(*layers)


def make_modules(blocks: list[dict[str, str]]) -> nn.ModuleList:
    """Make the modules of a network, one for each section after ``[net]``.

    A convolution must know how many channels it reads, so count the channels of every layer's
    output. A route has the sum of its sources' channels, divided by ``groups`` if it is there.

    Args:
        blocks: what ``parse_cfg`` returns; the first is ``[net]``, with the image's ``channels``.

    Example:
        >>> net = {"type": "net", "channels": "3"}
        >>> pool = {"type": "maxpool", "size": "2", "stride": "2"}
        >>> len(make_modules([net, pool, pool]))
        2
    """
    modules = nn.ModuleList()
    channels: list[int] = []  # of the output of each layer
    current = int(blocks[0]["channels"])
    for index, block in enumerate(blocks[1:]):
        modules.append(make_layer(block, current))
        if block["type"] == "convolutional":
            current = int(block["filters"])
        elif block["type"] == "route":
            total = sum(channels[source] for source in source_layers(block, index))
            current = total // int(block.get("groups", "1"))
        channels.append(current)
    return modules
