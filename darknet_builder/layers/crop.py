"""[crop]: a part of the image, with its values stretched to [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape


@register("crop")
class Crop(Layer):
    """Cut out the middle, then compute 2 x - 1 (crop_layer.c:60).

    In training the position is random, and half of the batches are mirrored if ``flip`` is set.

    Args:
        in_shape: input shape (C, H, W).
        height: height of the crop in pixels.
        width: width of the crop in pixels.
        flip: whether training mirrors half of the batches.
        adjust: whether values become 2 x - 1.

    Raises:
        ShapeError: if the crop is larger than the image.
    """

    def __init__(
        self, in_shape: Shape, *, height: int, width: int, flip: bool = False, adjust: bool = True
    ) -> None:
        if height > in_shape.height or width > in_shape.width:
            raise ShapeError(f"a crop of {width} x {height} is larger than the image of {in_shape}")
        super().__init__(in_shape, Shape(in_shape.channels, height, width))
        self.flip, self.adjust = flip, adjust

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Crop:
        """Build from a cfg section (parser.c:646)."""
        block.ignore("angle", "saturation", "exposure", "shift")
        return cls(
            graph.image_shape(block),
            height=block.get_int("crop_height", 1, minimum=1),
            width=block.get_int("crop_width", 1, minimum=1),
            flip=block.get_flag("flip"),
            adjust=not block.get_flag("noadjust"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, height, width)."""
        height, width = self.out_shape.height, self.out_shape.width
        # Pixels that are left over; the crop starts at any of 0 to spare, in inference at half.
        spare_rows, spare_columns = x.shape[2] - height, x.shape[3] - width
        top, left = spare_rows // 2, spare_columns // 2
        mirrored = False
        if self.training:
            top = int(torch.randint(spare_rows + 1, ()))
            left = int(torch.randint(spare_columns + 1, ()))
            mirrored = self.flip and bool(torch.randint(2, ()))
        x = x[:, :, top : top + height, left : left + width]
        x = x.flip(3) if mirrored else x
        return x * 2 - 1 if self.adjust else x

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "crop_width": self.out_shape.width,
                "crop_height": self.out_shape.height,
                "flip": self.flip,
                "noadjust": not self.adjust,
            }
        )
