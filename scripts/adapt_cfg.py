"""``darknet-builder adapt-cfg``: a cfg for another data set."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["adapt-cfg", *sys.argv[1:]]))
