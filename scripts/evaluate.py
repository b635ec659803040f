"""Measure a detector's accuracy; the same as ``darknet-builder evaluate``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
