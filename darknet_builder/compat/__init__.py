"""Doors for code that was written for another program: change its import and nothing else.

Names, arguments and formats are translated here; other rooms do the work.
"""

from __future__ import annotations
