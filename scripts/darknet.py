"""Command lines of the ``darknet`` program: ``darknet-builder darknet``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["darknet", *sys.argv[1:]]))
