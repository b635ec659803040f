"""Base classes of all layers: ``Layer``, ``Head`` and the options that every section may have.

A new section type is one file in this folder, which describes how the section is built and
computed: ``from_block`` reads the options, ``__init__`` checks them and computes the shapes,
``forward`` computes the output, ``weight_layout`` names the floats in the ``.weights`` file,
``flops`` counts operations, ``extra_repr`` shows the options, and class attributes tell the other
rooms what they need. Two things are elsewhere: the loss of a head (``losses/``) and the layer names
that OpenCV gives a section (``compat/opencv/names.py``). A layer file imports all it needs from
here; the registry, the graph and the weights header are re-exported.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.errors import InputError
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.graph import NETWORK_INPUT, Graph
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


@dataclass(frozen=True)
class CommonOptions:
    """Options that any section may have (parser.c:1480): how its weights are loaded and trained.

    Attributes:
        learning_rate: factor on the network's learning rate.
        clip: limit of the weights' magnitude after an update; 0 for no limit.
        onlyforward: no gradient passes through the layer, and its weights are not trained.
        stopbackward: whether the backward pass ends at this layer. 0: never; 1: in every iteration;
            a larger number: before the iteration of that number.
        dont_update: number of updates during which the weights are kept.
        burnin_update: keep the weights until this many times ``burn_in`` iterations.
        train_only_bn: train only the batch norms of this layer and of all layers before it.
        dontload: keep the initial weights when a file is loaded.
        dontloadscales: keep the initial batch norm when a file is loaded.
    """

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
        """Read the options, with Darknet's defaults."""
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
    """Options of a head that change the training images (parser.c:520).

    Attributes:
        jitter: largest random crop, as a fraction of the image's width and height.
        resize: largest random zoom factor; 1 for none.
        random: largest scale factor of multi-scale training; 0 turns it off, 1 stands for 1.4.
    """

    jitter: float = 0.2
    resize: float = 1.0
    random: float = 0.0

    @classmethod
    def from_block(cls, block: Block) -> AugmentOptions:
        """Read the options of any head, with Darknet's defaults."""
        return cls(
            block.get_float("jitter", 0.2),
            block.get_float("resize", 1.0),
            block.get_float("random", 0.0),
        )


def as_image(x: Tensor) -> Tensor:
    """Return a vector (B, N) as an image (B, N, 1, 1), any other tensor unchanged.

    Darknet's vector is an image of one pixel (connected_layer.c:67).
    """
    return x[..., None, None] if x.dim() == 2 else x


def _give_image(module: nn.Module, args: object, output: Tensor) -> Tensor:
    # The signature of a forward hook.
    return as_image(output)


class Layer(nn.Module):
    """One section of a cfg, as a module.

    Attributes:
        in_shape: shape of the first source's output, without the batch.
        out_shape: shape of this layer's output, without the batch.
        sources: absolute indices of the layers it reads; ``NETWORK_INPUT`` is the image. If
            ``from_block`` leaves it empty, the graph fills in the previous layer.
        options: the options that any section may have.
        tree: the hierarchy of the layer's classes, or None.
        section: the section's main name, set by ``register``.
        spellings: all names of the section, set by ``register``.
        dialects: names of the dialects that know the section, set by ``register``.
        is_head: whether detections are decoded from this layer.
    """

    section: ClassVar[str] = ""
    spellings: ClassVar[tuple[str, ...]] = ()
    dialects: ClassVar[tuple[str, ...]] = tuple(DIALECTS)
    is_head: ClassVar[bool] = False
    is_cost: ClassVar[bool] = False
    """Whether it only marks the place of a loss. As the last layer it is skipped: the output of the
    network is that of the layer before it."""
    shares_buffer: ClassVar[bool] = False
    """Whether it writes to its source's memory, as dropout does in Darknet.

    Later layers that name the source in the cfg then read this layer's output.
    """
    is_recurrent: ClassVar[bool] = False
    """Whether it keeps a state from earlier frames until ``reset_state``."""
    has_loss: ClassVar[bool] = False
    """Whether a loss can be computed from it: every head, and the last layer of a classifier."""
    decays: ClassVar[bool] = True
    """Whether ``decay=`` and ``clip=`` apply to its weights."""
    averaged: ClassVar[bool] = False
    """Whether ``ema_alpha=`` averages its parameters (network.c:431)."""
    is_convolution: ClassVar[bool] = False
    """Whether it is a convolution followed by optional batch norm and an activation."""
    is_view: ClassVar[bool] = False
    """Whether its output is its inputs side by side, so that they can be written there directly."""
    can_overwrite: ClassVar[bool] = False
    """Whether its output may replace its first input in memory, if no later layer reads that input.
    """
    formless_in: ClassVar[tuple[str, ...]] = ()
    """The dialects in which Darknet sets the number of outputs of this layer, but not their height,
    width and channels. No section that needs an image may follow there."""
    file_options: ClassVar[tuple[str, ...]] = ()
    """The options whose value names a file beside the cfg."""
    tree: Tree | None = None

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = out_shape
        self.sources: tuple[int, ...] = ()
        self.options = CommonOptions()

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Layer:
        """Build from a cfg section; options that are not set get Darknet's defaults.

        Args:
            block: the section to read.
            graph: the layers built so far.

        Raises:
            CfgError: located, if an option has a wrong value.
            ShapeError: if the sizes do not fit; the factory adds file and line.
        """
        raise NotImplementedError

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return (name, tensor) for each run of floats in the ``.weights`` file, in its order.

        Loading writes to these tensors, so they must be parameters, buffers or views of them.

        Args:
            header: the file's header, which decides whether weights are stored transposed.
        """
        return []

    def flops(self) -> int:
        """Return the operations for one image, by Darknet's formula for its BFLOPs column."""
        return 0

    def summary_cells(self) -> tuple[str, str]:
        """Return the text of the summary's two columns "filters" and "size/stride".

        Either is empty if the layer has nothing to show there.
        """
        return "", ""

    def reset_state(self) -> None:
        """Forget the frames seen in eval mode; does nothing in layers without a state."""

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution with one group per input channel."""
        return False

    @property
    def output_bias(self) -> Tensor | None:
        """The bias (channels,) that is added last, before the activation, or None."""
        return None

    def give_image(self) -> Shape:
        """Output a vector as an image of one pixel from now on, and return the new shape.

        Called when the next section needs an image.
        """
        # A hook, so that no section needs code for it in its own ``forward``.
        self.out_shape = Shape(self.out_shape.channels)
        self.register_forward_hook(_give_image)
        return self.out_shape

    def num_stored(self) -> int:
        """Return the number of floats that this layer has in a ``.weights`` file."""
        return sum(tensor.numel() for _, tensor in self.weight_layout(WeightsHeader()))

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` and ``dump`` show: ``size=2, stride=2``.

        Options have Darknet's names and the section's values (see ``format_options``). Defaults
        that tell a reader nothing are left out. Layer indices are absolute.
        """
        return ""


class Head(Layer):
    """A layer from whose output detections are decoded.

    Both methods take the raw map, which is the output of the layer before the head. ``forward``
    returns the map as Darknet stores it; ``decode`` returns boxes and scores.
    ``Network.forward`` does not run heads: it returns their raw maps.
    """

    is_head: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    type_number: ClassVar[int | None] = None
    """Darknet's LAYER_TYPE (darknet.h), for heads that Darknet's output names by this number."""
    box_values: ClassVar[int] = 0
    """Number of values before the classes for each anchor; the last of them is the objectness."""
    anchor_unit: ClassVar[str | None] = None
    """``pixel`` of the network's input, ``cell`` of the head's map, or None without anchors."""
    source_option: ClassVar[str] = "filters"
    """The option of the layer before it that decides how many values it gets."""
    takes_raw: bool = True
    """Whether it reads unbounded numbers: a convolution without batch norm and activation."""
    classes: int
    """C, the number of classes that the head is trained on (``classes=``)."""
    nms_kind: str = "default"
    """Kind of suppression for its boxes, one of ``boxes.NMS_KINDS`` (``nms_kind=``)."""
    beta_nms: float = 0.6
    """Exponent of the distance between two boxes; only ``diounms`` uses it (``beta_nms=``)."""
    anchors: Sequence[tuple[float, float]] = ()
    """(width, height) of all anchors in the section, in ``anchor_unit``."""
    mask: Sequence[int] | None = None
    """Indices of the anchors that this head uses; None (no ``mask=`` in the section) for all."""
    loss: object = None
    """The options that only the loss reads: a dataclass of the section."""
    augment: AugmentOptions = AugmentOptions()
    """The options that change the training images."""
    hierarchy_threshold: float = 0.5
    """Minimum probability of a path down the tree, for a head with a tree."""
    report_map: list[int] | None = None
    """Classes that ``decode`` reports for a head with a tree; None for the dialect's default."""

    @property
    def walks_tree(self) -> bool:
        """Whether ``decode`` walks down ``tree``, in a number of steps that the values decide."""
        return False

    @property
    def num_anchors(self) -> int:
        """Number of anchors used in each cell; 0 for a head without anchors."""
        return len(self.anchors if self.mask is None else self.mask)

    @property
    def anchor_decimals(self) -> int:
        """Number of decimals with which its anchors are written to a cfg."""
        return 2 if self.anchor_unit == "cell" else 0

    @property
    def values_per_anchor(self) -> int:
        """Number of channels of the raw map that belong to each anchor."""
        return self.box_values + self.classes

    def source_values(self, classes: int, num_anchors: int) -> int:
        """Return what ``source_option`` must be for other classes and anchors."""
        return num_anchors * (classes + self.box_values)

    @property
    def objectness_channel(self) -> int:
        """Index of the objectness among an anchor's channels."""
        return self.box_values - 1

    @property
    def reported_classes(self) -> int:
        """Number of classes for which ``decode`` returns scores."""
        return self.classes

    def metadata(self) -> dict[str, object]:
        """Describe the raw map, in values that JSON can hold, for a program that decodes it itself.

        ``export`` writes it into every file, one entry per head. All heads have ``type`` (the
        section's name) and ``classes``; each adds what its ``decode`` reads, such as ``anchors``
        and ``layout``.
        """
        return {"type": self.section, "classes": self.classes}

    def facts(self) -> dict[str, object]:
        """Return ``metadata()``. Deprecated name."""
        warnings.warn("Head.facts is now Head.metadata", DeprecationWarning, stacklevel=2)
        return self.metadata()

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Decode a raw map (B, C, H, W) or (B, N) into one candidate for each box.

        Args:
            raw: the head's entry in the list that ``network(x)`` returns.
            net_size: (width, height) of the network's input in pixels.

        Returns:
            Boxes relative to the image, objectness and class scores, N for each image.
        """
        raise NotImplementedError

    def decode_above(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> ScoredBoxes:
        """Return ``decode(raw, net_size).above(threshold)``.

        Heads with many cells override this to decode only the boxes above the threshold.

        Args:
            raw: the head's entry in the list that ``network(x)`` returns.
            net_size: (width, height) of the network's input in pixels.
            threshold: minimum confidence, 0 to 1.
        """
        return self.decode(raw, net_size).above(threshold)


def read_activation(block: Block, default: str, key: str = "activation") -> str:
    """Read the name of an activation and check that it exists.

    Args:
        block: the section that may have the option.
        default: the name if the option is not set.
        key: name of the option.

    Raises:
        CfgError: located, for an unknown name, with the nearest known one.
    """
    # Darknet takes ReLU for a name that it does not know (activations.c); here that is an error.
    name = block.get_str(key, default)
    try:
        make_activation(name)
    except InputError as error:
        raise block.error(error.message, key, hint=error.hint) from None
    return name
