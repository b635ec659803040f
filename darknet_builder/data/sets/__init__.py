"""Whole data sets in Darknet's form: check, count, split and merge them.

Other formats are in ``data.formats``; what training does to an image is in ``data``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.data.sets.check import DataCheck as DataCheck
    from darknet_builder.data.sets.check import check_data as check_data
    from darknet_builder.data.sets.findings import DataFinding as DataFinding
    from darknet_builder.data.sets.merge import merge_data as merge_data
    from darknet_builder.data.sets.split import split_data as split_data
    from darknet_builder.data.sets.statistics import DataStatistics as DataStatistics
    from darknet_builder.data.sets.statistics import count_data as count_data
else:
    __getattr__, __all__ = lazy_names(__name__)
