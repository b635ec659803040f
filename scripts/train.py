"""Train a detector: ``darknet-builder train``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
