"""Run networks fast: one file for each engine, and the choice between the engines.

Code that turns outputs into detections belongs in ``prediction``, files for other programs in
``export``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.engines.base import Engine as Engine
    from darknet_builder.engines.choice import BACKENDS as BACKENDS
    from darknet_builder.engines.choice import make_engine as make_engine
    from darknet_builder.engines.names import installed_backends as installed_backends
    from darknet_builder.engines.optimized import OptimizedNetwork as OptimizedNetwork
    from darknet_builder.engines.optimized import optimize as optimize
else:
    __getattr__, __all__ = lazy_names(__name__)
