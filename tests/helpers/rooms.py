"""The rooms of the package, in the order in which they may import each other."""

from __future__ import annotations

from pathlib import Path

import darknet_builder

PACKAGE = Path(darknet_builder.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ORDER = (
    "errors shapes", "support", "cfg images", "boxes", "layers", "network", "weights losses data",
    "inspection lessons export", "pages engines", "prediction", "evaluation", "training",
    "benchmark compat serving", "cli",
)  # fmt: skip
"""Rooms from the bottom up. A file imports its own room and rooms further left."""


def module_name(path: Path) -> str:
    """``darknet_builder/layers/base.py`` -> ``layers.base``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def room_of(module: str) -> str:
    """``layers.heads.yolo`` -> ``layers``."""
    return module.split(".")[0]


def rank_of(module: str) -> int:
    """The place of a module's room in ``ORDER``."""
    return next(rank for rank, rooms in enumerate(ORDER) if room_of(module) in rooms.split())


def rooms() -> dict[str, list[str]]:
    """The files of each room, but for its ``__init__``."""
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        room, _, stem = module_name(path).rpartition(".")
        if stem != "__init__":
            found.setdefault(room, []).append(stem)
    return found
