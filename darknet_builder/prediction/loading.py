"""Build a network from a cfg, load its weights, and make it ready to run.

``build_unloaded`` and ``load_into`` are the two halves of ``load_network``, for callers that check
options against the network before its weights are read. ``choose_runner`` adds the fast path.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.model_metadata import (
    is_graph_file,
    is_model_file,
    refuse_second_weights,
)
from darknet_builder.engines.choice import default_backend
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import InputError
from darknet_builder.export.quantized.settings import INT8
from darknet_builder.network.build import build_graph_network, build_network
from darknet_builder.network.network import Network
from darknet_builder.prediction.quantizing import Calibration, quantized_runner
from darknet_builder.weights.loader import load_weights
from darknet_builder.weights.models import find_model, is_model

ModelSource = str | Path | Sequence[Block] | Network
"""Path of a cfg, its text, Blocks, a model file written by ``export``, or a Network that is built
and loaded."""
_REMEMBERING = threading.Lock()


def resolve_model(
    source: ModelSource, weights: str | Path | None, names: str | Path | Sequence[str] | None
) -> tuple[ModelSource, str | Path | None, str | Path | Sequence[str] | None]:
    """Replace the name or the folder of a model by its files; return anything else unchanged.

    Args:
        source: a model as for ``find_model``, or anything else in ``ModelSource``.
        weights: the ``.weights`` file; if there is one, a name stands for the cfg alone.
        names: class names, preferred to those of the model.

    Returns:
        The source, weights and names to load.

    Raises:
        InputError: as ``find_model``.

    Example:
        >>> [Path(file).name for file in resolve_model("shapes", None, None)]
        ['shapes.cfg', 'shapes.weights', 'shapes.names']
        >>> resolve_model("my.cfg", "my.weights", None)
        ('my.cfg', 'my.weights', None)
    """
    if weights is not None or not isinstance(source, str | Path) or not is_model(source):
        return source, weights, names
    model = find_model(source, needs_names=names is None)
    return model.cfg, model.weights, model.names if names is None else names


def load_network(
    source: ModelSource,
    weights: str | Path | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
    device: torch.device | None = None,
    required: bool = True,
    initialize: bool = False,
) -> Network:
    """Build a network, load its weights, and put it into eval mode.

    Args:
        source: path or text of a cfg, Blocks, a model file or a Network; see ``ModelSource``.
        weights: path of the ``.weights`` file; None for a Network or a file that contains weights.
        width: width of the network's input in pixels. Default: the cfg's.
        height: height of the network's input in pixels. Default: the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``, as for ``build_network``.
        device: where the network is to run. Default: where it is.
        required: whether a network without weights is an error.
        initialize: whether to draw random weights for a network without weights.

    Raises:
        DarknetError: as ``build_network`` and ``load_weights``; ``InputError`` for two sets of
            weights, or for none if they are required.

    Example:
        >>> from darknet_builder.support.bundled import default_model
        >>> cfg, weights, _ = default_model()
        >>> network = load_network(cfg, weights)
        >>> network.input_size, network.training
        ((192, 192), False)
    """
    network = build_unloaded(
        source, weights, width=width, height=height, dialect=dialect, initialize=initialize
    )
    load_into(network, source, weights, device=device, required=required and not initialize)
    return network


def build_unloaded(
    source: ModelSource,
    weights: str | Path | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
    initialize: bool = False,
) -> Network:
    """Build a network without reading ``weights``; return a Network as it is.

    The arguments are those of ``load_network``.

    Raises:
        DarknetError: as ``build_network``; ``InputError`` for two sets of weights, for options that
            a built Network does not accept, or for one whose weights are not float32.
    """
    if isinstance(source, Network):
        if weights is not None or width is not None or height is not None:
            raise InputError(
                "a Network is already built and loaded; it cannot be given weights, width or height"
            )
        source.check_float32()
        return source
    refuse_second_weights(source, weights)
    if isinstance(source, str | Path) and is_graph_file(source):
        if width is not None or height is not None:
            raise InputError("has its own input size; leave width and height out", path=source)
        return build_graph_network(source, dialect=dialect)
    return build_network(
        source,
        width=width,
        height=height,
        dialect=dialect,
        # Drawing numbers that a file then replaces would advance the random generator.
        initialize=initialize and weights is None,
    )


def load_into(
    network: Network,
    source: ModelSource,
    weights: str | Path | None = None,
    *,
    device: torch.device | None = None,
    required: bool = True,
) -> None:
    """Load the weights into the result of ``build_unloaded``, and make it ready to run.

    The network is put into eval mode and moved to its device. The other arguments are those of
    ``load_network``.

    Raises:
        DarknetError: as ``load_weights``; ``InputError`` if required weights are missing.
    """
    if weights is not None:
        load_weights(network, weights)
    elif required and not isinstance(source, Network) and not _has_weights(source):
        raise InputError("weights: expected the path of a .weights file")
    network.eval()
    if network.graph_file is not None and device is not None and device.type != "cpu":
        raise InputError("runs on the CPU only", path=network.graph_file)
    if device is not None and network.graph_file is None:
        network.to(device)


def _has_weights(source: ModelSource) -> bool:
    return is_model_file(source) or is_graph_file(source)


def choose_runner(
    network: Network,
    source: ModelSource,
    precision: str,
    backend: str | None,
    batch: int,
    *,
    weights: str | Path | None = None,
    calibration: Calibration | None = None,
) -> Network | OptimizedNetwork:
    """Return the network itself, or an optimised copy for inference.

    Args:
        network: a loaded network in eval mode.
        source: the source it was built from. A Network runs itself unless something else is
            requested, so that it can still be trained.
        precision: ``float32``, ``bfloat16``, ``auto`` or ``int8``; see ``Network.optimized``.
        backend: as for ``Network.optimized``; None selects ``torch``, or the network itself, and
            for int8 ``openvino`` if it is installed, else ``onnxruntime``.
        batch: number of images in a call.
        weights: path of its ``.weights`` file; None if ``source`` has the weights.
        calibration: photographs for int8. The quantized file is kept beside the weights.

    Raises:
        InputError: as ``Network.optimized``.
        MissingExtraError: if the backend is not installed.
        ExportError: if the quantized file differs too much from the network.
    """
    if isinstance(source, Network) and backend is None and precision == "float32":
        _refuse_calibration(calibration)
        return network
    return fast_runner(
        network, precision, backend, batch, beside=weights or source, calibration=calibration
    )


def fast_runner(
    network: Network,
    precision: str,
    backend: str | None,
    batch: int,
    *,
    beside: object = None,
    calibration: Calibration | None = None,
) -> OptimizedNetwork:
    """Return an optimised copy; the arguments are those of ``choose_runner``.

    Args:
        network: a loaded network in eval mode.
        precision: as for ``choose_runner``.
        backend: as for ``choose_runner``.
        batch: number of images in a call.
        beside: path of the file with the weights; anything else if there is none.
        calibration: as for ``choose_runner``.
    """
    if precision == INT8 and calibration is not None and network.graph_file is None:
        return quantized_runner(network, beside, calibration, backend, batch)
    _refuse_calibration(calibration)
    return network.optimized(precision, backend or default_backend(network), batch)


def _refuse_calibration(calibration: Calibration | None) -> None:
    if calibration is not None:
        raise InputError(
            "photographs to calibrate on are for networks that are to run in int8",
            argument="calibrate",
        )


def one_thread(network: Network) -> AbstractContextManager[object]:
    """Let one thread at a time clear the state of a recurrent network and run it.

    The lock is not an attribute of the network, because locks cannot be copied or pickled. Other
    networks have no state, and their threads do not wait.
    """
    return _REMEMBERING if network.is_recurrent else nullcontext()
