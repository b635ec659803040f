"""[crnn], [conv_lstm] and [history]: recurrent layers over maps.

Sources: crnn_layer.c, conv_lstm_layer.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.base import (
    Graph,
    Layer,
    WeightLayout,
    WeightsHeader,
    read_activation,
    register,
)
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.recurrent.state import Recurrent, ThreePart, concatenate
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape


@dataclass(frozen=True)
class _Kernel:
    """Options of the convolution that all parts of one layer use."""

    size: int = 3
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    batch_normalize: bool = False
    activation: str = "logistic"
    xnor: bool = False

    @classmethod
    def from_block(cls, block: Block, activation: str) -> _Kernel:
        """Read the options that a [convolutional] also has.

        Args:
            block: the section of the recurrent layer.
            activation: the activation if the section names none.
        """
        size = block.get_int("size", 3, minimum=1)
        padding = block.get_int("padding", 0, minimum=0)
        return cls(
            size=size,
            stride=block.get_int("stride", 1, minimum=1),
            dilation=block.get_int("dilation", 1),
            padding=size // 2 if block.get_flag("pad") else padding,
            groups=block.get_int("groups", 1, minimum=1),
            xnor=block.get_flag("xnor"),
            batch_normalize=block.get_flag("batch_normalize"),
            activation=read_activation(block, activation),
        )

    def make(self, in_shape: Shape, filters: int) -> Convolutional:
        """Return a convolution for one part of the layer."""
        return Convolutional(
            in_shape,
            filters=filters,
            size=self.size,
            stride=(self.stride, self.stride),
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            xnor=self.xnor,
            batch_normalize=self.batch_normalize,
            activation=self.activation,
        )


def _same_size(shape: Shape, kernel: _Kernel) -> None:
    if kernel.make(shape, shape.channels).out_shape != shape:
        raise ShapeError(
            f"the state of {shape} must keep its size: use stride=1, an odd size and pad=1"
        )


@register("crnn")
class Crnn(ThreePart):
    """[rnn] with convolutions (crnn_layer.c:200).

    Args:
        in_shape: input shape (C, H, W).
        hidden: channels of the state.
        output: channels of the output.
        kernel: options of the convolution of all three parts.
        shortcut: whether the old state is added to the new one.
        time_steps: consecutive frames of each sequence in a training batch.

    Raises:
        ShapeError: if the convolution would change the state's size.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        hidden: int,
        output: int,
        kernel: _Kernel,
        shortcut: bool = False,
        time_steps: int = 1,
    ) -> None:
        state = Shape(hidden, in_shape.height, in_shape.width)
        _same_size(state, kernel)
        parts = (
            kernel.make(in_shape, hidden),
            kernel.make(state, hidden),
            kernel.make(state, output),
        )
        super().__init__(in_shape, state, parts, shortcut=shortcut, time_steps=time_steps)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Crnn:
        """Build from a cfg section (parser.c:238).

        pjreddie's always has a 3x3 kernel that keeps the size (pjreddie's parser.c:243).
        """
        kernel = _Kernel.from_block(block, "logistic")
        if graph.dialect.crnn_keeps_size:
            # pjreddie's make_crnn_layer takes no size, stride or pad (P crnn_layer.c:30).
            kernel = _Kernel(
                3, 1, 1, batch_normalize=kernel.batch_normalize, activation=kernel.activation
            )
        return cls(
            graph.image_shape(block),
            hidden=block.get_int("hidden", 1, minimum=1),
            output=block.get_int("output", 1, minimum=1),
            kernel=kernel,
            shortcut=block.get_flag("shortcut"),
            time_steps=graph.time_steps,
        )


@register("conv_lstm", dialects=("alexeyab",))
class ConvLstm(Recurrent):
    """[lstm] with convolutions, each with its own batch norm and activation (conv_lstm_layer.c).

    Args:
        in_shape: input shape (C, H, W).
        output: channels of the states and the output.
        kernel: options of the convolution of all parts.
        peephole: the gates also read the cell; the output gate reads the new one.
        bottleneck: one convolution joins input and state before the gates (Darknet's GPU path).
        shortcut: with ``bottleneck``, add the first half of its channels to the output.
        activation: activation of the cell (``lstm_activation=``).
        state_constrain: maximum magnitude of the cell; 0 for no limit.
        time_steps: consecutive frames of each sequence in a training batch.

    Raises:
        ShapeError: if the convolution would change the state's size.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        output: int,
        kernel: _Kernel,
        peephole: bool = False,
        bottleneck: bool = False,
        shortcut: bool = False,
        activation: str = "tanh",
        state_constrain: float = 32.0,
        time_steps: int = 1,
    ) -> None:
        state = Shape(output, in_shape.height, in_shape.width)
        if bottleneck and in_shape.channels != output:
            raise ShapeError(
                f"bottleneck=1 needs output={in_shape.channels}, the channels of the layer"
                " before it"
            )
        _same_size(state, kernel)
        super().__init__(in_shape, state, {"cell": state, "hidden": state}, time_steps)
        joined = Shape(2 * output, state.height, state.width)
        self.u = nn.ModuleDict({gate: kernel.make(in_shape, output) for gate in "figo"})
        # With a bottleneck Darknet uses only wf, on hidden and input (conv_lstm_layer.c:90).
        w_shape, w_gates = (joined, "f") if bottleneck else (state, "figo")
        self.w = nn.ModuleDict({gate: kernel.make(w_shape, output) for gate in w_gates})
        v_gates = "fio" if peephole else ""
        self.v = nn.ModuleDict({gate: kernel.make(state, output) for gate in v_gates})
        self.activation_name = activation
        self.activation = make_activation(activation)
        self.bottleneck, self.shortcut = bottleneck, shortcut
        self.state_constrain = state_constrain

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> ConvLstm:
        """Build from a cfg section (parser.c:297)."""
        block.ignore("time_normalizer")
        return cls(
            graph.image_shape(block),
            output=block.get_int("output", 1, minimum=1),
            kernel=_Kernel.from_block(block, "linear"),
            peephole=block.get_flag("peephole"),
            bottleneck=block.get_flag("bottleneck"),
            shortcut=block.get_flag("shortcut"),
            activation=read_activation(block, "tanh", "lstm_activation"),
            # Darknet's default grows with the length of a sequence (parser.c:332).
            state_constrain=block.get_int("state_constrain", 32 * graph.time_steps),
            time_steps=graph.time_steps,
        )

    def step(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Process one frame: (B, C, H, W) -> (B, output, H, W)."""
        cell, hidden = state["cell"], state["hidden"]
        if self.bottleneck:
            # (B, output, H, W) twice -> (B, 2 * output, H, W) -> (B, output, H, W)
            x = self.activation(self.w["f"](torch.cat((hidden, x), 1)))
        # With peepholes, f and i see the cell of the frame before, and o the new one
        # (forward_conv_lstm_layer, conv_lstm_layer.c:733).
        forget = torch.sigmoid(self._gate("f", x, hidden, cell))
        keep = torch.sigmoid(self._gate("i", x, hidden, cell))
        cell = forget * cell + keep * self.activation(self._gate("g", x, hidden, cell))
        hidden = torch.sigmoid(self._gate("o", x, hidden, cell)) * self.activation(cell)
        # Darknet clamps the stored cell only; this frame's output used the unclamped one.
        limit = self.state_constrain
        state["cell"] = cell.clamp(-limit, limit) if limit else cell
        state["hidden"] = hidden
        if not (self.shortcut and self.bottleneck):
            return hidden
        # A partial residual connection: only the first half of the channels gets the bottleneck's
        # output added (conv_lstm_layer.c:1175).
        half = hidden.shape[1] // 2
        return torch.cat((hidden[:, :half] + x[:, :half], hidden[:, half:]), 1)

    def _gate(self, gate: str, x: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        total = self.u[gate](x)
        if not self.bottleneck:
            total = total + self.w[gate](hidden)
        return total + self.v[gate](cell) if gate in self.v else total

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return v (f, i, o), then w and u (f, i, g, o), those that exist (parser.c:2310)."""
        parts = {
            f"{kind}{gate}": group[gate]
            for kind, group in (("v", self.v), ("w", self.w), ("u", self.u))
            for gate in "figo"
            if gate in group
        }
        return concatenate(parts, header)

    def flops(self) -> int:
        """Return the parts' operations plus nine or twelve per value (conv_lstm_layer.c:215)."""
        parts = [part for group in (self.u, self.w, self.v) for part in group.values()]
        elementwise = (12 if len(self.v) else 9) * self.out_shape.size
        return elementwise + sum(part.flops() for part in parts if isinstance(part, Layer))

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "output": self.out_shape.channels,
                "peephole": len(self.v) > 0,
                "bottleneck": self.bottleneck,
                "shortcut": self.shortcut,
                "lstm_activation": unless(self.activation_name, "tanh"),
                "state_constrain": unless(self.state_constrain, 32 * self.time_steps),
            }
        )


@register("history", dialects=("alexeyab",))
class History(Layer):
    """Concatenate the maps of the last frames (conv_lstm_layer.c, ``make_history_layer``).

    With one time step, as in all of Darknet's detection programs, only the newest frame is ever
    non-zero.

    Args:
        in_shape: input shape (C, H, W).
        size: number of frames to keep.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    def __init__(self, in_shape: Shape, *, size: int = 4, time_steps: int = 1) -> None:
        super().__init__(in_shape, Shape(in_shape.channels * size, in_shape.height, in_shape.width))
        self.size, self.time_steps = size, time_steps

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> History:
        """Build from a cfg section (parser.c:322)."""
        return cls(
            graph.image_shape(block),
            size=block.get_int("history_size", 4, minimum=1),
            time_steps=graph.time_steps,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C * size, H, W)."""
        frames = x.chunk(self.time_steps) if self.training else (x,)
        # size=3: frame 1 -> (1, 0, 0), frame 2 -> (2, 1, 0), frame 3 -> (3, 2, 1), 4 -> (4, 3, 2)
        past = F.pad(frames[0], (0, 0, 0, 0, 0, frames[0].shape[1] * (self.size - 1))) * 0
        answers: list[Tensor] = []
        for frame in frames:
            past = torch.cat((frame, past[:, : -frame.shape[1]]), 1) if self.size > 1 else frame
            answers.append(past)
        return torch.cat(answers)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"history_size": self.size})
