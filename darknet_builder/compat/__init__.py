"""Interfaces of other programs that read Darknet's files, for code that was written for them.

Names, arguments and formats are translated here; other rooms do the work.
"""

from __future__ import annotations
