"""Objects in images, folders, globs and videos: ``darknet-builder detect``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["detect", *sys.argv[1:]]))
