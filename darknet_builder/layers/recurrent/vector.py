"""[rnn], [gru], [lstm]: recurrent layers over vectors (rnn_layer.c, gru_layer.c, lstm_layer.c)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import (
    Graph,
    WeightLayout,
    WeightsHeader,
    read_activation,
    register,
)
from darknet_builder.layers.connected import Connected
from darknet_builder.layers.recurrent.state import Recurrent, ThreePart, concatenate
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape, flat

_SELF_ACTIVATIONS = {1: "logistic", 2: "loggy"}


@register("rnn")
class Rnn(ThreePart):
    """A recurrent layer whose state is a vector (rnn_layer.c:120).

    Args:
        in_shape: any shape; the input is flattened.
        hidden: length of the state.
        output: length of the output.
        activation: Darknet's name of the activation, such as ``leaky``.
        self_activation: activation of the part that reads the state; None for the same.
        batch_normalize: add batch norm to all three parts.
        shortcut: whether the old state is added to the new one.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    formless_in = ("pjreddie",)  # P rnn_layer.c

    def __init__(
        self,
        in_shape: Shape,
        *,
        hidden: int,
        output: int,
        activation: str = "logistic",
        self_activation: str | None = None,
        batch_normalize: bool = False,
        shortcut: bool = False,
        time_steps: int = 1,
    ) -> None:
        parts = (
            Connected(
                in_shape, output=hidden, batch_normalize=batch_normalize, activation=activation
            ),
            Connected(
                flat(hidden),
                output=hidden,
                batch_normalize=batch_normalize,
                activation=self_activation or activation,
            ),
            Connected(
                flat(hidden), output=output, batch_normalize=batch_normalize, activation=activation
            ),
        )
        super().__init__(in_shape, flat(hidden), parts, shortcut=shortcut, time_steps=time_steps)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Rnn:
        """Build from a cfg section (parser.c:262).

        pjreddie's state is as long as the output (pjreddie's parser.c:260).
        """
        output = block.get_int("output", 1, minimum=1)
        hidden = block.get_int("hidden", 1, minimum=1)
        activation = read_activation(block, "logistic")
        return cls(
            graph.shape,
            hidden=hidden if graph.dialect.rnn_hidden else output,
            output=output,
            activation=activation,
            self_activation=_SELF_ACTIVATIONS.get(block.get_int("logistic", 0)),
            batch_normalize=block.get_flag("batch_normalize"),
            shortcut=block.get_flag("shortcut"),
            time_steps=graph.time_steps,
        )


class _Gated(Recurrent):
    """Base of [gru] and [lstm]: one linear map per gate for the input (u) and for the state (w).

    Args:
        in_shape: any shape; the input is flattened.
        output: length of states and output.
        gates: one letter for each gate.
        states: names of the states, each of length ``output``.
        batch_normalize: add batch norm to all parts.
        file_order: the parts' names (``w`` or ``u`` and the gate) in the weights file's order.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        output: int,
        gates: str,
        states: tuple[str, ...],
        batch_normalize: bool,
        file_order: tuple[str, ...],
        time_steps: int,
    ) -> None:
        super().__init__(
            in_shape, flat(output), {name: flat(output) for name in states}, time_steps
        )
        # Linear, because a gate is activated after both parts are added.
        part = partial(
            Connected, output=output, batch_normalize=batch_normalize, activation="linear"
        )
        # Not nn.LSTM or nn.GRU: each map may have a batch norm, and a place of its own in the file.
        self.u = nn.ModuleDict({gate: part(in_shape) for gate in gates})
        self.w = nn.ModuleDict({gate: part(flat(output)) for gate in gates})
        self.file_order = file_order

    def both(self, gate: str, x: Tensor, state: Tensor) -> Tensor:
        """Return the sum of the input's and the state's part of one gate."""
        return self.u[gate](x) + self.w[gate](state)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return the parts in the dialect's order."""
        parts: dict[str, nn.Module] = {
            f"{kind}{gate}": part
            for kind, group in (("u", self.u), ("w", self.w))
            for gate, part in group.items()
        }
        return concatenate({name: parts[name] for name in self.file_order}, header)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"output": self.out_shape.channels})


@register("gru")
class Gru(_Gated):
    """z and r gates; candidate = act(u x + w (r * s)); s = z * s + (1 - z) * candidate.

    Source: gru_layer.c:150.

    Args:
        in_shape: any shape; the input is flattened.
        output: length of state and output.
        batch_normalize: add batch norm to all six parts.
        tanh: activate the candidate by tanh instead of the logistic, which Darknet is built with.
        input_first: whether the input's parts come first in the weights file.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    formless_in = ("alexeyab", "pjreddie")  # gru_layer.c

    def __init__(
        self,
        in_shape: Shape,
        *,
        output: int,
        batch_normalize: bool = False,
        tanh: bool = False,
        input_first: bool = True,
        time_steps: int = 1,
    ) -> None:
        kinds = "uw" if input_first else "wu"
        super().__init__(
            in_shape,
            output=output,
            gates="zrh",
            states=("state",),
            batch_normalize=batch_normalize,
            file_order=tuple(kind + gate for kind in kinds for gate in "zrh"),
            time_steps=time_steps,
        )
        self.tanh = tanh

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Gru:
        """Build from a cfg section (parser.c:277; pjreddie's parser.c:271)."""
        tanh = graph.dialect.gru_tanh and block.get_flag("tanh")
        return cls(
            graph.shape,
            output=block.get_int("output", 1, minimum=1),
            batch_normalize=block.get_flag("batch_normalize"),
            tanh=tanh,
            input_first=graph.dialect.gru_input_first,
            time_steps=graph.time_steps,
        )

    def step(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Process one frame."""
        old = state["state"]
        update = torch.sigmoid(self.both("z", x, old))
        # Not nn.GRU, which multiplies by r after the linear map; Darknet does before it
        # (gru_layer.c:165).
        reset = torch.sigmoid(self.both("r", x, old))
        candidate = self.both("h", x, reset * old)
        candidate = torch.tanh(candidate) if self.tanh else torch.sigmoid(candidate)
        state["state"] = update * old + (1 - update) * candidate
        return state["state"]

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"tanh": self.tanh}, after=super().extra_repr())


@register("lstm")
class Lstm(_Gated):
    """f, i, o gates and g = tanh; c = f * c + i * g; h = o * tanh(c) (lstm_layer.c:180).

    Args:
        in_shape: any shape; the input is flattened.
        output: length of the states and the output.
        batch_normalize: add batch norm to all eight parts.
        gate_order: the gates in the weights file's order.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    formless_in = ("pjreddie",)  # P lstm_layer.c

    def __init__(
        self,
        in_shape: Shape,
        *,
        output: int,
        batch_normalize: bool = False,
        gate_order: str = "figo",
        time_steps: int = 1,
    ) -> None:
        super().__init__(
            in_shape,
            output=output,
            gates="figo",
            states=("cell", "hidden"),
            batch_normalize=batch_normalize,
            time_steps=time_steps,
            file_order=tuple(kind + gate for kind in "wu" for gate in gate_order),
        )

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Lstm:
        """Build from a cfg section (parser.c:287)."""
        return cls(
            graph.shape,
            output=block.get_int("output", 1, minimum=1),
            batch_normalize=block.get_flag("batch_normalize"),
            gate_order=graph.dialect.lstm_order,
            time_steps=graph.time_steps,
        )

    def step(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Process one frame."""
        hidden = state["hidden"]
        forget, keep, out = (torch.sigmoid(self.both(gate, x, hidden)) for gate in "fio")
        state["cell"] = forget * state["cell"] + keep * torch.tanh(self.both("g", x, hidden))
        state["hidden"] = out * torch.tanh(state["cell"])
        return state["hidden"]
