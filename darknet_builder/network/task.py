"""The network's task: detector or classifier, its classes, and how it fits images.

All of it follows from the layers, the cfg and the dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darknet_builder.cfg.names import read_names
from darknet_builder.errors import DataError, InputError
from darknet_builder.layers.tree import Tree
from darknet_builder.network.network import Network


def count_classes(network: Network) -> int:
    r"""Return the number of classes of a classifier.

    Raises:
        InputError: if the network is not a classifier, with the reason.

    Example:
        >>> from darknet_builder import build_network
        >>> text = "[net]\nwidth=8\nheight=8\nchannels=3\n[avgpool]\n[softmax]\n"
        >>> count_classes(build_network(text))
        3
    """
    if network.heads:
        raise InputError(
            f"the network ends in [{network.heads[-1].section}]: it is a detector, not a classifier"
            " (use the command detect)"
        )
    if network.input_shape.flat:
        raise InputError(
            f"the network takes a vector of {network.input_shape.size} values, not an image"
        )
    # The last layer that is not a [cost] gives the network's output.
    shape = next(layer.out_shape for layer in reversed(network.sequence()) if not layer.is_cost)
    if shape.height * shape.width > 1:
        raise InputError(
            f"the network has no detection head, and ends in a map of {shape}, not in one score for"
            " each class; end it with [avgpool] and [softmax]"
        )
    return shape.channels


def is_classifier(network: Network) -> bool:
    """Return whether a network takes an image and gives one score for each class.

    Example:
        >>> from darknet_builder import build_network
        >>> is_classifier(build_network("yolov4-tiny", initialize=False))
        False
    """
    try:
        count_classes(network)
    except InputError:
        return False
    return True


def num_classes(network: Network) -> int:
    """Return the number of classes of a detector or a classifier, or 0 for any other network."""
    if network.heads:
        return network.heads[-1].reported_classes
    return count_classes(network) if is_classifier(network) else 0


def find_tree(network: Network) -> Tree | None:
    """Return the hierarchy of the last layer that has one, or None."""
    trees = [layer.tree for layer in network.sequence() if layer.tree is not None]
    return trees[-1] if trees else None


def default_resize(network: Network) -> str:
    """Return how Darknet fits photographs into a network: one of ``images.fits.FITS``.

    Example:
        >>> from darknet_builder import build_network
        >>> default_resize(build_network("yolov4-tiny", initialize=False))
        'stretch'
    """
    if is_classifier(network):
        return network.dialect.classify_resize
    return "letterbox" if network.options.letter_box else network.dialect.resize


def class_names(
    network: Network, given: str | Path | Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return one name per class: ``known_names``, or ``class 0``, ``class 1``, ... without any.

    Args:
        network: a detector or a classifier.
        given: a ``.names`` file or a list, preferred to all others.

    Raises:
        DataError: if ``given`` cannot be read, or its length is not the number of classes.

    Example:
        >>> from darknet_builder import build_network
        >>> class_names(build_network("yolov4-tiny", initialize=False))[:2]
        ('class 0', 'class 1')
    """
    return known_names(network, given) or tuple(
        f"class {index}" for index in range(num_classes(network))
    )


def known_names(
    network: Network, given: str | Path | Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return the class names that are known, or ().

    They are ``given``, else the network's own, else those of a classifier's tree.

    Args:
        network: any network; if it has no classes, the length of ``given`` is not checked.
        given: a ``.names`` file or a list.

    Raises:
        DataError: if ``given`` cannot be read, or its length is not the number of classes.
    """
    classes = num_classes(network)
    if given is not None:
        return _fitting_names(network, given, classes)
    if len(network.names) == classes:
        return network.names
    tree = None if network.heads else find_tree(network)
    return () if tree is None else tree.names


def _fitting_names(
    network: Network, given: str | Path | Sequence[str], classes: int
) -> tuple[str, ...]:
    if isinstance(given, str | Path):
        names, source = tuple(read_names(given)), f"{given}: has"
    else:
        names, source = tuple(given), "names: got"
    if classes and len(names) != classes:
        known = (
            f"has {classes} classes (classes= in the cfg)"
            if network.heads
            else f"gives {classes} scores"
        )
        raise DataError(f"{source} {len(names)} names, but the network {known}")
    return names
