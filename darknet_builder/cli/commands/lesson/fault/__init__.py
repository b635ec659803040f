"""Commands for the exercise "find the fault": ``darknet-builder lesson fault``."""

from __future__ import annotations

HELP = "mend ten broken modules, and have them checked"
EXAMPLES = """\
The exercises belong to docs/lessons.md. 'darknet-builder lesson fault COMMAND --help' shows the
options of a command.

examples:
  darknet-builder lesson fault list
  darknet-builder lesson fault start my-faults
  darknet-builder lesson fault check my-faults
"""
