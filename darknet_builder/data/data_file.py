"""Darknet's ``.data`` file: ``classes=3``, ``valid=test.txt``, ``names=my.names``, one option a
line.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darknet_builder.cfg.names import read_names
from darknet_builder.data.image_set import ImageSet, load_images
from darknet_builder.data.lines import cure_for, either, find_place, numbered_lines, places_of
from darknet_builder.errors import DataError, DataWarning, did_you_mean, nearest

_KEYS = (
    "backup",
    "classes",
    "difficult",
    "eval",
    "labels",
    "leaves",
    "map",
    "names",
    "results",
    "test",
    "top",
    "train",
    "tree",
    "valid",
)
"""What Darknet and this project read of a ``.data`` file; any other key may name a list of
images."""


@dataclass(frozen=True)
class DataFile:
    """What a ``.data`` file says (read_data_cfg in option_list.c).

    Files that it names are looked for beside it, beside its folder and in the working directory.

    Attributes:
        path: its own.
        options: key -> text.
        lines: key -> line, counted from 1. A key without a value, which Darknet ignores, is here
            alone.
    """

    path: Path
    options: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> DataFile:
        """Read it.

        Raises:
            DataError: located, for what cannot be read or is no ``key=value``.
        """
        options: dict[str, str] = {}
        lines: dict[str, int] = {}
        for number, line in numbered_lines(path, "a .data file"):
            if line[0] in "#;":
                continue
            key, equals, value = (part.strip() for part in line.partition("="))
            if not (key and equals):
                raise DataError(
                    f"{line!r} is no option", path=path, line=number, hint="expected key = value"
                )
            if not value:  # Darknet's read_option passes it by; has() and file() name the line
                lines.setdefault(key, number)
                continue
            if key in options:
                raise DataError(
                    f"{key} is given a second time; line {lines[key]} already says "
                    f"{key}={options[key]}",
                    path=path,
                    line=number,
                )
            options[key], lines[key] = value, number
        if not options and lines:
            raise DataError(**cls(Path(path), options, lines)._empty(next(iter(lines))))
        if not options:
            raise DataError(
                "is empty", path=path, hint="expected lines such as classes=3 and valid=test.txt"
            )
        return cls(Path(path), options, lines)

    def having(self, key: str, value: str) -> DataFile:
        """The same, as if it said ``key=value``."""
        lines = {other: line for other, line in self.lines.items() if other != key}
        return DataFile(self.path, {**self.options, key: value}, lines)

    def error(self, message: str, key: str, *, hint: str | None = None) -> DataError:
        """A located error, to be raised by the caller."""
        return DataError(message, **self._place(key), hint=hint)

    def _empty(self, key: str) -> dict[str, Any]:
        """The parts of an error or a warning about a key without a value."""
        return {
            "message": f"{key}= has no value",
            "path": self.path,
            "line": self.lines[key],
            "hint": "write the value behind it, or remove the line",
        }

    def _place(self, key: str) -> dict[str, Any]:
        return {
            "path": self.path,
            "line": self.lines.get(key),
            "key": key,
            "value": self.options.get(key),
        }

    def has(self, key: str) -> bool:
        """Whether an option is there; a ``DataWarning`` says so where it has no value or seems to be
        misspelt.
        """
        if key in self.lines and key not in self.options:
            warnings.warn(DataWarning(**self._empty(key)), stacklevel=2)
            return False
        for wrong in () if key in self.options else self._misspelt(key):
            warnings.warn(
                DataWarning(
                    "no such key, it changes nothing",
                    **self._place(wrong),
                    hint=f"did you mean {key!r}?",
                ),
                stacklevel=2,
            )
        return key in self.options

    def _misspelt(self, key: str) -> list[str]:
        """Keys that no one knows, and that are most like a certain one."""
        return [
            other for other in self.options if other not in _KEYS and nearest(other, _KEYS) == key
        ]

    @property
    def classes(self) -> int:
        """``classes=``, or else the number of names.

        Raises:
            DataError: located, when neither is there, it is no number, or the two disagree.
        """
        names = self.names
        if not self.has("classes"):
            if names is None:
                raise self.error("needs classes= or names=, which are missing", "classes")
            return len(names)
        text = self.options["classes"]
        if not text.isdecimal() or int(text) < 1:
            raise self.error("expected a whole number of 1 or more", "classes")
        if names is not None and len(names) != int(text):
            raise self.error(
                f"but {self.file('names')} has {len(names)} names",
                "classes",
                hint="the two must agree",
            )
        return int(text)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the classes; None without ``names=``."""
        return tuple(read_names(self.file("names"))) if self.has("names") else None

    @property
    def top(self) -> int:
        """``top=``: among how many of a classifier's answers the right one is to be; 5 without it
        (classifier.c).

        Raises:
            DataError: located, when it is no number.
        """
        text = self.options["top"] if self.has("top") else "5"
        if not text.isdecimal() or int(text) < 1:
            raise self.error("expected a whole number of 1 or more", "top")
        return int(text)

    @property
    def class_map(self) -> list[int] | None:
        """Which of the network's classes each class of the labels is; None without ``map=``
        (validate_detector).

        Raises:
            DataError: located, for a line that is no number.
        """
        if not self.has("map"):
            return None
        path = self.file("map")
        numbers = []
        for number, line in numbered_lines(path, "a class map"):
            if not line.isdecimal():
                raise DataError(f"{line!r} is no class number", path=path, line=number)
            numbers.append(int(line))
        return numbers

    def file(self, key: str) -> Path:
        """The file that an option names.

        Raises:
            DataError: located, when the option or the file is missing.
        """
        if key in self.lines and key not in self.options:
            raise DataError(**self._empty(key))
        for wrong in () if key in self.options else self._misspelt(key):
            raise self.error("no such key", wrong, hint=f"did you mean {key!r}?")
        if key not in self.options:
            hint = did_you_mean(key, self.options)
            raise self.error(
                f"needs {key}=, which is missing{hint} (it has {', '.join(self.options)})", key
            )
        name = self.options[key]
        found = find_place(name, self.path.parent)
        if found is None:
            places = list(places_of(name, self.path.parent))
            raise self.error(f"no such file; looked for {either(places)}", key, hint=cure_for(name))
        return found

    def load(
        self,
        split: str,
        *,
        classes: int | None = None,
        skip_bad_labels: bool = False,
        limit: int | None = None,
        keep_missing: bool = False,
    ) -> ImageSet:
        """The images that ``train=``, ``valid=`` or another key lists, with their labels.

        Args:
            split: the key.
            classes: how many the labels may name, where ``map=`` makes that differ from
                ``classes=``.
            skip_bad_labels: leave bad lines out and count them.
            limit: only the first so many images.
            keep_missing: an image that is not there stays in the list.

        Raises:
            DataError: located, for whatever is missing or wrong.
        """
        return load_images(
            self.file(split),
            classes or self.classes,
            skip_bad_labels=skip_bad_labels,
            limit=limit,
            keep_missing=keep_missing,
        )
