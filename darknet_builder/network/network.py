"""The network: an ``nn.ModuleList`` of layers at Darknet's own indices, and the one walk through
it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import Dialect
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.errors import InputError
from darknet_builder.layers.base import NETWORK_INPUT, Head, Layer, WeightsHeader
from darknet_builder.shapes import Shape

if TYPE_CHECKING:
    from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.network.plan import Plan

_IMAGE_CHANNELS = (1, 3)
"""Darknet built without OpenCV also reads an alpha channel for channels=4; built with it, it cannot
(image.c:1497)."""


class Network(nn.Module):
    """A Darknet network.

    Attributes:
        layers: ``nn.ModuleList``, one a section after ``[net]``: what stands in a plain list would
            not be found by ``parameters()``, ``state_dict()``, ``to()`` or ``eval()``.
        options: what ``[net]`` says.
        dialect: the Darknet whose rules it follows.
        blocks: the cfg that it was built from.
        header: of the weights file that was loaded last, to be written back.
        names: of the classes, where the network came with them.
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
        self.layers = nn.ModuleList(layers)

    # ---- what is where ---------------------------------------------------------------------------

    def sequence(self) -> list[Layer]:
        """``layers`` as a list of ``Layer``, for type checkers."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    @property
    def heads(self) -> list[Head]:
        """The layers at which detections are read, in order."""
        return [layer for layer in self.layers if isinstance(layer, Head)]

    @property
    def input_shape(self) -> Shape:
        """What each image must be."""
        return self.options.input_shape

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the input in pixels."""
        return self.options.width, self.options.height

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @property
    def num_stored(self) -> int:
        """How many floats its ``.weights`` file has: Darknet's count of parameters, batch norm
        statistics included.
        """
        return sum(layer.num_stored() for layer in self.sequence())

    @property
    def bflops(self) -> float:
        """Billions of operations for one image, by Darknet's formulas."""
        return sum(layer.flops() for layer in self.sequence()) / 1e9

    @property
    def is_recurrent(self) -> bool:
        """Whether its output for one frame depends on the frames before, so that a video must come
        in order.
        """
        return any(layer.is_recurrent for layer in self.sequence())

    def reset_state(self) -> None:
        """Let every recurrent layer forget the frames that it has seen in eval mode."""
        for layer in self.sequence():
            layer.reset_state()

    # ---- the walk --------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> list[Tensor] | Tensor:
        """Run the network.

        Args:
            x: (B, C, H, W) in [0, 1], or (B, N), as ``input_shape`` says.

        Returns:
            The raw map of every head, in order: what its ``decode`` and its loss take. Without a
            head, the last layer's output; a [cost] at the end is passed by, as in Darknet.

        Raises:
            InputError: for a tensor of another shape.
        """
        self.check_input(x)
        outputs = self.outputs(x)
        return outputs if self.heads else outputs[0]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """What ``forward`` returns, always as a list, for any size of image that the layers
        themselves can take.
        """
        outputs = self._run(x, self.output_plan)
        return [outputs[index] for index in self.output_indices]

    def layer_outputs(self, x: Tensor) -> list[Tensor]:
        """Every layer's output by index; a head's as Darknet holds it, after its own arithmetic.

        Args:
            x: as for ``forward``.
        """
        return self.outputs_of(x, range(len(self.layers)))

    def outputs_of(
        self, x: Tensor, indices: Sequence[int], *, size: tuple[int, int] | None = None
    ) -> list[Tensor]:
        """The outputs of some layers, for no more work than they need.

        Args:
            x: as for ``forward``.
            indices: Darknet's own; ``NETWORK_INPUT`` is ``x`` itself.
            size: (width, height) of ``x`` in pixels where it is not the network's own.
        """
        self.check_input(x, size)
        outputs = self._run(x, self._plan(tuple(indices)))
        return [outputs[index] for index in indices]

    def optimized(
        self, precision: str = "float32", backend: str = "torch", batch: int = 1
    ) -> OptimizedNetwork:
        """A copy of the network, as it is now, that answers faster and cannot be trained.

        Args:
            precision: ``float32``, ``bfloat16``, ``float16`` (GPUs alone), or ``auto``: bfloat16
                where this machine has it and it is measured to be 1.2 times faster or more.
                Networks of depthwise convolutions stay in float32 even where bfloat16 is asked for
                (see ``engine_choice.is_depthwise``).
            backend: ``torch``, ``compile``, ``onnxruntime``, ``openvino``, or ``auto``: what is
                measured to be fastest.
            batch: how many images a call will have: ``auto`` measures with so many.

        Raises:
            InputError: for an unknown word, or a network that the backend cannot run.
            MissingExtraError: for an engine that is not installed, with what to install.
        """
        # Upward, and therefore in here: the fast path is made of networks.
        # tests/test_architecture.py permits this one import by name.
        from darknet_builder.engines.optimized import optimize

        return optimize(self, precision, backend, batch)

    def _run(self, x: Tensor, plan: Plan) -> dict[int, Tensor]:
        outputs = {NETWORK_INPUT: x}
        layers = list(self.layers)
        for index, released in zip(plan.steps, plan.released, strict=True):
            layer = layers[index]
            outputs[index] = layer(*[outputs[source] for source in layer.sources])  # type: ignore[union-attr]
            for old in released:
                del outputs[old]
        return outputs

    @cached_property
    def output_indices(self) -> tuple[int, ...]:
        """Whose outputs ``forward`` returns: each head's source, or the last layer that is no
        cost.
        """
        layers = self.sequence()
        heads = tuple(layer.sources[0] for layer in layers if layer.is_head)
        last = max(
            (index for index, layer in enumerate(layers) if not layer.is_cost),
            default=NETWORK_INPUT,
        )
        return heads or (last,)

    @cached_property
    def output_plan(self) -> Plan:
        """The steps of ``forward``: layers that no output needs are not among them."""
        return self._plan(self.output_indices)

    def _plan(self, wanted: tuple[int, ...]) -> Plan:
        """The steps that ``wanted`` needs; each output is released after its last reader."""
        layers = self.sequence()
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
        """The most values of one image that are alive at once during ``forward``."""
        layers = self.sequence()
        alive, peak = self.input_shape.size, 0
        for index, released in zip(self.output_plan.steps, self.output_plan.released, strict=True):
            alive += layers[index].out_shape.size
            peak = max(peak, alive)
            alive -= sum(
                (self.input_shape if old == NETWORK_INPUT else layers[old].out_shape).size
                for old in released
            )
        return peak

    def check_sees_images(self) -> None:
        """Check that the input is what image files give; tensors of any number of channels can be
        run all the same.

        Raises:
            CfgError: located, where it is neither colour nor grey.
        """
        if self.input_shape.flat:
            raise self.blocks[0].error(
                "takes a vector (inputs=)", hint="images need width=, height= and channels="
            )
        if self.options.channels not in _IMAGE_CHANNELS:
            raise self.blocks[0].error(
                "images are read as 3 channels, or 1 as grey",
                "channels",
                hint="a network of others can be given tensors only",
            )

    def check_input(self, x: Tensor, size: tuple[int, int] | None = None) -> None:
        """Compare a tensor with ``input_shape``.

        Args:
            x: a batch of inputs.
            size: expected (width, height) in pixels; the network's own by default.

        Raises:
            InputError: naming both shapes.
        """
        shape = self.input_shape
        if size is not None:
            shape = replace(self.options, width=size[0], height=size[1]).input_shape
        expected = shape.batched(x.shape[0] if x.dim() else 1)
        if tuple(x.shape) != expected:
            wanted = ", ".join(["B", *map(str, expected[1:])])
            raise InputError(
                f"expected an input of shape ({wanted}), got {tuple(x.shape)}; "
                "build_network(cfg, width=..., height=...) builds for another size"
            )

    # ---- old names -------------------------------------------------------------------------------

    def answers(self, x: Tensor) -> list[Tensor]:
        """Return ``outputs(x)``; the old name."""
        _warn_of_old_name("answers", "outputs")
        return self.outputs(x)

    @property
    def answer_indices(self) -> tuple[int, ...]:
        """``output_indices``; the old name."""
        _warn_of_old_name("answer_indices", "output_indices")
        return self.output_indices

    @property
    def answer_plan(self) -> Plan:
        """``output_plan``; the old name."""
        _warn_of_old_name("answer_plan", "output_plan")
        return self.output_plan


def _warn_of_old_name(old: str, new: str) -> None:
    warnings.warn(f"Network.{old} is now Network.{new}", DeprecationWarning, stacklevel=3)
