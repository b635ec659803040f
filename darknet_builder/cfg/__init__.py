"""Cfg and names files as text: reading, the meaning of their options, and finding a cfg.

Nothing here builds a layer; only model files (``model_files``) need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.cfg.block import Block as Block
    from darknet_builder.cfg.diagnostics import Collector as Collector
    from darknet_builder.cfg.diagnostics import Diagnostics as Diagnostics
    from darknet_builder.cfg.dialects import DIALECTS as DIALECTS
    from darknet_builder.cfg.dialects import Dialect as Dialect
    from darknet_builder.cfg.dialects import get_dialect as get_dialect
    from darknet_builder.cfg.names import read_names as read_names
    from darknet_builder.cfg.net_options import Augmentation as Augmentation
    from darknet_builder.cfg.net_options import NetOptions as NetOptions
    from darknet_builder.cfg.net_options import Schedule as Schedule
    from darknet_builder.cfg.parser import format_cfg as format_cfg
    from darknet_builder.cfg.parser import parse_cfg as parse_cfg
else:
    __getattr__, __all__ = lazy_names(__name__)
