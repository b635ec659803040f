"""Say everything that is wrong or odd with a cfg and its weights.

The same as ``darknet-builder check``.
"""

from __future__ import annotations

import sys

from darknet_builder.cli.program import main

if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
