"""Doors for code that exists: the interfaces of other programs that read Darknet's files.

Each door translates arguments and results; the work is done by the other rooms.
"""

from __future__ import annotations
