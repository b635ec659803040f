"""What a network consists of: ``darknet-builder dump``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["dump", *sys.argv[1:]]))
