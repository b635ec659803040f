"""Measure non-maximum suppression against the number of boxes, for docs/performance.md.

Every cell and anchor of a YOLOv3 network has a likely box, as early in its training.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from darknet_builder.boxes.nms import best_of_groups

ANCHORS = {  # pixels, by stride
    32: ((116, 90), (156, 198), (373, 326)),
    16: ((30, 61), (62, 45), (59, 119)),
    8: ((10, 13), (16, 30), (33, 23)),
}
CLASSES, CLASSES_PER_BOX, THRESHOLD = 80, 6.5, 0.45


def boxes_everywhere(size: int, generator: np.random.Generator) -> np.ndarray:
    """Return a box for each anchor of each cell: (N, 4) relative to an image of some pixels."""
    boxes = []
    for stride, anchors in ANCHORS.items():
        cells = np.indices((size // stride, size // stride)).reshape(2, -1).T
        for anchor in anchors:
            centres = (cells + generator.random(cells.shape)) * stride
            sizes = anchor * np.exp(generator.normal(0, 0.3, cells.shape))
            boxes.append(np.concatenate([centres, sizes], 1) / size)
    return np.concatenate(boxes).astype(np.float32)


def measure(size: int, generator: np.random.Generator) -> str:
    """Return a row of the table for one image."""
    boxes = boxes_everywhere(size, generator)
    count = round(len(boxes) * CLASSES_PER_BOX)
    boxes = boxes[np.sort(generator.integers(0, len(boxes), count))]
    scores = generator.random(count).astype(np.float32)
    class_ids = generator.integers(0, CLASSES, count)
    begin = time.perf_counter()
    kept = best_of_groups(boxes, scores, class_ids, THRESHOLD)
    seconds = time.perf_counter() - begin
    return f"| {size} | {count:,} | {kept.sum():,} | {seconds:.2f} |"


def main() -> int:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 416, 608, 832, 1216])
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    print("| pixels | boxes, one for each class | kept | seconds |\n|---|---|---|---|")
    for size in args.sizes:
        print(measure(size, generator), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
