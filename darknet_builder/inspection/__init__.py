"""Inspect cfgs and networks: summary, check, lint, adapt, statistics.

Pages and pictures of a network belong in ``pages``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.inspection.adapt import Adaptation as Adaptation
    from darknet_builder.inspection.adapt import adapt_cfg as adapt_cfg
    from darknet_builder.inspection.check import Finding as Finding
    from darknet_builder.inspection.statistics import WeightStatistics as WeightStatistics
    from darknet_builder.inspection.statistics import weight_statistics as weight_statistics
    from darknet_builder.inspection.summary import LayerSummary as LayerSummary
    from darknet_builder.inspection.summary import Summary as Summary
    from darknet_builder.inspection.summary import summarize as summarize
else:
    __getattr__, __all__ = lazy_names(__name__)
