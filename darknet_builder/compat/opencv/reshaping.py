"""Change a network as OpenCV does: the epsilon of its batch norm, and the size of its input."""

from __future__ import annotations

import warnings

from torch import nn

from darknet_builder.errors import CfgError, CfgWarning, InputError
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network

_EPSILON = 1e-6
"""Added to the variance (darknet_io.cpp, setBatchNorm); Darknet adds ten times as much. In the
recorded detectors, this changes the rows by up to .0013."""


def use_opencv_epsilon(network: Network) -> None:
    """Set the epsilon of every batch norm of a loaded network to OpenCV's.

    Some published files have variances below 0, down to -9.9e-6. OpenCV's epsilon would give NaN
    for them, so these norms keep Darknet's.
    """
    for norm in _norms(network):
        if norm.running_var is not None and bool((norm.running_var + _EPSILON > 0).all()):
            norm.eps = _EPSILON


def _norms(network: Network) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    return [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]


def resized(network: Network, width: int, height: int) -> Network:
    """Return a network of another input size that shares the weights of ``network``.

    Args:
        network: a network with its weights.
        width: width of the input in pixels.
        height: height of the input in pixels.

    Raises:
        InputError: if a layer cannot be reshaped; the message names the first.

    Example:
        >>> network = build_network("yolov4-tiny", initialize=False)
        >>> resized(network, 320, 256).input_size
        (320, 256)
        >>> try:
        ...     resized(network, 300, 300)
        ... except InputError as error:
        ...     print(str(error).split(": ")[0])
        a blob of 300 x 300 does not fit this network
    """
    if (width, height) == network.input_size:
        return network
    blob = f"a blob of {width} x {height} does not fit this network"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CfgWarning)  # shown when the cfg was read
            other = build_network(
                network.blocks,
                width=width,
                height=height,
                dialect=network.dialect.name,
                initialize=False,
            )
    except CfgError as error:
        raise InputError(f"{blob}: {error}") from None
    state = network.state_dict()
    for name, tensor in other.state_dict().items():
        if tensor.shape != state[name].shape:
            # A name is, for example, layers.8.linear.weight
            index = int(name.split(".")[1])
            section = other.sequence()[index].section
            raise InputError(f"{blob}: layer {index} [{section}] has weights for another size")
    other.load_state_dict(state, assign=True)
    for norm, same in zip(_norms(other), _norms(network), strict=True):
        norm.eps = same.eps
    return other.eval()
