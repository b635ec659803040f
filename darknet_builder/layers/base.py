"""What every layer is: the contract, the registry, and the graph that a layer is built into.

Adding a section type means one file in this folder. It says everything that Darknet knows of the section:
``from_block`` reads the options, ``__init__`` checks and sizes, ``forward`` computes, ``weight_layout`` names the
floats of the ``.weights`` file, ``flops`` counts. Nothing else in the package needs to know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from darknet_builder.activations import make_activation
from darknet_builder.boxes import Candidates, ScoredBoxes
from darknet_builder.dialects import DIALECTS, Dialect
from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.parser import NET_SECTIONS, Block
from darknet_builder.shapes import Shape

NETWORK_INPUT = -1
"""The source index that means the network's own input."""


@dataclass(frozen=True)
class WeightsHeader:
    """The first 16 or 20 bytes of a ``.weights`` file (parser.c:2254)."""

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    @property
    def transposed(self) -> bool:
        """Whether connected weights are stored inputs x outputs (parser.c:2274)."""
        return self.major > 1000 or self.minor > 1000


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


WeightLayout = list[tuple[str, Tensor]]


class Layer(nn.Module):
    """One section of a cfg.

    Attributes:
        in_shape: what it reads from its first source.
        out_shape: what it gives.
        sources: absolute indices of the layers it reads; ``NETWORK_INPUT`` is the image. The factory fills in the
            previous layer where ``from_block`` left it empty.
        options: the options that any section may have.
    """

    section: ClassVar[str] = ""
    spellings: ClassVar[tuple[str, ...]] = ()
    dialects: ClassVar[tuple[str, ...]] = tuple(DIALECTS)
    is_head: ClassVar[bool] = False
    is_cost: ClassVar[bool] = False
    """Whether it only holds the place of a loss, so that the network's answer is the layer before it."""
    shares_buffer: ClassVar[bool] = False
    """Whether it works in its source's own memory, so that whoever reads the source reads this (dropout)."""

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
        """(name, tensor) of every run of floats in the file's order; writing to a tensor loads the layer."""
        return []

    def flops(self) -> int:
        """Operations for one image, by Darknet's formula for its BFLOPs column."""
        return 0

    def summary_cells(self) -> tuple[str, str]:
        """The filters and the size/stride column of the summary."""
        return "", ""

    def num_stored(self) -> int:
        """How many floats this layer has in a ``.weights`` file."""
        return sum(tensor.numel() for _, tensor in self.weight_layout(WeightsHeader()))


class Head(Layer):
    """A layer at which detections are read.

    ``forward`` gives the map as Darknet holds it; ``decode`` gives boxes from the raw map.
    """

    is_head: ClassVar[bool] = True
    classes: int
    nms_kind: str = "default"
    beta_nms: float = 0.6

    @property
    def reported_classes(self) -> int:
        """How many classes ``decode`` gives scores for."""
        return self.classes

    def facts(self) -> dict[str, object]:
        """What a program must know to decode the raw map by itself, as JSON can hold it."""
        return {"type": self.section, "classes": self.classes}

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map (B, C, H, W) or (B, N) -> what it says of every place.

        Args:
            raw: what ``network(x)`` returned for this head.
            net_size: (width, height) of the network's input in pixels.
        """
        raise NotImplementedError

    def decode_above(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> ScoredBoxes:
        """Return ``decode(raw, net_size).above(threshold)``; a head of many places decodes only those above it."""
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
        """``shape``, which must be an image's."""
        if self.shape.flat:
            raise block.error(f"needs an image from the layer before it, which gives a vector of {self.shape.size}")
        return self.shape

    def references(self, block: Block, key: str) -> list[int]:
        """The layers that an option names: negative ones count back from here, others are absolute."""
        return [self._resolve(block, key, number) for number in block.get_ints(key)]

    def reference(self, block: Block, key: str) -> int:
        """The one layer that an option names."""
        return self._resolve(block, key, block.get_int(key))

    def _resolve(self, block: Block, key: str, number: int) -> int:
        index = number if number >= 0 else self.index + number
        if not 0 <= index < self.index:
            raise block.error(f"layer {number} does not exist: this is layer {self.index}, "
                              f"so write 0 to {self.index - 1}, or -1 to {-self.index}"
                              if self.index else f"layer {number} does not exist: this is the first layer", key)
        return self._owners.get(index, index)

    def add(self, layer: Layer) -> None:
        """Take a finished layer as the next one."""
        if not layer.sources:
            layer.sources = (self.index - 1,)
        if layer.shares_buffer:
            source = layer.sources[0]
            for index in [source, *(old for old, owner in self._owners.items() if owner == source)]:
                self._owners[index] = self.index
        self.layers.append(layer)


_REGISTRY: dict[str, type[Layer]] = {}
_LayerType = TypeVar("_LayerType", bound=type[Layer])


def register(*spellings: str, dialects: tuple[str, ...] = tuple(DIALECTS)) -> Callable[[_LayerType], _LayerType]:
    """Class decorator: the section names that build this layer, Darknet's main one first, and who knows them.

    Raises:
        ValueError: when a name is taken already.
    """
    def decorate(layer_class: _LayerType) -> _LayerType:
        for spelling in spellings:
            if spelling in _REGISTRY:
                other = _REGISTRY[spelling].__name__
                raise ValueError(f"[{spelling}] is registered twice: {other}, {layer_class.__name__}")
            _REGISTRY[spelling] = layer_class
        layer_class.section = spellings[0]
        layer_class.spellings = spellings
        layer_class.dialects = dialects
        return layer_class
    return decorate


def registered_sections() -> dict[str, type[Layer]]:
    """Every section name, aliases included, and its class."""
    return dict(_REGISTRY)


def find_layer_class(block: Block, dialect: Dialect) -> type[Layer]:
    """The class for a section.

    Raises:
        CfgError: located, with the nearest known name, or the dialect that knows it.
    """
    if block.name not in _REGISTRY:
        hint = "; it stands once, at the beginning" if block.name in NET_SECTIONS else (
            did_you_mean(block.name, _REGISTRY))
        raise block.error(f"unknown section{hint}")
    layer_class = _REGISTRY[block.name]
    if dialect.name not in layer_class.dialects:
        raise block.error(f"the dialect {dialect.name} does not know this section; "
                          f"build with dialect={layer_class.dialects[0]!r}")
    return layer_class


def read_activation(block: Block, default: str, key: str = "activation") -> str:
    """The name of an activation, checked where it stands in the cfg."""
    name = block.get_str(key, default)
    try:
        make_activation(name)
    except InputError as error:
        raise block.error(str(error), key) from None
    return name
