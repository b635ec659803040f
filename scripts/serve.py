"""Detections over HTTP: ``darknet-builder serve``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
