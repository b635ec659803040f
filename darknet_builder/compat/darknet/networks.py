"""Load networks and class names: ``load_network``, ``load_net``, ``load_meta``, ``set_gpu``."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from darknet_builder.cfg.names import read_names
from darknet_builder.compat.darknet.showing import Color, class_colors
from darknet_builder.compat.darknet.structures import METADATA, PathText, as_path
from darknet_builder.data.data_file import DataFile
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import DataError, InputError
from darknet_builder.network.network import Network
from darknet_builder.network.task import class_names
from darknet_builder.prediction import loading
from darknet_builder.support.devices import find_device

_chosen: dict[str, torch.device | None] = {"device": None}
"""The device of networks that are loaded from now on; None for the CPU. See ``set_gpu``."""


@dataclass(eq=False)
class LoadedNetwork:
    """A network that is ready to run, and the output of its last run.

    ``darknet.py`` returns a pointer instead. Scripts only pass it to other functions.

    Attributes:
        network: the network, in eval mode.
        runner: a faster copy, which computes the outputs.
        batch: number of images that ``network_predict`` takes.
        raw_maps: outputs of the last run, a (B, ...) tensor for each head; empty before it.
    """

    network: Network
    runner: Network | OptimizedNetwork
    batch: int = 1
    raw_maps: list[Tensor] = field(default_factory=list)


def load_network(
    config_file: PathText, data_file: PathText, weights: PathText, batch_size: int = 1
) -> tuple[LoadedNetwork, list[str], dict[str, Color]]:
    r"""Load a network and its class names.

    Args:
        config_file: path of the ``.cfg`` file.
        data_file: path of the ``.data`` file, whose ``names=`` is the file of class names.
        weights: path of the ``.weights`` file.
        batch_size: number of images in a call of ``network_predict_batch``.

    Returns:
        The network, the class names, and a random (blue, green, red) for each name.

    Raises:
        DarknetError: if a file cannot be read, or the files do not fit together.

    Example:
        >>> import tempfile
        >>> from darknet_builder.support.bundled import default_model
        >>> cfg, weights, names = default_model()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/shapes.data", "w") as file:
        ...         _ = file.write(f"names={names}\n")
        ...     network, class_names, _ = load_network(cfg, f"{folder}/shapes.data", weights)
        >>> network_width(network), class_names[0]
        (192, 'circle')
    """
    metadata = load_meta(data_file)
    loaded = load_net_custom(config_file, weights, 0, batch_size)
    names = [name.decode() for name in metadata.names]
    try:
        class_names(loaded.network, names)  # raises if their number is wrong
    except DataError as error:
        raise DataError(error.message, path=as_path(data_file)) from None
    return loaded, names, class_colors(names)


def load_net(cfgfile: PathText, weightfile: PathText, clear: int = 0) -> LoadedNetwork:
    """Load a network without class names, to run on one image at a time.

    Args:
        cfgfile: path of the ``.cfg`` file.
        weightfile: path of the ``.weights`` file.
        clear: has no effect; in Darknet it resets the counter of training images.

    Raises:
        DarknetError: if a file cannot be read, or the weights do not fit the cfg.

    Example:
        >>> from darknet_builder.support.bundled import default_model
        >>> net = load_net(*default_model()[:2])
        >>> network_width(net), network_height(net)
        (192, 192)
    """
    return load_net_custom(cfgfile, weightfile, clear, 1)


def load_net_custom(
    cfgfile: PathText, weightfile: PathText, clear: int, batch: int
) -> LoadedNetwork:
    """Load a network to run on several images at a time; see ``load_net``.

    Args:
        cfgfile: path of the ``.cfg`` file.
        weightfile: path of the ``.weights`` file. Without one, Darknet uses random weights; here
            that is an error.
        clear: has no effect, as in ``load_net``.
        batch: number of images in a call of ``network_predict`` and ``network_predict_batch``.

    Raises:
        DarknetError: as ``load_net``; ``InputError`` if ``batch`` is below 1.
    """
    if batch < 1:
        raise InputError("expected 1 or more images", argument="batch_size", value=batch)
    path = as_path(weightfile) if weightfile else None
    network = loading.load_network(as_path(cfgfile), path, device=_chosen["device"])
    network.check_sees_images()
    runner = loading.choose_runner(network, as_path(cfgfile), "float32", None, batch)
    return LoadedNetwork(network, runner, batch)


def load_meta(data_file: PathText) -> METADATA:
    r"""Read the class names to which a ``.data`` file refers (get_metadata in option_list.c).

    Args:
        data_file: path of the ``.data`` file, with ``names=`` or else ``labels=``. Names beyond
            ``classes=`` are left out, as in Darknet.

    Raises:
        DataError: if a file cannot be read, or has no names or fewer than ``classes=``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/two.names", "w") as file:
        ...         _ = file.write("cat\ndog\n")
        ...     with open(f"{folder}/two.data", "w") as file:
        ...         _ = file.write("names=two.names\n")
        ...     load_meta(f"{folder}/two.data")
        METADATA(classes=2, names=[b'cat', b'dog'])
    """
    data = DataFile.read(as_path(data_file))
    key = "labels" if "labels" in data.options and not data.has("names") else "names"
    names = read_names(data.file(key))
    classes = len(names)
    if data.has("classes"):
        # This copy has no names=, so that more names than classes are allowed, as in Darknet.
        number, line = data.options["classes"], data.lines["classes"]
        classes = DataFile(data.path, {"classes": number}, {"classes": line}).classes
    if classes > len(names):
        raise data.error(f"but {data.file(key)} has {len(names)} names", "classes")
    return METADATA(classes, [name.encode() for name in names[:classes]])


def network_width(net: LoadedNetwork) -> int:
    """Return the width of the network's input in pixels."""
    return net.network.input_size[0]


def network_height(net: LoadedNetwork) -> int:
    """Return the height of the network's input in pixels."""
    return net.network.input_size[1]


def reset_rnn(net: LoadedNetwork) -> None:
    """Make recurrent layers forget the images seen so far."""
    net.runner.reset_state()


def set_gpu(n: int) -> None:
    """Choose the GPU for networks that are loaded from now on.

    Args:
        n: number of the GPU, from 0; -1 for the CPU, which is used until a GPU is chosen.

    Raises:
        InputError: if the GPU is missing.

    Example:
        >>> set_gpu(-1)
    """
    _chosen["device"] = find_device("cpu" if n < 0 else f"cuda:{n}")


def init_cpu() -> None:
    """Do nothing; in Darknet it prepares the CPU."""
