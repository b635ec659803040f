"""One check of a chapter: a call of a reader's function, and what it must return."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from darknet_builder.lessons.marker.recorded import Recorded


@dataclass(frozen=True, eq=False)
class Probe:
    """One check.

    Attributes:
        title: what is checked, as the report names it; the name of the function is first.
        call: calls the function of a reader's module and returns its result.
        expected: the right result.
        axes: the names of a tensor's dimensions, for the report.
        names: the names of the items of a list.
        given: what the function was given, if the report should show it.
        is_recorded: whether Darknet gave the right result; the solution gave it otherwise.

    Example:
        >>> from types import SimpleNamespace
        >>> probe = Probe("double", lambda code: code.double(2), 4)
        >>> probe.call(SimpleNamespace(double=lambda x: x + x)) == probe.expected
        True
    """

    title: str
    call: Callable[[ModuleType], Any]
    expected: Any
    axes: Sequence[str] = ("batch", "channel", "row", "column")
    names: Sequence[str] = field(default=())
    given: str = ""
    is_recorded: bool = True

    @property
    def function(self) -> str:
        """Name of the function that is checked: the first word of the title."""
        return re.split(r"\W", self.title)[0]


class UnexpectedModuleError(Exception):
    """A module of the reader has not the parts that a section needs."""


def layer_title(block: dict[str, str], index: int) -> str:
    """Return the index of a layer, its type and its main options.

    Example:
        >>> layer_title({"type": "maxpool", "size": "2", "stride": "1"}, 10)
        'layer 10 [maxpool] size=2 stride=1'
    """
    shown = ("layers", "from", "groups", "group_id", "size", "stride", "mask", "scale_x_y")
    options = [f"{key}={block[key]}" for key in shown if key in block]
    return " ".join([f"layer {index} [{block['type']}]", *options])


def find_parts(module: nn.Module, block: dict[str, str]) -> tuple[nn.Conv2d, nn.BatchNorm2d | None]:
    """Return the convolution of a reader's module, and its batch norm if the section has one.

    Raises:
        UnexpectedModuleError: if there is not exactly one of each.

    Example:
        >>> find_parts(nn.Sequential(nn.Conv2d(3, 8, 1)), {"type": "convolutional"})[1] is None
        True
    """
    if not isinstance(module, nn.Module):
        raise UnexpectedModuleError(f"{type(module).__name__} is not an nn.Module")
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    wanted = int(block.get("batch_normalize", "0"))
    if len(convs) != 1 or len(norms) != wanted:
        raise UnexpectedModuleError(
            f"the module of a [{block['type']}] with batch_normalize={wanted} must contain 1"
            f" nn.Conv2d and {wanted} nn.BatchNorm2d; it contains {len(convs)} and {len(norms)}"
        )
    return convs[0], norms[0] if norms else None


def tensors_of(module: nn.Module, block: dict[str, str]) -> dict[str, Tensor | None]:
    """Return the tensors of a convolutional section by the names of the report, in file order."""
    conv, norm = find_parts(module, block)
    if norm is None:
        return {"biases": conv.bias, "weights": conv.weight}
    return {
        "biases": norm.bias,
        "scales": norm.weight,
        "running means": norm.running_mean,
        "running variances": norm.running_var,
        "weights": conv.weight,
    }


def has_weights(block: dict[str, str]) -> bool:
    """Return whether a section has numbers in the weights file."""
    return "filters" in block


def layers_of(recorded: Recorded) -> list[tuple[int, dict[str, str]]]:
    """Return index and section of every layer."""
    return list(enumerate(recorded.blocks[1:]))
