"""Turn a network into one module that PyTorch can trace, at one of three levels.

``raw`` ends with the maps that the heads read, ``decoded`` with boxes and scores, ``nms`` with the
boxes that are left after suppression.
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
from darknet_builder.export.layouts import arrange, output_names
from darknet_builder.export.settings import LAYOUTS
from darknet_builder.layers.base import Head
from darknet_builder.network.factory import build_layers
from darknet_builder.network.network import Network
from darknet_builder.network.task import num_classes
from darknet_builder.shapes import Shape

IMAGES, VECTORS = "images", "inputs"
"""Names of the input: (B, C, H, W) images or (B, N) vectors."""
_BOX_FORMAT = "centre x, centre y, width, height, relative to the network's input"


class Traceable(nn.Module):
    r"""A network as a function from one tensor to a tuple of tensors.

    The outputs at each level:

    * ``raw``: the map of every head, named ``raw_<layer>``; for a network without heads, its
      output, named ``output``;
    * ``decoded`` and ``nms``: ``boxes`` (B, N, 4), centre and size as fractions of the network's
      input; ``scores`` (B, N, C); ``objectness`` (B, N). At level ``nms``, the code that writes
      the file appends suppression to the graph;
    * ``decoded`` in the layout ``yolov5`` or ``yolov8``: one tensor, ``output0``, see
      ``layouts.arrange``.

    Args:
        network: a network in eval mode.
        level: how much the graph computes, one of ``LEVELS``.
        layout: one of ``LAYOUTS``; the last two need the level ``decoded``.

    Raises:
        InputError: with the reason, if the network cannot be exported at that level.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> module = Traceable(network.eval(), "raw")
        >>> module.input_name, module.output_names
        ('images', ['output'])
    """

    def __init__(self, network: Network, level: str, layout: str = LAYOUTS[0]) -> None:
        super().__init__()
        reason = why_not(network, level)
        if reason:
            raise InputError(f"not exportable, because {reason}")
        self.network = network
        self.level = level
        self.layout = layout

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) or (B, N) -> the outputs, in the order of ``output_names``."""
        return self.finish(self.network.outputs(x), x)

    def finish(self, raw_maps: Sequence[Tensor], x: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs from those of level ``raw``.

        Args:
            raw_maps: the map of each head, (B, V, H, W) or (B, V); without heads, the output.
            x: (B, C, H, W) or (B, N), the input that they belong to; only its size counts.
        """
        if self.level == "raw":
            return tuple(raw_maps)
        size = (x.shape[3], x.shape[2])
        return arrange(self.layout, *self.decode(raw_maps, size), size)

    def decode(
        self, raw_maps: Sequence[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the outputs of level ``decoded`` from those of level ``raw``.

        Args:
            raw_maps: the map of each head, (B, V, H, W) or (B, V).
            size: (width, height) of the input in pixels.

        Returns:
            Boxes (B, N, 4), scores (B, N, C) and objectness (B, N), head after head.
        """
        candidates = [
            head.decode(raw, size) for head, raw in zip(self.network.heads, raw_maps, strict=True)
        ]
        boxes = torch.cat([head.boxes_cxcywh for head in candidates], 1)
        scores = torch.cat([head.scores for head in candidates], 1)
        objectness = torch.cat([head.objectness for head in candidates], 1)
        return boxes, scores, objectness

    @property
    def input_name(self) -> str:
        """The name of the input: ``images`` or ``inputs``."""
        return VECTORS if self.network.input_shape.flat else IMAGES

    @property
    def output_names(self) -> list[str]:
        """The name of each tensor that ``forward`` returns, in order."""
        return self.raw_names if self.level == "raw" else output_names(self.layout)

    @property
    def raw_names(self) -> list[str]:
        """The name of each output of level ``raw``, in order."""
        if not self.network.heads:
            return ["output"]
        return [
            f"raw_{index}" for index, layer in enumerate(self.network.sequence()) if layer.is_head
        ]


def why_not(network: Network, level: str) -> str:
    """Return the reason why a network cannot be exported at a level, or an empty string.

    Args:
        network: a network in eval mode.
        level: how much the file is to compute, one of ``LEVELS``.
    """
    for index, layer in enumerate(network.sequence()):
        if layer.is_recurrent:
            return (
                f"layer {index} [{layer.section}] keeps a state from frame to frame: an exported"
                " file is a function of one frame"
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
            "pjreddie's [region] finds the class by walking down the tree, and the number of steps"
            " depends on the values; export it with level raw"
        )
    return ""


# ---- sizes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """The input sizes that may change between two calls of an exported function.

    Attributes:
        batch: the number of images in a call; with ``any_batch``, the number of the first test.
        any_batch: whether the number of images may change.
        any_size: whether width and height may change, in steps of ``step`` pixels.
        step: the stride of the coarsest map in pixels.
    """

    batch: int = 1
    any_batch: bool = False
    any_size: bool = False
    step: int = 1

    @property
    def traced_batch(self) -> int:
        """The batch size to trace with.

        It is at least 2 if it may change: ``torch.export`` turns sizes of 0 and 1 into constants.
        """
        return max(self.batch, 2) if self.any_batch else self.batch

    def dimensions(self) -> dict[int, Any] | None:
        """Return the ``torch.export.Dim`` of each axis that may change; None if none may."""
        axes: dict[int, Any] = {}
        if self.any_batch:
            axes[0] = torch.export.Dim("batch")
        if self.any_size:
            # At least 2: torch.export would turn a map that is 1 cell wide into a constant.
            rows, columns = torch.export.Dim("rows", min=2), torch.export.Dim("columns", min=2)
            # (B, C, step * rows, step * columns)
            if self.step > 1:
                axes |= {2: self.step * rows, 3: self.step * columns}
            else:
                axes |= {2: rows, 3: columns}
        return axes or None


def plan_sizes(network: Network, batch: int, any_batch: bool, any_size: bool) -> Sizes:
    """Check whether the input sizes may change as requested.

    Args:
        network: the network to export.
        batch: number of images in a call, 1 or more.
        any_batch: whether the number of images should be free.
        any_size: whether width and height should be free.

    Raises:
        InputError: if ``batch`` is below 1, or naming the layer that takes only one image size.
    """
    if batch < 1:
        raise InputError("expected 1 or more images", argument="batch", value=batch)
    if not any_size:
        return Sizes(batch, any_batch)
    if network.input_shape.flat:
        raise InputError(
            "the network takes a vector, not an image: it has no width and height to change"
        )
    step = coarsest_step(network)
    _check_any_size(network, step)
    return Sizes(batch, any_batch, True, step)


def coarsest_step(network: Network) -> int:
    """Return the input's width divided by that of the narrowest map, 1 at least."""
    # Maps of width 1, as [avgpool] makes them, do not depend on the input's size.
    shapes = [layer.out_shape for layer in network.sequence()]
    widths = [shape.width for shape in shapes if not shape.flat and shape.width > 1]
    return max(round(network.options.width / min(widths)), 1) if widths else 1


def _check_any_size(network: Network, step: int) -> None:
    """Check that the weights of every layer would fit a larger image too.

    Raises:
        InputError: naming the first layer whose weights would not.
    """
    try:
        # Width and height grow by different steps, so that a layer cannot mix them up.
        # ``build_layers`` allocates no memory for weights (they are on the meta device).
        options = NetOptions.from_block(
            network.blocks[0],
            width=network.options.width + 2 * step,
            height=network.options.height + 4 * step,
        )
        larger = build_layers(network.blocks, options, network.dialect)
    except CfgError as error:
        raise InputError(f"not exportable for any size of image, because {error}") from None
    for index, (layer, other) in enumerate(zip(network.sequence(), larger, strict=True)):
        shapes = [weight.shape for weight in layer.parameters()]
        other_shapes = [weight.shape for weight in other.parameters()]
        if shapes != other_shapes:
            raise InputError(
                f"not exportable for any size of image, because layer {index} [{layer.section}] has"
                " weights that fit one size only"
            )


# ---- metadata ------------------------------------------------------------------------------------


def describe(
    network: Network, level: str, names: Sequence[str], resize: str, sizes: Sizes
) -> dict[str, str]:
    """Return the metadata of an exported file: what a program needs besides the numbers.

    Values that are not text are JSON. The keys are:

    * always: ``level``, ``dialect``, ``input`` (its name), ``input_shape`` without the batch,
      ``any_batch``, ``any_size``, ``size_step`` in pixels;
    * for images: ``channel_order``, ``input_scale``, ``resize``, ``resize_rule``,
      ``letterbox_value``;
    * for detectors and classifiers: ``names``, ``classes``;
    * for detectors: ``nms_kind``, ``beta_nms``, and ``heads``, a list of ``Head.metadata()``, each
      with the index of its layer; ``box_format`` if the file decodes boxes.

    Args:
        network: the network to export.
        level: how much the file computes, one of ``LEVELS``.
        names: one for each class, or empty.
        resize: ``stretch``, ``letterbox`` or ``crop``.
        sizes: which input sizes may change.
    """
    shape = network.input_shape
    metadata: dict[str, object] = {"level": level, "dialect": network.dialect.name}
    metadata |= _input_metadata(shape, sizes)
    if not shape.flat:
        metadata |= _image_metadata(shape, resize)
    classes = num_classes(network)
    if classes:
        metadata |= {"names": names, "classes": classes}
    if network.heads:
        metadata |= _detector_metadata(network)
    if level != "raw":
        metadata["box_format"] = _BOX_FORMAT
    return {key: _to_text(value) for key, value in metadata.items()}


def _input_metadata(shape: Shape, sizes: Sizes) -> dict[str, object]:
    size_step = sizes.step if sizes.any_size else 0
    return {
        "input": VECTORS if shape.flat else IMAGES,
        "input_shape": shape.batched(1)[1:],
        "any_batch": sizes.any_batch,
        "any_size": sizes.any_size,
        "size_step": size_step,
    }


def _image_metadata(shape: Shape, resize: str) -> dict[str, object]:
    return {
        "channel_order": "RGB" if shape.channels == 3 else "grey",
        "input_scale": "1/255",
        "resize": resize,
        "resize_rule": "bilinear, corners aligned",
        "letterbox_value": 0.5,
    }


def _detector_metadata(network: Network) -> dict[str, object]:
    heads = [
        {"layer": index, **layer.metadata()}
        for index, layer in enumerate(network.sequence())
        if isinstance(layer, Head)
    ]
    # The last head's rule holds for the boxes of all heads (test_detector in detector.c).
    last = network.heads[-1]
    return {"nms_kind": last.nms_kind, "beta_nms": last.beta_nms, "heads": heads}


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
