"""Outlines of the objects in drawn scenes, in a circle of radius 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_HOLE = 0.58
"""Inner radius of a ring, relative to the outer one."""


def _polar(angles: np.ndarray, radii: np.ndarray | float) -> np.ndarray:
    # (P, 2) * (P, 1): each corner at its own radius
    return np.stack((np.cos(angles), np.sin(angles)), -1) * np.asarray(radii).reshape(-1, 1)


def _regular(corners: int) -> np.ndarray:
    return _polar(np.arange(corners) * 2 * np.pi / corners, 1.0)


def _circle() -> np.ndarray:
    return _regular(40)


def _square() -> np.ndarray:
    return _regular(4)


def _triangle() -> np.ndarray:
    return _regular(3)


def _star() -> np.ndarray:
    # 10 corners, alternately on the outer and on the inner circle
    return _polar(np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, 0.42, 1.0))


def _cross() -> np.ndarray:
    # Three corners of one quarter, then the same turned by 90, 180 and 270 degrees.
    arm = np.array([(0.32, -0.95), (0.32, -0.32), (0.95, -0.32)])
    quarter = np.array([(0, -1), (1, 0)])
    turns = [np.linalg.matrix_power(quarter, turn) for turn in range(4)]
    return np.concatenate([arm @ turn.T for turn in turns])


def _heart() -> np.ndarray:
    # The usual heart curve, with y downwards, moved and scaled into the unit circle.
    t = np.arange(40) * 2 * np.pi / 40
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((16 * np.sin(t) ** 3, -y - 2.5), -1) / 16.5


def _arrow() -> np.ndarray:
    return np.array(
        [
            (1, 0),
            (0.1, -0.75),
            (0.1, -0.28),
            (-0.95, -0.28),
            (-0.95, 0.28),
            (0.1, 0.28),
            (0.1, 0.75),
        ]
    )


# The order of the names is the order of the classes.
_OUTLINES: dict[str, Callable[[], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _circle,  # draw_outline adds the hole
    "heart": _heart,
    "arrow": _arrow,
}
OUTLINE_NAMES = tuple(_OUTLINES)


def draw_outline(name: str, random: np.random.Generator) -> list[np.ndarray]:
    """Draw the closed curves of one object, turned and stretched.

    Args:
        name: the shape, one of ``OUTLINE_NAMES``.
        random: generator of the angle and the stretch.

    Returns:
        (P, 2) corners, x and y, for each curve; a ring has two curves.
    """
    stretch = np.array([1.0, random.uniform(0.75, 1.0)])
    angle, tilt = random.uniform(0, 2 * np.pi, 2)
    # Turned before the stretch as well, so that it acts along any direction of the object.
    curve = _OUTLINES[name]() @ _rotation(tilt) * stretch @ _rotation(angle)
    return [curve, curve * _HOLE] if name == "ring" else [curve]


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
