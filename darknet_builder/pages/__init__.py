"""Make HTML pages and SVG pictures from templates.

Code that draws boxes into photographs belongs in ``boxes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.pages.dataset_page import save_dataset_page as save_dataset_page
    from darknet_builder.pages.detections_page import DetectionReport as DetectionReport
    from darknet_builder.pages.diagram import Diagram as Diagram
    from darknet_builder.pages.network_page import save_network_picture as save_network_picture
else:
    __getattr__, __all__ = lazy_names(__name__)
