"""``.weights`` files: load, save, explain a file that does not fit, and download official ones.

Other formats belong in ``export``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.weights.downloads import download as download
    from darknet_builder.weights.entries import Entry as Entry
    from darknet_builder.weights.entries import weight_entries as weight_entries
    from darknet_builder.weights.loader import LoadReport as LoadReport
    from darknet_builder.weights.loader import load_weights as load_weights
    from darknet_builder.weights.loader import save_weights as save_weights
    from darknet_builder.weights.models import ModelFiles as ModelFiles
    from darknet_builder.weights.models import find_model as find_model
    from darknet_builder.weights.official import OfficialFile as OfficialFile
    from darknet_builder.weights.official import find_official as find_official
    from darknet_builder.weights.official import official_files as official_files
else:
    __getattr__, __all__ = lazy_names(__name__)
