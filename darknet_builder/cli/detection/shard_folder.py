"""The folder of ``detect --shards``: its parts, what they were made with, and its lock."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.errors import InputError
from darknet_builder.support.files import atomic_path, write_text, writing

_RUN, _LOCK = "run.json", ".lock"
_HASHES = {"list": "another list", "network": "another network", "weights": "other weights"}
"""Keys of ``run.json`` whose values say nothing to a reader, and what they stand for."""


@dataclass(frozen=True)
class ShardFolder:
    """The parts of one run; a part has its name only when it is complete.

    Attributes:
        path: the folder.
    """

    path: Path

    def part(self, number: int) -> Path:
        """Return the file of a part."""
        return self.path / f"part-{number:07d}.jsonl"

    def open(self, description: Mapping[str, Any], *, resume: bool) -> None:
        """Create the folder, or check that it belongs to the same run.

        Args:
            description: what rows depend on; values that JSON can hold.
            resume: whether to go on with the parts that are there.

        Raises:
            InputError: if the folder belongs to another run, or cannot be written.
        """
        known = self._read_run()
        parts = sorted(self.path.glob("part-*.jsonl"))
        if known is None and parts:
            raise self._error(f"has {parts[0].name}, but no {_RUN}; give another folder")
        if known is not None and not resume:
            raise self._error("has results of an earlier run; --resume goes on with them")
        for key, value in description.items() if known is not None else ():
            before = (known or {}).get(key)
            if before != value:
                what = _HASHES.get(key, f"{key} {before}, not {value}")
                raise self._error(
                    f"was made with {what}; give another folder, or the same arguments"
                )
        with writing(self.path):
            for left in self.path.glob(".part-*"):  # of a process that was killed
                left.unlink()
            write_text(self.path / _RUN, json.dumps(description, indent=1) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and keep other jobs out of it while the block runs.

        The system removes the lock of a process that ends in any way. Windows has no such locks:
        two jobs there write the same parts twice.

        Raises:
            InputError: if another job is there, or the folder cannot be created.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / _LOCK).open("w")
        with file:
            with suppress(ImportError):
                fcntl = import_module("fcntl")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise self._error("another job is writing there") from None
                except OSError:
                    pass  # a file system without locks
            yield

    @contextmanager
    def writing_part(self, number: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Write a part, which appears when the block succeeds.

        Yields:
            A function that adds a line.

        Raises:
            InputError: if it cannot be written.
        """
        path = self.part(number)
        with (
            writing(path),
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            yield partial(_write_line, file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave an empty file of this name

    def _read_run(self) -> dict[str, Any] | None:
        try:
            known = json.loads((self.path / _RUN).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{error.strerror}", path=self.path / _RUN) from None
        except ValueError:
            raise InputError("is not JSON", path=self.path / _RUN) from None
        return known if isinstance(known, dict) else {}

    def _error(self, text: str) -> InputError:
        return InputError(text, path=self.path)


def _write_line(file: TextIO, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
