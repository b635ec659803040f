"""Darknet's ``.data`` file: one option a line, such as ``classes=3`` or ``valid=test.txt``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darknet_builder.cfg.names import read_names
from darknet_builder.data.image_list import (
    candidate_paths,
    cure_for,
    either,
    first_existing,
    numbered_lines,
)
from darknet_builder.data.image_set import ImageSet, load_images
from darknet_builder.errors import DataError, DataWarning, did_you_mean, nearest
from darknet_builder.images.files import IMAGE_SUFFIXES
from darknet_builder.support.web.remote import FilePath, RemoteFile, file_at

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
"""The keys that Darknet and this project read; any other key may name a list of images."""


@dataclass(frozen=True)
class DataFile:
    """The options of a ``.data`` file (read_data_cfg in option_list.c).

    Files that it names are looked for in its folder, in the folder above that, and in the working
    directory.

    Attributes:
        path: path of the ``.data`` file.
        options: the text of each key.
        lines: the line of each key, counted from 1. It also has the keys without a value, which
            Darknet ignores and ``options`` lacks.

    Example:
        >>> data = DataFile(Path("my.data"), {"classes": "3", "valid": "test.txt"})
        >>> data.classes
        3
        >>> data.has("train")
        False
    """

    path: FilePath
    options: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | FilePath) -> DataFile:
        """Read a ``.data`` file.

        Args:
            path: path or address of the file.

        Raises:
            DataError: for a file that cannot be read, or a line that is not ``key=value``.
        """
        options: dict[str, str] = {}
        lines: dict[str, int] = {}
        path = file_at(path)
        for number, line in numbered_lines(path, "a .data file"):
            if line[0] in "#;":  # a comment
                continue
            key, equals, value = (part.strip() for part in line.partition("="))
            if not (key and equals):
                raise cls._not_an_option(path, number, line)
            if not value:  # ignored, as by Darknet's read_option; has() and file() report the line
                lines.setdefault(key, number)
                continue
            if key in options:
                raise DataError(
                    f"{key} is given twice; line {lines[key]} has {key}={options[key]}",
                    path=path,
                    line=number,
                    hint="remove one of the two",
                )
            options[key], lines[key] = value, number
        if not options and lines:
            raise DataError(**cls(path, options, lines)._empty(next(iter(lines))))
        if not options:
            raise DataError(
                "is empty", path=path, hint="expected lines such as classes=3 and valid=test.txt"
            )
        return cls(path, options, lines)

    @staticmethod
    def _not_an_option(path: str | FilePath, number: int, line: str) -> DataError:
        """Return the error for a line without ``key=``; a list of images is a likely mistake."""
        hint = None
        if Path(line).suffix.lower() in IMAGE_SUFFIXES:
            hint = "this looks like a list of images; give the .data file that names it (valid=)"
        return DataError(
            f"cannot parse {line!r}; expected key = value", path=path, line=number, hint=hint
        )

    def having(self, key: str, value: str) -> DataFile:
        """Return a copy with ``key=value`` set."""
        # The new value is not in the file, so errors about it must not name the old line.
        lines = {other: line for other, line in self.lines.items() if other != key}
        return DataFile(self.path, {**self.options, key: value}, lines)

    def error(self, message: str, key: str, *, hint: str | None = None) -> DataError:
        """Return an error with the file, line and value of a key; the caller raises it."""
        return DataError(message, **self._place(key), hint=hint)

    def _empty(self, key: str) -> dict[str, Any]:
        """Return the parts of an error or a warning about a key without a value."""
        return {
            "message": f"{key}= has no value",
            "path": self.path,
            "line": self.lines[key],
            "hint": "write the value after the =, or remove the line",
        }

    def _place(self, key: str) -> dict[str, Any]:
        return {
            "path": self.path,
            "line": self.lines.get(key),
            "key": key,
            "value": self.options.get(key),
        }

    def has(self, key: str) -> bool:
        """Return whether a key is set.

        A ``DataWarning`` is given if the key has no value or seems to be misspelt.
        """
        if key in self.lines and key not in self.options:
            warnings.warn(DataWarning(**self._empty(key)), stacklevel=2)
            return False
        for wrong in () if key in self.options else self._misspelt(key):
            # A warning, not an error: other programs may read keys that are unknown here.
            warnings.warn(
                DataWarning(
                    "unknown key, which has no effect",
                    **self._place(wrong),
                    hint=f"did you mean {key!r}?",
                ),
                stacklevel=2,
            )
        return key in self.options

    def _misspelt(self, key: str) -> list[str]:
        """Return the unknown keys of the file whose nearest known key is ``key``."""
        return [
            other for other in self.options if other not in _KEYS and nearest(other, _KEYS) == key
        ]

    @property
    def classes(self) -> int:
        """The number of classes: ``classes=``, or else the number of names.

        Raises:
            DataError: when both keys are missing, ``classes=`` is not a number, or they disagree.
        """
        names = self.names
        if not self.has("classes"):
            if names is None:
                raise self.error("needs classes= or names=, which are missing", "classes")
            return len(names)
        text = self.options["classes"]
        if not text.isdecimal() or int(text) < 1:
            raise self.error("expected a whole number of 1 or more", "classes")
        if names is not None and len(names) != int(text) and "names" not in self.lines:
            place = f"{self.path}:{self.lines['classes']}" if "classes" in self.lines else self.path
            raise DataError(
                f"has {len(names)} names, but {place} has classes={text}", path=self.locate("names")
            )
        if names is not None and len(names) != int(text):
            raise self.error(
                f"but {self.locate('names')} has {len(names)} names",
                "classes",
                hint="the two must agree",
            )
        return int(text)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the classes; None without ``names=``."""
        return tuple(read_names(self.locate("names"))) if self.has("names") else None

    @property
    def top(self) -> int:
        """The k of a classifier's top-k accuracy, from ``top=``; 5 without it (classifier.c).

        Raises:
            DataError: when it is not a number.
        """
        text = self.options["top"] if self.has("top") else "5"
        if not text.isdecimal() or int(text) < 1:
            raise self.error("expected a whole number of 1 or more", "top")
        return int(text)

    @property
    def class_map(self) -> list[int] | None:
        """The network's class of each class of the labels; None without ``map=``.

        As in Darknet's validate_detector (detector.c).

        Raises:
            DataError: for a line that is not a number.
        """
        if not self.has("map"):
            return None
        path = self.locate("map")
        numbers = []
        for number, line in numbered_lines(path, "a class map"):
            if not line.isdecimal():
                raise DataError(f"expected a class number, got {line!r}", path=path, line=number)
            numbers.append(int(line))
        return numbers

    def file(self, key: str) -> Path:
        """Return the path of the file that an option names.

        Raises:
            DataError: when the option or the file is missing, or the file is at an address.
        """
        file = self.locate(key)
        if isinstance(file, RemoteFile):
            raise self.error("is an address; expected a file of this machine here", key)
        return file

    def locate(self, key: str) -> FilePath:
        """Return the file that an option names, which may be at an address.

        Raises:
            DataError: when the option is missing, or the file; that of an address in the option
                is found missing when it is read.
        """
        if key in self.lines and key not in self.options:
            raise DataError(**self._empty(key))
        # The key is needed here, so a misspelt one is an error, at its own line.
        for wrong in () if key in self.options else self._misspelt(key):
            raise self.error("unknown key", wrong, hint=f"did you mean {key!r}?")
        if key not in self.options:
            hint = did_you_mean(key, self.options)
            raise self.error(
                f"needs {key}=, which is missing{hint} (it has {', '.join(self.options)})", key
            )
        name = self.options[key]
        found = first_existing(name, self.path.parent)
        if found is None:
            candidates = list(candidate_paths(name, self.path.parent))
            raise self.error(
                f"no such file; looked for {either(candidates)}", key, hint=cure_for(name)
            )
        return found

    def load(
        self,
        split: str,
        *,
        classes: int | None = None,
        skip_bad_labels: bool = False,
        strict: bool = False,
        limit: int | None = None,
        keep_missing: bool = False,
    ) -> ImageSet:
        """Load the images of a list, with their labels.

        Args:
            split: the key that names the list: ``train``, ``valid`` or another one.
            classes: number of classes of the labels; None for ``classes=``. With ``map=`` the two
                may differ.
            skip_bad_labels: leave bad lines of label files out and count them; False raises.
            strict: labels that Darknet's training changes or leaves out are bad lines too.
            limit: load only this number of images from the start of the list; None for all.
            keep_missing: keep a missing image in the list, for a caller that checks this; False
                raises.

        Raises:
            DataError: for a list, an image or a label that is missing or wrong.
        """
        return load_images(
            self.locate(split),
            classes or self.classes,
            skip_bad_labels=skip_bad_labels,
            strict=strict,
            limit=limit,
            keep_missing=keep_missing,
        )
