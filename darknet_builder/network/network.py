"""The network: an ``nn.ModuleList`` of layers at Darknet's own indices, and its forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import Dialect
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.errors import InputError
from darknet_builder.layers.base import NETWORK_INPUT, Head, Layer, WeightsHeader
from darknet_builder.network.plan import Plan
from darknet_builder.shapes import Shape

if TYPE_CHECKING:
    from darknet_builder.engines.optimized import OptimizedNetwork

_IMAGE_CHANNELS = (1, 3)
"""Channels of images that are read from files.

Darknet built without OpenCV also reads an alpha channel for channels=4; built with OpenCV, it
cannot (image.c:1497).
"""


class Network(nn.Module):
    """A Darknet network.

    Attributes:
        layers: ``nn.ModuleList`` with one layer per section after ``[net]``. In a plain list,
            ``parameters()``, ``state_dict()``, ``to()`` and ``eval()`` would not find them.
        options: the options of ``[net]``.
        dialect: the Darknet variant whose rules it follows.
        blocks: the cfg that it was built from.
        header: header of the weights file loaded last; ``save_weights`` writes it.
        names: class names, or empty if the network came without them.
        graph_file: the quantized ONNX file that has the weights; None for a network that has them
            itself. Only ``optimized()`` runs such a network.

    Example:
        >>> import torch
        >>> from darknet_builder import build_network
        >>> network = build_network("yolov4-tiny", width=64, height=64).eval()
        >>> [tuple(raw.shape) for raw in network(torch.zeros(1, 3, 64, 64))]
        [(1, 255, 2, 2), (1, 255, 4, 4)]
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        options: NetOptions,
        dialect: Dialect,
        layers: Iterable[Layer],
    ) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self.options = options
        self.dialect = dialect
        self.header = WeightsHeader()
        self.names: tuple[str, ...] = ()
        self.graph_file: Path | None = None
        self.layers = nn.ModuleList(layers)

    # ---- properties ------------------------------------------------------------------------------

    def sequence(self) -> list[Layer]:
        """Return ``layers`` as a list of ``Layer``, for type checkers."""
        # nn.ModuleList is annotated as a list of Module.
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    @property
    def heads(self) -> list[Head]:
        """The layers from which detections are decoded, in order."""
        return [layer for layer in self.layers if isinstance(layer, Head)]

    @property
    def input_shape(self) -> Shape:
        """Shape of one input, without the batch."""
        return self.options.input_shape

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the input in pixels."""
        return self.options.width, self.options.height

    @property
    def device(self) -> torch.device:
        """Device of the first parameter; the CPU for a network without parameters of its own."""
        if self.graph_file is not None:
            return torch.device("cpu")
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @property
    def num_stored(self) -> int:
        """Number of floats in its ``.weights`` file, batch norm statistics included."""
        return sum(layer.num_stored() for layer in self.sequence())

    @property
    def bflops(self) -> float:
        """Billions of operations for one image, by Darknet's formulas."""
        return sum(layer.flops() for layer in self.sequence()) / 1e9

    @property
    def is_recurrent(self) -> bool:
        """Whether the output for a frame depends on earlier frames.

        The frames of a video must then be given in order.
        """
        return any(layer.is_recurrent for layer in self.sequence())

    def reset_state(self) -> None:
        """Make all recurrent layers forget the frames seen in eval mode."""
        for layer in self.sequence():
            layer.reset_state()

    # ---- running ---------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> list[Tensor] | Tensor:
        """Run the network.

        Args:
            x: (B, C, H, W) in [0, 1], or (B, N), according to ``input_shape``.

        Returns:
            The raw map of every head, in order, for the head's ``decode`` and its loss. Without a
            head, the last layer's output; a [cost] at the end is skipped, as in Darknet.

        Raises:
            InputError: for a tensor of another shape.
        """
        self.check_input(x)
        outputs = self.outputs(x)
        return outputs if self.heads else outputs[0]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return what ``forward`` returns, but always as a list, and without checking the size.

        Args:
            x: (B, C, H, W) of any size that the layers support, or (B, N).
        """
        outputs = self._run(x, self.output_plan)
        return [outputs[index] for index in self.output_indices]

    def layer_outputs(self, x: Tensor) -> list[Tensor]:
        """Return every layer's output by index.

        A head's is the map as Darknet stores it, after the head's own arithmetic.

        Args:
            x: (B, C, H, W) or (B, N), as for ``forward``.
        """
        return self.outputs_of(x, range(len(self.layers)))

    def outputs_of(
        self, x: Tensor, indices: Sequence[int], *, size: tuple[int, int] | None = None
    ) -> list[Tensor]:
        """Return the outputs of some layers, running only the layers that they need.

        Args:
            x: (B, C, H, W) or (B, N), as for ``forward``.
            indices: indices of the layers; ``NETWORK_INPUT`` is ``x`` itself.
            size: (width, height) of ``x`` in pixels; None for the network's own size.
        """
        self.check_input(x, size)
        outputs = self._run(x, self._plan(tuple(indices)))
        return [outputs[index] for index in indices]

    def optimized(
        self, precision: str = "float32", backend: str = "torch", batch: int = 1
    ) -> OptimizedNetwork:
        """Return a faster copy of the network as it is now, which cannot be trained.

        Args:
            precision: ``float32``, ``bfloat16``, ``float16`` (only on GPUs), or ``auto``: bfloat16
                if this machine supports it and it is measured to be at least 1.2 times faster.
                Networks of depthwise convolutions stay in float32 even if bfloat16 is requested
                (see ``engine_choice.is_depthwise``).
            backend: ``torch``, ``compile``, ``onnxruntime``, ``openvino``, or ``auto`` for the one
                that is measured to be fastest.
            batch: number of images per call; ``auto`` measures with this number.

        Raises:
            InputError: for an unknown word, or a network that the backend cannot run.
            MissingExtraError: if the engine is not installed, with what to install.
        """
        # Imported here because the fast path is built from networks: this is the only import
        # upwards, and tests/test_architecture.py permits it by name.
        from darknet_builder.engines.optimized import optimize

        return optimize(self, precision, backend, batch)

    def _run(self, x: Tensor, plan: Plan) -> dict[int, Tensor]:
        if self.graph_file is not None:
            raise InputError(
                "holds the weights as integers, for engines alone: only the network's raw maps can"
                " be computed",
                path=self.graph_file,
                hint="load the .cfg and .weights that it was exported from",
            )
        outputs = {NETWORK_INPUT: x}
        layers = list(self.layers)
        for index, released in zip(plan.steps, plan.released, strict=True):
            layer = layers[index]
            inputs = [outputs[source] for source in layer.sources]  # type: ignore[union-attr]
            outputs[index] = layer(*inputs)
            # Freed at once, so that memory holds no more than ``peak_values`` says.
            del inputs
            for old in released:
                del outputs[old]
        return outputs

    @cached_property
    def output_indices(self) -> tuple[int, ...]:
        """Indices of the layers whose outputs ``forward`` returns.

        They are each head's source, or without a head the last layer that is not a [cost].
        """
        layers = self.sequence()
        heads = tuple(layer.sources[0] for layer in layers if layer.is_head)
        # network.c:690: the network's output is that of the last layer which is not a [cost].
        last = max(
            (index for index, layer in enumerate(layers) if not layer.is_cost),
            default=NETWORK_INPUT,
        )
        return heads or (last,)

    @cached_property
    def output_plan(self) -> Plan:
        """The steps of ``forward``; layers that no output needs are left out."""
        return self._plan(self.output_indices)

    def _plan(self, wanted: tuple[int, ...]) -> Plan:
        """Return the steps that ``wanted`` needs; each output is freed after its last reader."""
        layers = self.sequence()
        # A stack instead of recursion: networks can be deeper than Python's stack.
        needed: set[int] = set()
        stack = [index for index in wanted if index != NETWORK_INPUT]
        while stack:
            index = stack.pop()
            if index not in needed:
                needed.add(index)
                stack.extend(source for source in layers[index].sources if source != NETWORK_INPUT)
        steps = tuple(sorted(needed))
        return Plan.of(steps, [layers[index].sources for index in steps], wanted)

    def peak_values(self) -> int:
        """Return the largest number of values of one image that are alive at once."""
        layers = self.sequence()
        alive, peak = self.input_shape.size, 0
        for index, released in zip(self.output_plan.steps, self.output_plan.released, strict=True):
            alive += layers[index].out_shape.size
            peak = max(peak, alive)
            for old in released:
                shape = self.input_shape if old == NETWORK_INPUT else layers[old].out_shape
                alive -= shape.size
        return peak

    def check_float32(self) -> None:
        """Check that the weights are float32, the type of images and of files with weights.

        Raises:
            InputError: naming the other type.
        """
        for parameter in self.parameters():
            if parameter.dtype != torch.float32:
                name = str(parameter.dtype).removeprefix("torch.")
                raise InputError(f"the network's weights are {name}; call network.float() first")

    def check_sees_images(self) -> None:
        """Check that the network's input can be read from image files.

        Tensors of any number of channels can be run all the same.

        Raises:
            CfgError: located, if the input is neither a colour nor a grey image.
        """
        if self.input_shape.flat:
            raise self.blocks[0].error(
                "takes a vector (inputs=)", hint="images need width=, height= and channels="
            )
        if self.options.channels not in _IMAGE_CHANNELS:
            raise self.blocks[0].error(
                "images are read as 3 channels, or 1 as grey",
                "channels",
                hint="with other numbers of channels, call network(x) with tensors",
            )

    def check_input(self, x: Tensor, size: tuple[int, int] | None = None) -> None:
        """Compare a tensor's shape with ``input_shape``.

        Args:
            x: a batch of inputs.
            size: expected (width, height) in pixels; None for the network's own size.

        Raises:
            InputError: if they differ, with both shapes.
        """
        shape = self.input_shape
        if size is not None:
            shape = replace(self.options, width=size[0], height=size[1]).input_shape
        expected = shape.batched(x.shape[0] if x.dim() else 1)
        if tuple(x.shape) != expected:
            wanted = ", ".join(["B", *map(str, expected[1:])])
            raise InputError(
                f"expected an input of shape ({wanted}), got {tuple(x.shape)}; "
                "use build_network(cfg, width=..., height=...) for another size"
            )

    # ---- old names -------------------------------------------------------------------------------

    def answers(self, x: Tensor) -> list[Tensor]:
        """Return ``outputs(x)``. Deprecated name."""
        _warn_of_old_name("answers", "outputs")
        return self.outputs(x)

    @property
    def answer_indices(self) -> tuple[int, ...]:
        """``output_indices``. Deprecated name."""
        _warn_of_old_name("answer_indices", "output_indices")
        return self.output_indices

    @property
    def answer_plan(self) -> Plan:
        """``output_plan``. Deprecated name."""
        _warn_of_old_name("answer_plan", "output_plan")
        return self.output_plan


def _warn_of_old_name(old: str, new: str) -> None:
    warnings.warn(f"Network.{old} is now Network.{new}", DeprecationWarning, stacklevel=3)
