"""``readNetFromDarknet`` and ``readNet``: from files or bytes to a ``Net``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np

from darknet_builder.compat.opencv.net import Net
from darknet_builder.compat.opencv.reshaping import use_opencv_epsilon
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.images.files import Buffer
from darknet_builder.prediction.loading import load_network

Content: TypeAlias = Buffer | np.ndarray
"""The content of a file: bytes, or an array (N,) of uint8."""
Source: TypeAlias = str | Path | Content
"""A path, or the content of a file."""
_BUFFER = "<buffer>"
_CFG, _WEIGHTS = ".cfg", ".weights"


def readNetFromDarknet(cfgFile: Source, darknetModel: Source = "") -> Net:
    """Read a Darknet network, as OpenCV 4 did.

    Args:
        cfgFile: path of the cfg, or its content.
        darknetModel: path of the ``.weights`` file, or its content.

    Raises:
        DarknetError: if a file is missing, or the files do not fit together.

    Example:
        >>> from darknet_builder.support.bundled import default_model
        >>> cfg, weights, _ = default_model()
        >>> readNetFromDarknet(cfg, weights).getUnconnectedOutLayersNames()
        ('yolo_20', 'yolo_28')
        >>> readNetFromDarknet(cfg.read_bytes(), weights.read_bytes()).getLayerId("yolo_20")
        48
    """
    if isinstance(darknetModel, str) and not darknetModel:
        raise InputError("darknetModel: expected the .weights file, as a path or as its content")
    cfg = cfgFile
    if not isinstance(cfg, str | Path):
        # ``parse_cfg`` takes a text without a line break for a path.
        cfg = bytes(cfg).decode("utf-8", "replace") + "\n"
    if isinstance(darknetModel, str | Path):
        return _net(cfg, darknetModel)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"buffer{_WEIGHTS}"
        if isinstance(darknetModel, np.ndarray):
            darknetModel = darknetModel.tobytes()
        path.write_bytes(darknetModel)
        try:
            return _net(cfg, path)
        except WeightsError as error:
            raise WeightsError(error.message, path=_BUFFER, hint=error.hint) from None


def _net(cfg: str | Path, weights: str | Path) -> Net:
    network = load_network(cfg, weights)
    use_opencv_epsilon(network)
    return Net(network)


def _label(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else _BUFFER


def readNet(model: Source, config: Source = "", framework: str | Content = "") -> Net:
    """Read a Darknet network whose files are given in either order.

    Args:
        model: path of the ``.weights`` or ``.cfg`` file; or ``"darknet"``, if the other arguments
            are the contents of the weights and of the cfg.
        config: path of the other file.
        framework: ``darknet``; may be empty if a path ends with ``.cfg`` or ``.weights``.

    Raises:
        DarknetError: if the files are not a Darknet network, are missing or do not fit together.

    Example:
        >>> from darknet_builder.support.bundled import default_model
        >>> cfg, weights, _ = default_model()
        >>> readNet(str(weights), str(cfg)).empty()
        False
    """
    if not isinstance(framework, str):
        return readNetFromDarknet(framework, config)  # (framework, bufferModel, bufferConfig)
    suffixes = {Path(path).suffix for path in (model, config) if isinstance(path, str | Path)}
    if framework != "darknet" and not suffixes & {_CFG, _WEIGHTS}:
        raise InputError(
            f"{_label(model)} is not a Darknet network (.cfg and .weights)",
            hint="cv2.dnn.readNet reads other formats",
        )
    is_swapped = isinstance(model, str | Path) and Path(model).suffix == _CFG
    return readNetFromDarknet(model, config) if is_swapped else readNetFromDarknet(config, model)
