"""Convert, check, split and join data sets: ``darknet-builder data``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["data", *sys.argv[1:]]))
