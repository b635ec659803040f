"""Plot histograms of parameters; the same as ``darknet-builder plot-weights``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["plot-weights", *sys.argv[1:]]))
