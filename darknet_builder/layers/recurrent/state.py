"""Base of all recurrent layers: a state kept between calls, and the loop over frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from darknet_builder.errors import InputError
from darknet_builder.layers.base import Layer, WeightLayout, WeightsHeader
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape


class Recurrent(Layer):
    """A layer with a state.

    In eval mode each call is one frame, and the state is kept until ``reset_state``. In training
    each call is ``time_steps`` frames, one after the other along the batch, and starts with a
    state of zeros.

    Args:
        in_shape: input shape of one frame.
        out_shape: output shape of one frame.
        state_shapes: the states by name. They are buffers, so that they move with the module, but
            are not saved.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    is_recurrent = True

    def __init__(
        self, in_shape: Shape, out_shape: Shape, state_shapes: Mapping[str, Shape], time_steps: int
    ) -> None:
        super().__init__(in_shape, out_shape)
        self.state_shapes = dict(state_shapes)
        self.time_steps = time_steps
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all frames."""
        for name in self.state_shapes:
            self.register_buffer(name, None, persistent=False)

    def step(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Process one frame (B, ...) and return the output.

        Args:
            x: (B, ...), one frame of each sequence.
            state: the states by name; updated in place.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...): one frame, or ``time_steps`` frames in training."""
        if not self.training:
            state = self._old_state(x)
            output = self.step(x, state)
            for name, value in state.items():
                # Without detaching, every frame would keep the graph of all frames before it.
                setattr(self, name, value.detach())
            return output
        if x.shape[0] % self.time_steps:
            raise InputError(
                f"a batch of {x.shape[0]} cannot be divided into time_steps={self.time_steps}"
                " frames"
            )
        # (T * B, ...) -> T frames of (B, ...): Darknet's batch holds time step after time step.
        frames = x.chunk(self.time_steps)
        state = self._zero_state(frames[0])
        return torch.cat([self.step(frame, state) for frame in frames])

    def _zero_state(self, x: Tensor) -> dict[str, Tensor]:
        return {
            name: x.new_zeros(shape.batched(x.shape[0]))
            for name, shape in self.state_shapes.items()
        }

    def _old_state(self, x: Tensor) -> dict[str, Tensor]:
        state = self._zero_state(x)
        for name, zero in state.items():
            old = getattr(self, name)
            if old is not None and old.shape != zero.shape:
                raise InputError(
                    f"the state of the [{self.section}] layer holds {old.shape[0]} sequences, the"
                    f" input {x.shape[0]}; call network.reset_state() before a new batch"
                )
            state[name] = zero if old is None else old
        return state


class ThreePart(Recurrent):
    """s = [s +] input(x) + self(s); y = output(s): the base of [rnn] and [crnn].

    Sources: rnn_layer.c:120, crnn_layer.c:200.

    Args:
        in_shape: input shape of one frame.
        state_shape: shape of the state.
        parts: the layers ``input``, ``self`` and ``output``.
        shortcut: whether the old state is added to the new one.
        time_steps: consecutive frames of each sequence in a training batch.
    """

    def __init__(
        self,
        in_shape: Shape,
        state_shape: Shape,
        parts: tuple[Layer, Layer, Layer],
        *,
        shortcut: bool,
        time_steps: int,
    ) -> None:
        super().__init__(in_shape, parts[2].out_shape, {"state": state_shape}, time_steps)
        self.input_layer, self.self_layer, self.output_layer = parts
        self.shortcut = shortcut

    def step(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Process one frame."""
        # Darknet activates both parts before it adds them, unlike nn.RNN.
        new = self.input_layer(x) + self.self_layer(state["state"])
        state["state"] = state["state"] + new if self.shortcut else new
        return self.output_layer(state["state"])

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return the layouts of input, self, output (parser.c:2290, parser.c:2300)."""
        return concatenate(
            {"input": self.input_layer, "self": self.self_layer, "output": self.output_layer},
            header,
        )

    def flops(self) -> int:
        """Return the operations of the three parts (crnn_layer.c:110)."""
        return self.input_layer.flops() + self.self_layer.flops() + self.output_layer.flops()

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "output": self.out_shape.channels,
                "hidden": self.state_shapes["state"].channels,
                "shortcut": self.shortcut,
            }
        )


def concatenate(parts: Mapping[str, nn.Module], header: WeightsHeader) -> WeightLayout:
    """Join the layouts of several layers, with each layer's name in front of its tensors' names."""
    return [
        (f"{name}.{tensor_name}", tensor)
        for name, part in parts.items()
        for tensor_name, tensor in cast(Layer, part).weight_layout(header)
    ]
