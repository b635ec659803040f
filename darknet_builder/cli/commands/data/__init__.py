"""Commands for data sets: ``darknet-builder data``."""

from __future__ import annotations

HELP = "convert, check, split and join data sets"
EXAMPLES = """\
'darknet-builder data COMMAND --help' shows the options of a command.

examples:
  darknet-builder data convert instances_train.json my-data --to darknet
  darknet-builder data check my-data/my-data.data --cfg my.cfg
"""
