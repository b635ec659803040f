"""Why layers live in an nn.ModuleList.

The same network both ways, and what PyTorch reaches of it, side by side.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.errors import DarknetError
from darknet_builder.lessons.plain_list import why_modulelist

LESSON_CFG = Path(__file__).resolve().parent.parent / "cfg" / "lesson.cfg"


def main() -> int:
    """Print the three comparisons; 2 for a cfg that cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cfg", nargs="?", default=LESSON_CFG, help="the network (default: cfg/lesson.cfg)"
    )
    parser.add_argument("--width", type=int, help="of its input in pixels, instead of the cfg's")
    parser.add_argument("--height", type=int, help="likewise")
    parser.add_argument(
        "--dialect", choices=list(DIALECTS), default="alexeyab", help="default: alexeyab"
    )
    args = parser.parse_args()
    try:
        lessons = why_modulelist(
            args.cfg, width=args.width, height=args.height, dialect=args.dialect
        )
    except DarknetError as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return 2
    try:
        print(*lessons, sep="\n", end="", flush=True)
    except BrokenPipeError:  # the reader (head, less) has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
