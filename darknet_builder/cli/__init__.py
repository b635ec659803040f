"""The ``darknet-builder`` command line: options, messages and exit statuses.

``commands`` has one file for each command; the work is done by the other rooms. Programs import
those rooms and never this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.cli.program import main as main
else:
    __getattr__, __all__ = lazy_names(__name__)
