"""Darknet networks in PyTorch: from a ``.cfg`` and a ``.weights`` file to numbers equal to Darknet's.

The public names are imported when they are first asked for, so that ``darknet_builder.parser`` needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darknet_builder.audit import find_unregistered as find_unregistered
    from darknet_builder.average_precision import MapResult as MapResult
    from darknet_builder.average_precision import mean_average_precision as mean_average_precision
    from darknet_builder.classification import Classifier as Classifier
    from darknet_builder.classification import ClassScore as ClassScore
    from darknet_builder.data_file import DataFile as DataFile
    from darknet_builder.detections import Detections as Detections
    from darknet_builder.detector import Detector as Detector
    from darknet_builder.errors import DarknetError as DarknetError
    from darknet_builder.evaluation import find_boxes as find_boxes
    from darknet_builder.image_set import ImageSet as ImageSet
    from darknet_builder.network import Network as Network
    from darknet_builder.network import build_network as build_network
    from darknet_builder.parser import Block as Block
    from darknet_builder.parser import format_cfg as format_cfg
    from darknet_builder.parser import parse_cfg as parse_cfg
    from darknet_builder.summary import Summary as Summary
    from darknet_builder.summary import summarize as summarize

__version__ = "0.1.0"

_HOMES = {
    "Block": "parser",
    "ClassScore": "classification",
    "Classifier": "classification",
    "DataFile": "data_file",
    "DarknetError": "errors",
    "Detections": "detections",
    "Detector": "detector",
    "ImageSet": "image_set",
    "MapResult": "average_precision",
    "Network": "network",
    "Summary": "summary",
    "build_network": "network",
    "find_boxes": "evaluation",
    "find_unregistered": "audit",
    "format_cfg": "parser",
    "mean_average_precision": "average_precision",
    "parse_cfg": "parser",
    "summarize": "summary",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
