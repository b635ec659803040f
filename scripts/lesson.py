"""Commands for the lesson "YOLO from scratch": ``darknet-builder lesson``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["lesson", *sys.argv[1:]]))
