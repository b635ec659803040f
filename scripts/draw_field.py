"""Draw one large picture of many scenes, with its labels and a .data file, to try tiling with.

The figures in docs/detect.md come from ``evaluate`` on the picture that this draws without options.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from darknet_builder.data.scene_names import SCENE_NAMES
from darknet_builder.data.scenes import draw_field
from darknet_builder.images.files import write_image


def main() -> int:
    """Write ``field.png``, ``field.txt``, ``list.txt``, ``field.names`` and ``field.data``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=27, help="scenes in a row, of 224 pixels")
    parser.add_argument("--rows", type=int, default=18, help="rows of scenes")
    parser.add_argument("--output", type=Path, default=Path("output/field"), help="folder")
    args = parser.parse_args()
    field = draw_field(args.columns, args.rows)
    args.output.mkdir(parents=True, exist_ok=True)
    write_image(args.output / "field.png", field.image)
    texts = {
        "field.txt": field.label_text(),
        "list.txt": "field.png\n",
        "field.names": "".join(f"{name}\n" for name in SCENE_NAMES),
        "field.data": f"classes={len(SCENE_NAMES)}\nvalid=list.txt\nnames=field.names\n",
    }
    for name, text in texts.items():
        (args.output / name).write_text(text)
    height, width = field.image.shape[:2]
    print(f"{args.output / 'field.png'}: {width} x {height} pixels, {len(field.boxes)} objects")
    return 0


if __name__ == "__main__":
    sys.exit(main())
