"""The contract of a layer, and the graph that a layer is built into.

Adding a section type means one file in this folder. It says everything that Darknet knows about the
section: ``from_block`` reads the options, ``__init__`` checks and sizes, ``forward`` computes,
``weight_layout`` names the floats of the ``.weights`` file, ``flops`` counts, ``extra_repr`` shows
the options to a person, and class attributes answer what the rest of the package asks. No module
outside this folder names a section. Such a file imports everything from here: the registry and the
weights header have modules of their own, and are handed on.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor, nn

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import DIALECTS, Dialect
from darknet_builder.errors import InputError
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.registry import find_layer_class, register, registered_sections
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.layers.tree import Tree
from darknet_builder.layers.weight_layout import (
    NORM_KINDS,
    WeightLayout,
    WeightsHeader,
    tensor_kind,
)
from darknet_builder.shapes import Shape

__all__ = [
    "NETWORK_INPUT",
    "NORM_KINDS",
    "AugmentOptions",
    "CommonOptions",
    "Graph",
    "Head",
    "Layer",
    "WeightLayout",
    "WeightsHeader",
    "as_image",
    "find_layer_class",
    "format_options",
    "read_activation",
    "register",
    "registered_sections",
    "tensor_kind",
    "unless",
]

NETWORK_INPUT = -1
"""The source index that means the network's own input."""


@dataclass(frozen=True)
class CommonOptions:
    """Options that any section may have (parser.c:1480): how its weights load and learn."""

    learning_rate: float = 1.0
    clip: float = 0.0
    onlyforward: bool = False
    stopbackward: int = 0
    dont_update: int = 0
    burnin_update: int = 0
    train_only_bn: bool = False
    dontload: bool = False
    dontloadscales: bool = False

    @classmethod
    def from_block(cls, block: Block) -> CommonOptions:
        """Read them, with Darknet's defaults."""
        return cls(
            learning_rate=block.get_float("learning_rate", 1.0),
            clip=block.get_float("clip", 0.0),
            onlyforward=block.get_flag("onlyforward"),
            stopbackward=block.get_int("stopbackward", 0),
            dont_update=block.get_int("dont_update", 0),
            burnin_update=block.get_int("burnin_update", 0),
            train_only_bn=block.get_flag("train_only_bn"),
            dontload=block.get_flag("dontload"),
            dontloadscales=block.get_flag("dontloadscales"),
        )


@dataclass(frozen=True)
class AugmentOptions:
    """What a head says of the training images (parser.c:520): crop, zoom and multi-scale."""

    jitter: float = 0.2
    resize: float = 1.0
    random: float = 0.0

    @classmethod
    def from_block(cls, block: Block) -> AugmentOptions:
        """Read them from any head."""
        return cls(
            block.get_float("jitter", 0.2),
            block.get_float("resize", 1.0),
            block.get_float("random", 0.0),
        )


def as_image(x: Tensor) -> Tensor:
    """(B, N) -> (B, N, 1, 1), any other as it is: Darknet's vector is an image of one pixel
    (connected_layer.c:67).
    """
    return x[..., None, None] if x.dim() == 2 else x


def _give_image(module: nn.Module, args: object, output: Tensor) -> Tensor:
    return as_image(output)


class Layer(nn.Module):
    """One section of a cfg.

    Attributes:
        in_shape: what it reads from its first source.
        out_shape: what it gives.
        sources: absolute indices of the layers it reads; ``NETWORK_INPUT`` is the image. The
            factory fills in the previous layer where ``from_block`` left it empty.
        options: the options that any section may have.
        tree: the hierarchy over its classes, where it has one.
    """

    section: ClassVar[str] = ""
    spellings: ClassVar[tuple[str, ...]] = ()
    dialects: ClassVar[tuple[str, ...]] = tuple(DIALECTS)
    is_head: ClassVar[bool] = False
    is_cost: ClassVar[bool] = False
    """Whether it only holds the place of a loss, so that the network's answer is the layer before
    it."""
    shares_buffer: ClassVar[bool] = False
    """Whether it works in its source's own memory, so that whoever reads the source reads this
    (dropout)."""
    is_recurrent: ClassVar[bool] = False
    """Whether it remembers the frames before, until ``reset_state``."""
    has_loss: ClassVar[bool] = False
    """Whether a network can learn from it: every head, and what ends a classifier."""
    decays: ClassVar[bool] = True
    """Whether ``decay=`` and ``clip=`` act on its weights."""
    averaged: ClassVar[bool] = False
    """Whether its parameters belong to the moving average of ``ema_alpha=`` (network.c:431)."""
    is_convolution: ClassVar[bool] = False
    """Whether it is a convolution with ``batch_normalize=`` and ``activation=`` behind it."""
    is_view: ClassVar[bool] = False
    """Whether its output is its inputs side by side, which can lie in the inputs' own memory."""
    can_overwrite: ClassVar[bool] = False
    """Whether its output can replace its first input in memory, if no later layer reads that."""
    formless_in: ClassVar[tuple[str, ...]] = ()
    """The dialects in which its output has a length alone, so that no section that needs an image
    may follow: Darknet sets no height, width and channels there."""
    file_options: ClassVar[tuple[str, ...]] = ()
    """The options whose value is the name of a file beside the cfg."""
    tree: Tree | None = None

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = out_shape
        self.sources: tuple[int, ...] = ()
        self.options = CommonOptions()

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Layer:
        """Build from cfg text: every option with Darknet's default."""
        raise NotImplementedError

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """(name, tensor) of every run of floats in the file's order; writing to a tensor loads the
        layer.
        """
        return []

    def flops(self) -> int:
        """Operations for one image, by Darknet's formula for its BFLOPs column."""
        return 0

    def summary_cells(self) -> tuple[str, str]:
        """The filters and the size/stride column of the summary."""
        return "", ""

    def reset_state(self) -> None:
        """Forget the frames seen in eval mode; most layers remember none."""

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution that has a group of its own for each input channel."""
        return False

    @property
    def output_bias(self) -> Tensor | None:
        """The bias (channels,) that is added last, before the activation, or None."""
        return None

    def give_image(self) -> Shape:
        """Give a vector as an image of one pixel from now on, because the section behind needs an
        image.
        """
        self.out_shape = Shape(self.out_shape.channels)
        self.register_forward_hook(_give_image)
        return self.out_shape

    def num_stored(self) -> int:
        """How many floats this layer has in a ``.weights`` file."""
        return sum(tensor.numel() for _, tensor in self.weight_layout(WeightsHeader()))

    def extra_repr(self) -> str:
        """The options to show in ``print(network)`` and ``dump``, such as ``size=2, stride=2``.

        Darknet's names and the section's values (see ``format_options``), without defaults that say
        nothing. Indices of layers are absolute.
        """
        return ""


class Head(Layer):
    """A layer at which detections are read.

    ``forward`` gives the map as Darknet holds it; ``decode`` gives boxes from the raw map.
    """

    is_head: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    box_values: ClassVar[int] = 0
    """The number of values before the classes for each anchor; the last is the objectness."""
    anchor_unit: ClassVar[str | None] = None
    """``pixel`` of the network's input, ``cell`` of the head's map, or None without anchors."""
    source_option: ClassVar[str] = "filters"
    """The option of the layer before it that decides how many values it gets."""
    takes_raw: bool = True
    """Whether it takes unbounded numbers: those of a convolution without norm and activation."""
    classes: int
    """C, the number of classes that the head is trained on (``classes=``)."""
    nms_kind: str = "default"
    """The suppression for its boxes, one of ``boxes.NMS_KINDS`` (``nms_kind=``)."""
    beta_nms: float = 0.6
    """The exponent of the distance between two boxes; only ``diounms`` reads it (``beta_nms=``)."""
    anchors: Sequence[tuple[float, float]] = ()
    """(width, height) of all anchors of its section, in ``anchor_unit``."""
    mask: Sequence[int] | None = None
    """Which of the anchors it uses; None where the section has no ``mask=`` and uses all."""
    loss: object = None
    """The options that only its loss reads: a dataclass of its section."""
    augment: AugmentOptions = AugmentOptions()
    """What it says of the training images."""
    report_map: list[int] | None = None
    """The classes that ``decode`` reports of a head with a tree; None for the dialect's own way."""

    @property
    def walks_tree(self) -> bool:
        """Whether ``decode`` walks down ``tree``, in a number of steps that the values decide."""
        return False

    @property
    def num_anchors(self) -> int:
        """The number of anchors that it uses in each cell; 0 for a head without anchors."""
        return len(self.anchors if self.mask is None else self.mask)

    @property
    def anchor_decimals(self) -> int:
        """The number of decimals that its anchors are written with in a cfg."""
        return 2 if self.anchor_unit == "cell" else 0

    @property
    def values_per_anchor(self) -> int:
        """The channels that each anchor takes in the raw map."""
        return self.box_values + self.classes

    def source_values(self, classes: int, num_anchors: int) -> int:
        """Return what ``source_option`` must be for other classes and anchors."""
        return num_anchors * (classes + self.box_values)

    @property
    def objectness_channel(self) -> int:
        """The place of the objectness among an anchor's channels."""
        return self.box_values - 1

    @property
    def reported_classes(self) -> int:
        """How many classes ``decode`` gives scores for."""
        return self.classes

    def metadata(self) -> dict[str, object]:
        """Describe the raw map for a program that decodes it by itself, as JSON can hold it.

        ``export`` writes it into every file, one entry a head. All heads have ``type`` (the
        section's name) and ``classes``; each adds what its ``decode`` reads, such as ``anchors``
        and ``layout``.
        """
        return {"type": self.section, "classes": self.classes}

    def facts(self) -> dict[str, object]:
        """Return ``metadata()``; the old name."""
        warnings.warn("Head.facts is now Head.metadata", DeprecationWarning, stacklevel=2)
        return self.metadata()

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map (B, C, H, W) or (B, N) -> what it says of every place.

        Args:
            raw: what ``network(x)`` returned for this head.
            net_size: (width, height) of the network's input in pixels.
        """
        raise NotImplementedError

    def decode_above(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> ScoredBoxes:
        """Return ``decode(raw, net_size).above(threshold)``; a head of many places decodes only
        those above it.
        """
        return self.decode(raw, net_size).above(threshold)


@dataclass
class Graph:
    """The network as far as it is built, given to ``from_block``.

    Attributes:
        input_shape: the network's input.
        dialect: the Darknet whose rules hold.
        layers: those built so far; the one being built gets the index ``len(layers)``.
        time_steps: frames in a row, from ``[net]``.
        folder: where the cfg lies, for the files that it names.
    """

    input_shape: Shape
    dialect: Dialect
    time_steps: int = 1
    folder: str = ""
    layers: list[Layer] = field(default_factory=list)
    _owners: dict[int, int] = field(default_factory=dict)
    """Index of a layer whose output was overwritten -> index of the layer that did so, or of a
    later one.

    Darknet's dropout works in the memory of the layer before it, so whoever reads that layer reads
    dropped values:

    .. code-block:: text

        0 convolutional 1 dropout          overwrites the output of 0     _owners = {0: 1} 2 dropout
        overwrites it once more        _owners = {0: 1, 1: 2}, {0: 2, 1: 2} once asked 3 route
        layers=0   reads the memory of layer 0: sources = (2,)
    """

    @property
    def index(self) -> int:
        """The index of the layer being built."""
        return len(self.layers)

    def shape_of(self, index: int) -> Shape:
        """The output shape of a layer, or of the network's input."""
        return self.input_shape if index == NETWORK_INPUT else self.layers[index].out_shape

    @property
    def shape(self) -> Shape:
        """What the previous layer gives."""
        return self.shape_of(self.index - 1)

    def image_shape(self, block: Block) -> Shape:
        """``shape`` as an image's: the layer before gives its vector as one of 1 x 1 then, unless
        it is formless.
        """
        if self.shape.flat and not self.shape.formless:
            return self.layers[self.index - 1].give_image()
        if self.shape.formless:
            raise block.error(
                "needs an image from the layer before it, which gives a vector of"
                f" {self.shape.size}"
            )
        return self.shape

    def references(self, block: Block, key: str) -> list[int]:
        """The layers that an option names: negative ones count back from here, others are
        absolute.
        """
        return [
            self._resolve(block, key, number) for number in block.get_ints(key, hash_ends=False)
        ]

    def reference(self, block: Block, key: str) -> int:
        """The one layer that an option names."""
        return self._resolve(block, key, block.get_int(key))

    def layer_index(self, block: Block, key: str) -> int:
        """The layer that an option names for something else than its output."""
        return self._index(block, key, block.get_int(key))

    def _resolve(self, block: Block, key: str, number: int) -> int:
        return self._owner(self._index(block, key, number))

    def _owner(self, index: int) -> int:
        """The layer that works in a layer's memory in the end; what was found is noted, so that no
        way is long.
        """
        way = []
        while index in self._owners:
            way.append(index)
            index = self._owners[index]
        self._owners.update(dict.fromkeys(way, index))
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
        """Take a finished layer as the next one."""
        if not layer.sources:
            layer.sources = (self.index - 1,)
        if layer.shares_buffer:
            self._owners[layer.sources[0]] = self.index
        if self.dialect.name in layer.formless_in:
            layer.out_shape = replace(layer.out_shape, formless=True)
        self.layers.append(layer)


def read_activation(block: Block, default: str, key: str = "activation") -> str:
    """The name of an activation, checked where it stands in the cfg."""
    name = block.get_str(key, default)
    try:
        make_activation(name)
    except InputError as error:
        raise block.error(error.message, key, hint=error.hint) from None
    return name
