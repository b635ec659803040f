"""The common mistakes of chapter 3."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes.mistake import Mistake, one

_PARTS_LOOP = (
    "            part = outputs[source].chunk(groups, dim=1)[group_id]\n"
    "            parts.append(part)\n"
    "        return torch.cat(parts, dim=1)\n"
)

MISTAKES = (
    Mistake(
        "groups-after-concatenation", 3,
        "With groups, take the part of each source first and join the parts then. Here the sources"
        " were joined first and the whole was cut.",
        (one(_PARTS_LOOP, "            parts.append(outputs[source])\n"
             "        return torch.cat(parts, dim=1).chunk(groups, dim=1)[group_id]\n"),),
    ),
    Mistake(
        "route-order", 3,
        "The sources of a route are joined in the order of layers=, here in another one.",
        (
            one("torch.cat(parts, dim=1)", "torch.cat(parts[::-1], dim=1)"),
            one("for source in source_layers(block, index):\n            part",
                "for source in sorted(source_layers(block, index)):\n            part"),
        ),
    ),
    Mistake(
        "groups-ignored", 3,
        "groups=2 and group_id=1 mean: only the second half of each source's channels.",
        (one("outputs[source].chunk(groups, dim=1)[group_id]", "outputs[source]"),),
    ),
    Mistake(
        "group-id-ignored", 3,
        "group_id says which part of the channels: with groups=2, group_id=1 is the second half.",
        (one("dim=1)[group_id]", "dim=1)[0]"),),
    ),
    Mistake(
        "groups-interleaved", 3,
        "A group is a run of neighbouring channels (the first half, the second half), not every"
        " second channel.",
        (one("outputs[source].chunk(groups, dim=1)[group_id]",
             "outputs[source][:, group_id::groups]"),),
    ),
    Mistake(
        "route-along-rows", 3,
        "A route joins along the channels, which is dimension 1 of (1, C, H, W).",
        (
            one("torch.cat(parts, dim=1)", "torch.cat(parts, dim=2)"),
            one("torch.cat(parts, dim=1)", "torch.cat(parts, dim=0)"),
            one("torch.cat(parts, dim=1)", "torch.cat(parts, dim=-1)"),
        ),
    ),
    Mistake(
        "route-adds", 3,
        "A route joins its sources along the channels; only a shortcut adds.",
        (one("torch.cat(parts, dim=1)", "sum(parts)"),),
    ),
    Mistake(
        "shortcut-without-previous", 3,
        "A shortcut is the sum of two outputs: the layer before, and the one that from= names.",
        (
            one("return x + outputs[source]", "return outputs[source]"),
            one("return x + outputs[source]", "return outputs[source] + outputs[source]"),
            one("return x + outputs[source]", "return x"),
        ),
    ),
    Mistake(
        "shortcut-source", 3,
        "The shortcut adds another layer than the one that from= names: -2 counts back from the"
        " shortcut itself, so at layer 4 it is layer 2.",
        (
            one("return x + outputs[source]", "return x + outputs[source - 1]"),
            one("return x + outputs[source]", "return x + outputs[source + 1]"),
        ),
    ),
    Mistake(
        "shortcut-joins", 3,
        "A shortcut adds; only a route joins along the channels.",
        (
            one("return x + outputs[source]", "return torch.cat([x, outputs[source]], dim=1)"),
            one("return x + outputs[source]", "return torch.cat([outputs[source], x], dim=1)"),
        ),
    ),
    Mistake(
        "shortcut-in-place", 3,
        "x += ... changes the output of the layer before as well, and a later route may read that."
        " Make a new tensor: x + ...",
        (one("return x + outputs[source]", "return x.add_(outputs[source])"),),
    ),
    Mistake(
        "image-in-outputs", 3,
        "The list of outputs begins with the image, so every index is one too small. outputs[0]"
        " must be the output of layer 0.",
        (one("    outputs: list[Tensor] = []\n    x = image\n",
             "    outputs: list[Tensor] = [image]\n    x = image\n"),),
    ),
    Mistake(
        "outputs-of-convolutions-only", 3,
        "Every layer must append its output, also routes, shortcuts and heads; otherwise the"
        " indices of later layers are wrong.",
        (
            one("        outputs.append(x)\n", '        if block["type"] == "convolutional":\n'
                "            outputs.append(x)\n"),
            one("        outputs.append(x)\n", '        if block["type"] != "yolo":\n'
                "            outputs.append(x)\n"),
        ),
    ),
)  # fmt: skip
