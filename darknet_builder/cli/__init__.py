"""The command line: what a person types and reads. Nothing here would be imported by a program.

``commands`` has one file a command; each calls the rooms further left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.cli.program import main as main
else:
    __getattr__, __all__ = lazy_names(__name__)
