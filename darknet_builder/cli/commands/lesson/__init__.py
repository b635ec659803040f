"""Commands for the lessons that the reader writes: ``darknet-builder lesson``."""

from __future__ import annotations

HELP = "write your own YOLO, or mend broken modules, and have it checked"
EXAMPLES = """\
The chapters are in docs/yolo-from-scratch.md, and 'lesson fault' belongs to docs/lessons.md.
'darknet-builder lesson COMMAND --help' shows the options of a command.

examples:
  darknet-builder lesson start my-yolo
  darknet-builder lesson check my-yolo/my_yolo.py --chapter 1
  darknet-builder lesson hint --chapter 1
  darknet-builder lesson fault start my-faults
"""
