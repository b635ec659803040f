"""Doors for code that was written for another program: change its import and nothing else.

What a door does not find in the other rooms is missing there; no arithmetic belongs here.
"""

from __future__ import annotations
