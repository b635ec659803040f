"""What can be odd about a data set: the kinds of findings, each an error or a warning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ERROR, WARNING = "error", "warning"
LEVELS = {
    "missing image": ERROR,
    "unreadable image": ERROR,
    "bad label": ERROR,
    "same image in two splits": ERROR,
    "similar image in two splits": WARNING,
    "same image twice": WARNING,
    "listed twice": WARNING,
    "truncated image": WARNING,
    "rotated image": WARNING,
    "no label file": WARNING,
    "label file without image": WARNING,
    "box over the edge": WARNING,
    "same box twice": WARNING,
    "class without objects": WARNING,
    "rare class": WARNING,
    "small boxes": WARNING,
    "anchors that do not fit": WARNING,
}
"""The level of each kind. An error makes training stop or its results wrong; a warning is often
intended."""


@dataclass(frozen=True)
class DataFinding:
    """One oddity.

    Attributes:
        kind: one of ``LEVELS``.
        text: what is odd, without the place.
        path: the file to look at; None for the whole set.
        line: line of a text file, counted from 1; None without one.
        image: the image that it is about; None if it is about none or several.
        split: the list that names the image; None if it is about none or several.

    Example:
        >>> finding = DataFinding("bad label", "class 9: there are 8 classes", Path("a.txt"), 3)
        >>> finding.level, str(finding)
        ('error', 'a.txt:3: class 9: there are 8 classes')
    """

    kind: str
    text: str
    path: Path | None = None
    line: int | None = None
    image: Path | None = None
    split: str | None = None

    @property
    def level(self) -> str:
        """``error`` or ``warning``."""
        return LEVELS[self.kind]

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}"
        return self.text if self.path is None else f"{self.path}{line}: {self.text}"

    def to_dict(self) -> dict[str, object]:
        """Return the finding for a JSON document."""
        return {
            "level": self.level,
            "kind": self.kind,
            "text": self.text,
            "path": None if self.path is None else str(self.path),
            "line": self.line,
            "image": None if self.image is None else str(self.image),
            "split": self.split,
        }
