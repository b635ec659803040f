"""[softmax]: turn scores into probabilities."""

from __future__ import annotations

from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.layers.tree import Tree, read_tree
from darknet_builder.shapes import Shape, flat


@register("softmax", "soft")
class Softmax(Layer):
    """Softmax over the vector, in groups, over channels, or per group of a tree (softmax_layer.c).

    Args:
        in_shape: any shape; the output is flat.
        groups: number of equal parts that the vector is cut into.
        temperature: divisor of the logits; 1 changes nothing.
        spatial: softmax over the channels of each pixel instead (Darknet's GPU path).
        tree: a hierarchy of classes, or None.

    Raises:
        ShapeError: if the groups or the tree do not divide the input.
    """

    formless_in = ("alexeyab", "pjreddie")  # softmax_layer.c
    has_loss = True
    file_options = ("tree",)

    def __init__(
        self,
        in_shape: Shape,
        *,
        groups: int = 1,
        temperature: float = 1.0,
        spatial: bool = False,
        tree: Tree | None = None,
    ) -> None:
        if in_shape.size % groups:
            raise ShapeError(f"groups={groups} does not divide the {in_shape.size} inputs")
        if tree is not None and in_shape.size % tree.size:
            raise ShapeError(f"the tree has {tree.size} classes, the input {in_shape.size} values")
        super().__init__(in_shape, flat(in_shape.size))
        self.groups, self.temperature, self.spatial, self.tree = groups, temperature, spatial, tree

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Softmax:
        """Build from a cfg section (parser.c:348)."""
        block.ignore("noloss")
        return cls(
            graph.shape,
            groups=block.get_int("groups", 1, minimum=1),
            temperature=block.get_float("temperature", 1.0),
            spatial=block.get_flag("spatial"),
            tree=read_tree(block, graph.folder),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, N)."""
        if self.spatial:
            # (B, C, H, W): a softmax over the channels of each pixel, then (B, C * H * W).
            return (x / self.temperature).softmax(1).flatten(1)
        if self.tree is not None:
            return self.tree.softmax(x.flatten(1) / self.temperature, 1)  # (B, N)
        # (B, ...) -> (B, N) -> (B, groups, N / groups)
        groups = x.flatten(1).unflatten(1, (self.groups, -1))
        return (groups / self.temperature).softmax(2).flatten(1)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "groups": unless(self.groups, 1),
                "temperature": unless(self.temperature, 1.0),
                "spatial": self.spatial,
                "tree": self.tree and f"{self.tree.size} classes",
            }
        )
