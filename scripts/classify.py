"""The likeliest classes of images: ``darknet-builder classify``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["classify", *sys.argv[1:]]))
