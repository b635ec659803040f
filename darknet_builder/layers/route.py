"""[route]: concatenate earlier outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import Graph, Layer, as_image, register
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape


@register("route")
class Route(Layer):
    """Concatenate on channels; with ``groups``, only slice ``group_id`` of each input.

    Source: route_layer.c:80.

    Args:
        in_shapes: one shape per input, of equal height and width.
        groups: number of slices that each input is cut into.
        group_id: index of the slice to take.

    Raises:
        ShapeError: if the inputs differ in height or width, or cannot be cut.
    """

    is_view = True

    def __init__(self, in_shapes: list[Shape], *, groups: int = 1, group_id: int = 0) -> None:
        first = in_shapes[0]
        layout = first.height, first.width, first.formless
        for shape in in_shapes[1:]:
            if (shape.height, shape.width, shape.formless) != layout:
                raise ShapeError(
                    f"cannot concatenate {shape} and {first}: a route needs equal width and height"
                )
        for shape in in_shapes:
            if shape.channels % groups:
                raise ShapeError(
                    f"groups={groups} does not divide the {shape.channels} channels of {shape}"
                )
        if not 0 <= group_id < groups:
            raise ShapeError(f"group_id={group_id} does not exist among groups={groups}")
        channels = sum(shape.channels for shape in in_shapes) // groups
        vectors = all(shape.flat for shape in in_shapes)
        super().__init__(first, Shape(channels, first.height, first.width, vectors, first.formless))
        self.groups, self.group_id = groups, group_id

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Route:
        """Build from a cfg section (parser.c:1100)."""
        sources = graph.references(block, "layers")
        block.ignore("stream", "wait_stream")
        layer = cls(
            [graph.shape_of(index) for index in sources],
            groups=block.get_int("groups", 1, minimum=1),
            group_id=block.get_int("group_id", 0),
        )
        layer.sources = tuple(sources)
        return layer

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, C_i, H, W) each -> (B, sum C_i / groups, H, W)."""
        if len({x.dim() for x in inputs}) > 1:
            inputs = tuple(as_image(x) for x in inputs)
        # groups=4, group_id=2 of 8 channels: 0 1 | 2 3 | 4 5 | 6 7 -> 4 5, a view and no copy.
        slices = list(inputs)
        if self.groups > 1:
            slices = [x.chunk(self.groups, 1)[self.group_id] for x in inputs]
        return slices[0] if len(slices) == 1 else torch.cat(slices, 1)

    def summary_cells(self) -> tuple[str, str]:
        """Return the sources' indices, and the slice."""
        group = f" {self.group_id}/{self.groups}" if self.groups > 1 else ""
        return "", " ".join(str(index) for index in self.sources) + group

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        group_id = self.group_id if self.groups > 1 else None
        return format_options(
            {
                "layers": unless(self.sources, ()),
                "groups": unless(self.groups, 1),
                "group_id": group_id,
            }
        )
