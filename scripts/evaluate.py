"""Darknet's mAP and COCO's AP of a detector: Measure a detector's accuracy: ``darknet-builder evaluate``."""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
