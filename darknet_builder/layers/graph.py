"""``Graph``: the layers built so far, and the sources that a new layer can name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import Dialect
from darknet_builder.shapes import Shape

if TYPE_CHECKING:
    from darknet_builder.layers.base import Layer

NETWORK_INPUT = -1
"""The source index of the network's own input."""


@dataclass
class Graph:
    """The network as far as it is built; ``from_block`` gets it.

    Attributes:
        input_shape: shape of the network's input.
        dialect: the Darknet variant whose rules apply.
        time_steps: consecutive frames of each sequence, from ``[net]``.
        folder: folder of the cfg, in which files named by options are looked for.
        layers: layers built so far; the one being built gets the index ``len(layers)``.
    """

    input_shape: Shape
    dialect: Dialect
    time_steps: int = 1
    folder: str = ""
    layers: list[Layer] = field(default_factory=list)
    _owners: dict[int, int] = field(default_factory=dict)
    """Index of a layer whose output was overwritten -> index of the layer that overwrote it.

    Darknet's dropout works in the memory of the layer before it, so a layer that reads layer 0 in
    this network reads dropped values:

    .. code-block:: text

        0 convolutional
        1 dropout          overwrites the output of 0        _owners = {0: 1}
        2 dropout          overwrites it once more           _owners = {0: 1, 1: 2}
        3 route layers=0   reads the memory of layer 0:      sources = (2,)
                           and shortens the chain:           _owners = {0: 2, 1: 2}
    """

    @property
    def index(self) -> int:
        """Index of the layer being built."""
        return len(self.layers)

    def shape_of(self, index: int) -> Shape:
        """Return the output shape of a layer, or of the network's input for ``NETWORK_INPUT``."""
        return self.input_shape if index == NETWORK_INPUT else self.layers[index].out_shape

    @property
    def shape(self) -> Shape:
        """Output shape of the previous layer."""
        return self.shape_of(self.index - 1)

    def image_shape(self, block: Block) -> Shape:
        """Return the previous layer's output shape as an image.

        A vector becomes an image of 1 x 1: ``give_image`` of its layer is called.

        Raises:
            CfgError: located, if Darknet gives that vector no image size (``formless``).
        """
        # Darknet's vector has out_h = out_w = 1 (connected_layer.c:67), so any section may follow.
        if self.shape.flat and not self.shape.formless:
            return self.layers[self.index - 1].give_image()
        if self.shape.formless:
            raise block.error(
                "needs an image from the layer before it, which gives a vector of"
                f" {self.shape.size}"
            )
        return self.shape

    def references(self, block: Block, key: str) -> list[int]:
        """Return the layers that an option names; negative numbers count back from this layer."""
        # Unlike the readers of masks and anchors, parse_route does not stop at a "#".
        numbers = block.get_ints(key, hash_ends=False)
        return [self._resolve(block, key, number) for number in numbers]

    def reference(self, block: Block, key: str) -> int:
        """Return the only layer that an option names."""
        return self._resolve(block, key, block.get_int(key))

    def layer_index(self, block: Block, key: str) -> int:
        """Return the layer that an option names for another purpose than reading its output."""
        return self._index(block, key, block.get_int(key))

    def _resolve(self, block: Block, key: str, number: int) -> int:
        return self._owner(self._index(block, key, number))

    def _owner(self, index: int) -> int:
        """Return the layer that wrote a layer's memory last.

        The chain is shortened to one step (path compression), so that no later walk is long.
        """
        chain = []
        while index in self._owners:
            chain.append(index)
            index = self._owners[index]
        self._owners.update(dict.fromkeys(chain, index))
        return index

    def _index(self, block: Block, key: str, number: int) -> int:
        index = number if number >= 0 else self.index + number
        if not 0 <= index < self.index:
            raise block.error(
                (
                    f"layer {number} does not exist: this is layer {self.index}, "
                    f"so write 0 to {self.index - 1}, or -1 to {-self.index}"
                    if self.index
                    else f"layer {number} does not exist: this is the first layer"
                ),
                key,
            )
        return index

    def add(self, layer: Layer) -> None:
        """Append a finished layer."""
        if not layer.sources:
            layer.sources = (self.index - 1,)
        if layer.shares_buffer:
            # Whoever names the source from now on gets this layer (dropout_layer.c).
            self._owners[layer.sources[0]] = self.index
        if self.dialect.name in layer.formless_in:
            layer.out_shape = replace(layer.out_shape, formless=True)
        self.layers.append(layer)
