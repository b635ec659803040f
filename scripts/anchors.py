"""``darknet-builder anchors``: anchors that fit a data set."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["anchors", *sys.argv[1:]]))
