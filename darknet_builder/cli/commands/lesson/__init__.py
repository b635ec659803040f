"""Commands for the lesson "YOLO from scratch": ``darknet-builder lesson``."""

from __future__ import annotations

HELP = "write your own YOLO, chapter by chapter, and have it checked"
EXAMPLES = """\
The chapters are in docs/yolo-from-scratch.md. 'darknet-builder lesson COMMAND --help' shows the
options of a command.

examples:
  darknet-builder lesson start my-yolo
  darknet-builder lesson check my-yolo/my_yolo.py --chapter 1
  darknet-builder lesson hint --chapter 1
"""
