"""Draw a data set of scenes: ``darknet-builder scenes``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["scenes", *sys.argv[1:]]))
