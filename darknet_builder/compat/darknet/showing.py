"""Show detections: ``print_detections``, ``draw_boxes``, ``class_colors``, ``bbox2points``."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping

import numpy as np

from darknet_builder.images.opencv import load_opencv

Box = tuple[float, float, float, float]
"""Centre x, centre y, width, height."""
Color = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""
Shown = tuple[str, "str | float", Box]
"""Name, percent as text or probability, box."""


def bbox2points(bbox: Box) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom edge of a box, rounded.

    Example:
        >>> bbox2points((20, 10, 4.2, 2))
        (18, 9, 22, 11)
    """
    x, y, w, h = bbox
    xmin = round(x - (w / 2))
    xmax = round(x + (w / 2))
    ymin = round(y - (h / 2))
    ymax = round(y + (h / 2))
    return xmin, ymin, xmax, ymax


def class_colors(names: Iterable[str]) -> dict[str, Color]:
    """Return a random (blue, green, red) for each class name; ``random.seed`` fixes them.

    Example:
        >>> random.seed(3)
        >>> class_colors(["cat"])
        {'cat': (121, 66, 189)}
    """

    def channel() -> int:
        return random.randint(0, 255)  # noqa: S311  (colours are not secret)

    return {name: (channel(), channel(), channel()) for name in names}


def print_detections(detections: Iterable[Shown], coordinates: bool = False) -> None:
    """Write a line for each object to standard output.

    Args:
        detections: the objects, from ``detect_image``.
        coordinates: whether to add the box. As in ``darknet.py``, its centre is called left_x and
            top_y.

    Example:
        >>> print_detections([("dog", "98.29", (20.4, 10, 4, 2))], coordinates=True)
        <BLANKLINE>
        Objects:
        dog: 98.29%    (left_x: 20   top_y:  10   width:   4   height:  2)
    """
    lines = ["\nObjects:\n"]
    for label, confidence, (x, y, w, h) in detections:
        box = f"    (left_x: {x:.0f}   top_y:  {y:.0f}   width:   {w:.0f}   height:  {h:.0f})"
        lines.append(f"{label}: {confidence}%{box if coordinates else ''}\n")
    sys.stdout.write("".join(lines))


def draw_boxes(
    detections: Iterable[Shown], image: np.ndarray, colors: Mapping[str, Color]
) -> np.ndarray:
    """Draw a box and ``name [percent]`` for each object, and return the image.

    Args:
        detections: from ``detect_image`` or ``remove_negatives``.
        image: (H, W, 3) uint8; it is drawn on.
        colors: the colour of each name, in the order of the image's channels.

    Example:
        >>> image = np.zeros((40, 40, 3), np.uint8)
        >>> drawn = draw_boxes([("dog", "98.29", (20, 20, 8, 8))], image, {"dog": (1, 2, 3)})
        >>> drawn is image, image[16, 16].tolist()
        (True, [1, 2, 3])
    """
    cv2 = load_opencv()
    for label, confidence, bbox in detections:
        left, top, right, bottom = bbox2points(bbox)
        cv2.rectangle(image, (left, top), (right, bottom), colors[label], 1)
        text = f"{label} [{float(confidence):.2f}]"
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(image, text, (left, top - 5), font, 0.5, colors[label], 2)
    return image
