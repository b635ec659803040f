"""Official weights of Darknet's networks: which there are, and where."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from urllib.parse import quote, urlsplit

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.weights.downloads import CHECKSUMS, Expected

_TABLE = "official.tsv"
_HEADER_BYTES = (20, 16)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class OfficialFile:
    """One line of the table.

    Attributes:
        kind: ``detector``, ``classifier``, or ``cutoff`` for the first layers of one, to train
            from.
        name: what it is asked for by.
        file: its file name.
        cfg: the file name of the cfg that it belongs to.
        num_floats: how many numbers it holds.
        checksums: what is known of each of ``CHECKSUMS``.
        urls: where it can be fetched, in order.
        page: where only a browser can fetch it, or an empty string.
        note: one line, or an empty string.
    """

    kind: str
    name: str
    file: str
    cfg: str
    num_floats: int
    checksums: Mapping[str, tuple[str, ...]]
    urls: tuple[str, ...]
    page: str
    note: str

    @property
    def expected(self) -> Expected:
        """By what to know it: its size with a long or a short header, and its checksums."""
        return Expected(
            tuple(header + _FLOAT_BYTES * self.num_floats for header in _HEADER_BYTES),
            self.checksums,
        )

    def addresses(self, mirror: str | None = None) -> tuple[str, ...]:
        """Where to fetch it from.

        Args:
            mirror: the address of a server's folder, to be asked for the file instead of the
                official places.

        Raises:
            InputError: where no program can fetch it, with the page for a browser; or for a mirror
                that is no web address.
        """
        if mirror is not None:
            if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).netloc:
                raise InputError(
                    "expected an address like https://example.org/weights",
                    argument="mirror",
                    value=mirror,
                )
            return (f"{mirror.rstrip('/')}/{quote(self.file)}",)
        if self.urls:
            return self.urls
        if self.page:
            raise InputError(
                f"{self.name}: where it is, no program can fetch it",
                argument="mirror",
                hint=f"open {self.page} in a browser and save it as {self.file}, or name a mirror",
            )
        raise InputError(
            f"{self.name}: {self.note}",
            argument="mirror",
            hint="if a server has it, name it as mirror",
        )


@cache
def official_files() -> Mapping[str, OfficialFile]:
    """Everything in the table, by name."""
    text = resources.files("darknet_builder.weights").joinpath(_TABLE).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    files = (
        _read_row(row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    return {file.name: file for file in files}


def _read_row(row: dict[str, str]) -> OfficialFile:
    return OfficialFile(
        kind=row["kind"],
        name=row["name"],
        file=row["file"],
        cfg=row["cfg"],
        num_floats=int(row["floats"]),
        urls=tuple(row["urls"].split()),
        page=row["page"],
        checksums={kind: tuple(row[kind].split()) for kind in CHECKSUMS},
        note=row["note"],
    )


def find_official(name: str) -> OfficialFile:
    """The line of a name or of a file name.

    Raises:
        InputError: for one that is not in the table, with the nearest that is.
    """
    files = official_files()
    by_file = {entry.file: entry for entry in files.values()}
    entry = files.get(name) or by_file.get(name)
    if entry is None:
        raise InputError(
            f"no official weights are called {name!r}",
            hint=did_you_mean(name, [*files, *by_file]),
            argument="name",
        )
    return entry
