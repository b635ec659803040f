"""What a network becomes outside of this package: one module without options, at one of three
levels.

``raw`` ends with the maps that the heads read, ``decoded`` with boxes and scores, ``nms`` with the
boxes that are left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.errors import CfgError, InputError
from darknet_builder.layers.base import Head
from darknet_builder.network.factory import build_layers
from darknet_builder.network.network import Network
from darknet_builder.network.task import num_classes

IMAGES, VECTORS = "images", "inputs"
"""What the input is called: (B, C, H, W), or (B, N)."""


class Traceable(nn.Module):
    """A network as a function from one tensor to a tuple of tensors.

    * ``raw``: the map of every head, ``raw_<layer>``; without a head ``output``, the network's
      output;
    * ``decoded`` and ``nms``: ``boxes`` (B, N, 4), centre and size relative to the network's input;
      ``scores`` (B, N, C); ``objectness`` (B, N). Suppression itself is left to who writes the
      file.

    Args:
        network: in eval mode.
        level: one of ``LEVELS``.

    Raises:
        InputError: with the reason, for a network that cannot be given at that level.
    """

    def __init__(self, network: Network, level: str) -> None:
        super().__init__()
        reason = why_not(network, level)
        if reason:
            raise InputError(f"not exportable, because {reason}")
        self.network = network
        self.level = level

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) or (B, N) -> the outputs, in the order of ``output_names``."""
        raw_maps = self.network.outputs(x)
        return (
            tuple(raw_maps)
            if self.level == "raw"
            else self.decode(raw_maps, (x.shape[3], x.shape[2]))
        )

    def decode(
        self, raw_maps: Sequence[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of level ``decoded`` from those of level ``raw``, for an input of (width,
        height).
        """
        candidates = [
            head.decode(raw, size) for head, raw in zip(self.network.heads, raw_maps, strict=True)
        ]
        return (
            torch.cat([head.boxes_cxcywh for head in candidates], 1),
            torch.cat([head.scores for head in candidates], 1),
            torch.cat([head.objectness for head in candidates], 1),
        )

    @property
    def input_name(self) -> str:
        """``images`` or ``inputs``."""
        return VECTORS if self.network.input_shape.flat else IMAGES

    @property
    def output_names(self) -> list[str]:
        """One for each tensor that ``forward`` returns."""
        if self.level != "raw":
            return ["boxes", "scores", "objectness"]
        if not self.network.heads:
            return ["output"]
        return [
            f"raw_{index}" for index, layer in enumerate(self.network.sequence()) if layer.is_head
        ]


def why_not(network: Network, level: str) -> str:
    """The reason why a network cannot leave the package at a level, or an empty string."""
    for index, layer in enumerate(network.sequence()):
        if layer.is_recurrent:
            return (
                f"layer {index} [{layer.section}] remembers the frames before: a file that holds a"
                " function of one frame cannot"
            )
    if level == "raw":
        return ""
    if not network.heads:
        return (
            "the network has no detection head: there is nothing to decode; export it with level"
            f" raw, not {level}"
        )
    if len({head.reported_classes for head in network.heads}) > 1:
        return "its heads have different numbers of classes; export it with level raw"
    if any(head.walks_tree for head in network.heads):
        return (
            "pjreddie's [region] finds the class by a walk down the tree, whose length depends on"
            " the values; export it with level raw"
        )
    return ""


# ---- sizes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """What may change between two calls of an exported function.

    Attributes:
        batch: how many images it is traced with; where it may not change, how many it takes.
        any_batch: whether the number of images may change.
        any_size: whether width and height may change, in steps of ``step`` pixels.
        step: the distance between two places of the coarsest map.
    """

    batch: int = 1
    any_batch: bool = False
    any_size: bool = False
    step: int = 1

    @property
    def traced_batch(self) -> int:
        """A batch of one would be taken for a rule: PyTorch treats sizes 0 and 1 on their own."""
        return max(self.batch, 2) if self.any_batch else self.batch

    def dimensions(self) -> dict[int, Any] | None:
        """What may change, by axis, as ``torch.export`` wants it."""
        axes: dict[int, Any] = {0: torch.export.Dim("batch")} if self.any_batch else {}
        if self.any_size:
            # From 2 up: a map one place wide would be taken for a rule.
            rows, columns = torch.export.Dim("rows", min=2), torch.export.Dim("columns", min=2)
            axes |= (
                {2: self.step * rows, 3: self.step * columns}
                if self.step > 1
                else {2: rows, 3: columns}
            )
        return axes or None


def plan_sizes(network: Network, batch: int, any_batch: bool, any_size: bool) -> Sizes:
    """Check whether the sizes may change as wished.

    Raises:
        InputError: for a batch below 1, or with the layer that only takes one size of image.
    """
    if batch < 1:
        raise InputError("expected 1 or more images", argument="batch", value=batch)
    if not any_size:
        return Sizes(batch, any_batch)
    if network.input_shape.flat:
        raise InputError(
            "the network takes a vector, not an image: it has no width and height to change"
        )
    step = _coarsest_step(network)
    _check_any_size(network, step)
    return Sizes(batch, any_batch, True, step)


def _coarsest_step(network: Network) -> int:
    width = network.options.width
    maps = [
        layer.out_shape.width
        for layer in network.sequence()
        if not layer.out_shape.flat and layer.out_shape.width > 1
    ]
    return max(round(width / min(maps)), 1) if maps else 1


def _check_any_size(network: Network, step: int) -> None:
    """Build the layers for a larger image, without memory, and see whether the weights would still
    fit.
    """
    try:
        options = NetOptions.from_block(
            network.blocks[0],
            width=network.options.width + 2 * step,
            height=network.options.height + 4 * step,
        )
        larger = build_layers(network.blocks, options, network.dialect)
    except CfgError as error:
        raise InputError(f"not exportable for any size of image, because {error}") from None
    for index, (layer, other) in enumerate(zip(network.sequence(), larger, strict=True)):
        if [weight.shape for weight in layer.parameters()] != [
            weight.shape for weight in other.parameters()
        ]:
            raise InputError(
                f"not exportable for any size of image, because layer {index} [{layer.section}] has"
                " weights that fit one size only"
            )


# ---- metadata ------------------------------------------------------------------------------------


def describe(
    network: Network, level: str, names: Sequence[str], resize: str, sizes: Sizes
) -> dict[str, str]:
    """Metadata of an exported file: what a program needs beside the numbers, as text by key.

    Values other than strings are JSON. The keys:

    * always: ``level``, ``dialect``, ``input`` (its name), ``input_shape`` without the batch,
      ``any_batch``, ``any_size``, ``size_step`` in pixels;
    * of images: ``channel_order``, ``input_scale``, ``resize``, ``resize_rule``,
      ``letterbox_value``;
    * of detectors and classifiers: ``names``, ``classes``;
    * of detectors: ``nms_kind``, ``beta_nms``, and ``heads``, a list of ``Head.metadata()``, each
      with the index of its layer; ``box_format`` where the file decodes boxes.
    """
    shape = network.input_shape
    metadata: dict[str, object] = {
        "level": level,
        "dialect": network.dialect.name,
        "input": VECTORS if shape.flat else IMAGES,
        "input_shape": shape.batched(1)[1:],
        "any_batch": sizes.any_batch,
        "any_size": sizes.any_size,
        "size_step": sizes.step if sizes.any_size else 0,
    }
    if not shape.flat:
        metadata |= {
            "channel_order": "RGB" if shape.channels == 3 else "grey",
            "input_scale": "1/255",
            "resize": resize,
            "resize_rule": "bilinear, corners aligned",
            "letterbox_value": 0.5,
        }
    classes = num_classes(network)
    if classes:
        metadata |= {"names": names, "classes": classes}
    if network.heads:
        metadata |= {
            "nms_kind": network.heads[-1].nms_kind,
            "beta_nms": network.heads[-1].beta_nms,
            "heads": [
                {"layer": index, **layer.metadata()}
                for index, layer in enumerate(network.sequence())
                if isinstance(layer, Head)
            ],
        }
    if level != "raw":
        metadata["box_format"] = (
            "centre x, centre y, width, height, relative to the network's input"
        )
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }
