"""Check the floats of weights and model files, and copy tensors by name into a network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import WeightsError, did_you_mean
from darknet_builder.layers.parts import BATCH_NORM_EPSILON
from darknet_builder.network.network import Network

CHUNK = 2**18
"""Number of floats that are checked at a time: few enough for the processor's cache."""
_EPSILON = np.float32(BATCH_NORM_EPSILON)
_LAYER = re.compile(r"layers\.(\d+)\.")
_VARIANCE = "running_var"
"""The last part of PyTorch's name for the variances of a batch norm."""
_OTHER_CFG = "it belongs to another cfg"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a weights or model file.

    Attributes:
        path: path of the file.
        name: name of the tensor.
        layer: index and section of its layer, such as ``layer 0 [convolutional]``.
        is_variance: whether it holds the variances of a batch norm.
    """

    path: str
    name: str
    layer: str
    is_variance: bool

    def check(self, values: np.ndarray, first: int) -> None:
        """Check that floats are finite, and variances large enough.

        Args:
            values: (N,) float32, a part of the tensor.
            first: position of ``values[0]``, for the message.

        Raises:
            WeightsError: with the position of the first wrong float.
        """
        # A sum is faster than isfinite, and NaN or infinity among the values makes it one of both.
        # A sum of finite values may overflow, so each value is tested before an error is raised.
        with np.errstate(over="ignore", invalid="ignore"):
            total = values.sum()
        if not np.isfinite(total):
            wrong = ~np.isfinite(values)
            self._raise_for(values, first, wrong, "the training diverged or the file is damaged")
        if self.is_variance:
            # Darknet divides by sqrt(v + .00001f) (blas.c:293), so published variances down to
            # -9.9e-6 are valid.
            cause = (
                f"a variance plus {BATCH_NORM_EPSILON:g} must be above 0: the file belongs to"
                " another cfg"
            )
            self._raise_for(values, first, values + _EPSILON <= 0, cause)

    def _raise_for(self, values: np.ndarray, first: int, wrong: np.ndarray, cause: str) -> None:
        """Raise for the first wrong value; return if there is none."""
        if not wrong.any():
            return
        position = int(wrong.argmax())
        raise WeightsError(
            f"float {first + position} is {float(values[position]):g}, in {self.name} of "
            f"{self.layer}; {cause}",
            path=self.path,
        )


def load_tensors(network: Network, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy tensors into a network by name, after checking that all of them fit.

    Args:
        network: the network that gets the values.
        tensors: dense tensors by name, on the CPU, of any floating-point type. A tensor that the
            network has under two names may be given under one of them.
        source: file that the tensors come from, for error messages.

    Raises:
        WeightsError: naming the first tensor that is missing, unknown or of another shape, or the
            first float that is not finite or a variance that is too small.
    """
    check_tensors(network, tensors, source)
    expected = network.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in tensors.items():
            expected[name].copy_(tensor)


def check_tensors(network: Network, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that tensors fit a network; the arguments and errors are those of ``load_tensors``."""
    # With keep_vars these are the parameters themselves, not detached copies: a tensor that has
    # two names has one id.
    expected = network.state_dict(keep_vars=True)
    _check_names(tensors, expected, source)
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{name} is {tuple(tensor.shape)}, the network needs {tuple(expected[name].shape)}",
                path=source,
                hint=_OTHER_CFG,
            )
        if expected[name].is_floating_point() and not tensor.is_floating_point():
            raise WeightsError(
                f"{name} is {str(tensor.dtype).split('.')[-1]}, the network needs floats",
                path=source,
                hint=_OTHER_CFG,
            )
    for name, tensor in tensors.items():
        stored = StoredTensor(str(source), name, _layer_of(network, name), name.endswith(_VARIANCE))
        for first, values in _chunks(tensor):
            stored.check(values, first)


def _check_names(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str | Path
) -> None:
    surplus = [name for name in tensors if name not in expected]
    if surplus:
        raise WeightsError(
            f"holds {surplus[0]}, which the network does not have"
            f"{did_you_mean(surplus[0], expected)}",
            path=source,
            hint=_OTHER_CFG,
        )
    given = {id(expected[name]) for name in tensors}
    missing = [name for name, tensor in expected.items() if id(tensor) not in given]
    if missing:
        raise WeightsError(
            f"{len(missing)} of the network's {len(expected)} tensors are missing, "
            f"the first is {missing[0]} {tuple(expected[missing[0]].shape)}",
            path=source,
            hint=_OTHER_CFG,
        )


def _layer_of(network: Network, name: str) -> str:
    """Return ``layer 0 [convolutional]`` for ``layers.0.conv.weight``."""
    index = int(_LAYER.match(name)[1])  # type: ignore[index]  # the network has this name
    return f"layer {index} [{network.sequence()[index].section}]"


def _chunks(tensor: Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """Yield position and values (N,) of each part of a tensor, as the float32 that they become."""
    flat = tensor.detach().reshape(-1)
    for first in range(0, flat.numel(), CHUNK):
        yield first, flat[first : first + CHUNK].to(torch.float32).numpy()
