"""Export a network to a checked file: ONNX, PyTorch programs, named tensors or Darknet's files.

Code that runs such a file fast belongs in ``engines``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.export.darknet import portable_blocks as portable_blocks
    from darknet_builder.export.export import export_network as export_network
    from darknet_builder.export.settings import FORMATS as FORMATS
    from darknet_builder.export.settings import GRAPHS as GRAPHS
    from darknet_builder.export.settings import ExportReport as ExportReport
    from darknet_builder.export.settings import ExportSettings as ExportSettings
else:
    __getattr__, __all__ = lazy_names(__name__)
