"""Engines, precisions and reference programs side by side: Compare engines, precisions and reference programs: ``darknet-builder benchmark``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
