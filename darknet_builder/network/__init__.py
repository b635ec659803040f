"""Blocks -> layers -> ``Network``: building, running, folding, and the network's task.

The arithmetic of a section belongs in ``layers``, its numbers in ``weights``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.network.build import build_network as build_network
    from darknet_builder.network.factory import build_layers as build_layers
    from darknet_builder.network.folding import fold_batch_norm as fold_batch_norm
    from darknet_builder.network.network import Network as Network
    from darknet_builder.network.plan import Plan as Plan
    from darknet_builder.network.task import class_names as class_names
    from darknet_builder.network.task import count_classes as count_classes
    from darknet_builder.network.task import default_resize as default_resize
    from darknet_builder.network.task import is_classifier as is_classifier
else:
    __getattr__, __all__ = lazy_names(__name__)
