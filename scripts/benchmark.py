"""Compare engines and precisions on this machine; the same as ``darknet-builder benchmark``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
