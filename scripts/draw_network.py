"""A network as a page or a picture: the same as ``darknet-builder draw-network``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["draw-network", *sys.argv[1:]]))
