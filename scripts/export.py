"""A network as a file that other programs read: ``darknet-builder export``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
