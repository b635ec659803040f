"""Official weights, fetched and checked: ``darknet-builder get-weights``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["get-weights", *sys.argv[1:]]))
