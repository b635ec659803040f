"""Count what a conversion changes or leaves out, so that nothing is lost silently."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Note:
    """One kind of change.

    Attributes:
        one: what was changed, in the singular.
        many: the same in the plural.
        change: what happened to it; empty if ``one`` and ``many`` say it in different words.
        is_loss: True if the source has a mistake and a part of it could not be converted.

    Example:
        >>> Note("rotated box", "rotated boxes", "enclosed").text(2)
        '2 rotated boxes enclosed'
    """

    one: str
    many: str
    change: str = ""
    is_loss: bool = False

    def text(self, count: int) -> str:
        """Return the note with its count, for a line of text."""
        return f"{count} {self.one if count == 1 else self.many} {self.change}".rstrip()


CROWD = Note("crowd", "crowds", "left out")
POLYGON = Note("polygon taken as its box", "polygons taken as their boxes")
MASK = Note("mask taken as its box", "masks taken as their boxes")
ROTATED = Note("rotated box", "rotated boxes", "enclosed")
DIFFICULT = Note("difficult object", "difficult objects", "kept as ordinary")
EMPTY = Note("image", "images", "without objects kept")
OTHER_CLASS = Note("object", "objects", "of other classes left out")
GROUP = Note(
    "category that only names a group left out", "categories that only name a group left out"
)
CLIPPED = Note("box", "boxes", "clipped at the edge of the image")
RENAMED = Note("image", "images", "renamed because of equal names")
UNLISTED = Note("annotation file", "annotation files", "that no list names left out")
REPEATED = Note("image", "images", "listed again taken once")

BAD_LINE = Note("label line", "label lines", "that cannot be read left out", is_loss=True)
NO_BOX = Note("object", "objects", "without a box left out", is_loss=True)
NO_AREA = Note("box", "boxes", "without area left out", is_loss=True)
OUTSIDE = Note("box", "boxes", "outside the image left out", is_loss=True)
UNKNOWN_CLASS = Note("object", "objects", "of an unknown class left out", is_loss=True)
NO_IMAGE = Note("image", "images", "not found left out", is_loss=True)
UNREADABLE = Note("image", "images", "that cannot be read left out", is_loss=True)
OTHER_SIZE = Note("image", "images", "of another size than annotated, boxes scaled", is_loss=True)


@dataclass
class Notes:
    """The changes of one conversion.

    Attributes:
        counts: how often each kind occurred.
        first: the file, and where known the line or the object, of the first of each kind.

    Example:
        >>> notes = Notes()
        >>> notes.add(CROWD, "instances.json: annotation 7")
        >>> notes.add(EMPTY, "a.jpg", 40)
        >>> notes.text(), notes.has_losses
        ('1 crowd left out, 40 images without objects kept', False)
    """

    counts: Counter[Note] = field(default_factory=Counter)
    first: dict[Note, str] = field(default_factory=dict)

    def add(self, note: Note, place: object, count: int = 1) -> None:
        """Count a change.

        Args:
            note: its kind.
            place: where it is, for a person who looks for it.
            count: how often it occurred there.
        """
        if count:
            self.counts[note] += count
            self.first.setdefault(note, str(place))

    @property
    def has_losses(self) -> bool:
        """Whether a part of the source could not be converted."""
        return any(note.is_loss for note in self.counts)

    def text(self) -> str:
        """Return all counts in one line; empty without any."""
        return ", ".join(note.text(count) for note, count in self.counts.items())

    def to_dict(self) -> list[dict[str, object]]:
        """Return the counts for a JSON document."""
        return [
            {
                "text": note.text(count),
                "count": count,
                "first": self.first[note],
                "is_loss": note.is_loss,
            }
            for note, count in self.counts.items()
        ]
