"""Darknet's losses and gradients, one file for each kind of head.

A loss is computed from a raw map, the targets and the head's options::

    maps = loss_inputs(network, images)
    report = network_loss(network, maps, targets, seen=seen)
    (report.total / batch).backward()

``batch`` is the cfg's, so that the parts of a batch (``subdivisions``) add up to Darknet's update.
Optimisers and schedules belong in ``training``.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.losses.base import HeadLoss as HeadLoss
    from darknet_builder.losses.base import LossContext as LossContext
    from darknet_builder.losses.base import Targets as Targets
    from darknet_builder.losses.base import find_loss as find_loss
    from darknet_builder.losses.base import loss_for as loss_for
    from darknet_builder.losses.whole_network import LossMaps as LossMaps
    from darknet_builder.losses.whole_network import LossReport as LossReport
    from darknet_builder.losses.whole_network import loss_inputs as loss_inputs
    from darknet_builder.losses.whole_network import network_loss as network_loss
    from darknet_builder.losses.whole_network import reached_layers as reached_layers
else:
    __getattr__, __all__ = lazy_names(__name__)

# Each file registers the loss of its section when it is imported.
for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
