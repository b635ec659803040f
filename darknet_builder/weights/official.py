"""Official weights of Darknet's networks: a table of files and their addresses."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import quote, urlsplit

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.support.bundled import find_by_name
from darknet_builder.weights.downloads import CHECKSUMS, Download, Expected, Progress, download

_TABLE = "official.tsv"
_HEADER_BYTES = (20, 16)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class OfficialFile:
    """One row of the table.

    Attributes:
        kind: ``detector``, ``classifier``, or ``cutoff`` for the first layers of one, to train
            from.
        name: name to find it by.
        file: name of the file, with its suffix.
        cfg: file name of the cfg that it belongs to.
        num_floats: number of floats in it.
        checksums: known checksums by kind, one of ``CHECKSUMS``.
        urls: addresses to download it from, in order.
        page: address for a browser, if no program can download it; or an empty string.
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
        """Its size, with a long or a short header, and its checksums."""
        return Expected(
            tuple(header + _FLOAT_BYTES * self.num_floats for header in _HEADER_BYTES),
            self.checksums,
        )

    def addresses(self, mirror: str | None = None) -> tuple[str, ...]:
        """Return the addresses to download it from.

        Args:
            mirror: address of a folder on a server, to use instead of the official places; None for
                these.

        Raises:
            InputError: if only a browser can download it, with the page; or if ``mirror`` is not a
                web address.
        """
        if mirror is not None:
            if not _is_web_address(mirror):
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
                f"{self.name}: it can be downloaded only in a browser",
                argument="mirror",
                hint=f"open {self.page} and save it as {self.file}, or name a mirror",
            )
        raise InputError(
            f"{self.name}: {self.note}",
            argument="mirror",
            hint="if another server has it, name that as mirror",
        )

    def fetch(
        self,
        folder: str | Path,
        *,
        mirror: str | None = None,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> Download:
        """Download it, unless it is already present.

        Args:
            folder: the folder to save it in.
            mirror: as for ``addresses``.
            sha256: 64 hexadecimal digits that the file must have, instead of the published
                checksum.
            progress: called with the number of bytes so far and in total.

        Raises:
            InputError: as ``addresses`` and ``download``.
            DownloadError: as ``download``.
        """
        expected = self.expected
        if sha256 is not None:
            expected = replace(expected, checksums={"sha256": (sha256,)})
        return download(self.addresses(mirror), Path(folder, self.file), expected, progress)


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # such as http://[
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


@cache
def official_files() -> Mapping[str, OfficialFile]:
    """Return all rows of the table by name.

    Example:
        >>> official_files()["yolov4-tiny"].kind
        'detector'
    """
    text = resources.files("darknet_builder.weights").joinpath(_TABLE).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    # QUOTE_NONE, because a quotation mark in a note stands for itself.
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
    """Return the row with a name or a file name.

    Raises:
        InputError: for an unknown name, with the nearest known one.

    Example:
        >>> find_official("yolov4-tiny.weights").cfg
        'yolov4-tiny.cfg'
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


def recognize_official(
    cfg: str | Path, weights: str | Path | None, *, by_name: bool = False
) -> OfficialFile | None:
    """Return the row of an official model: the cfg's file name, and a checksum of its weights.

    Args:
        cfg: path or name of the cfg.
        weights: path of the ``.weights`` file; None for a model file.
        by_name: whether the file name of weights without a known checksum is enough, because a
            model's name found them.

    Example:
        >>> recognize_official("cfg/shapes.cfg", "weights/shapes.weights") is None
        True
    """
    path = find_by_name(cfg, ".cfg")
    entry = official_files().get(path.stem)
    if entry is None or weights is None or entry.cfg != path.name:
        return None
    if not entry.expected.strongest_checksum:
        return entry if by_name and Path(weights).name == entry.file else None
    return entry if entry.expected.is_known(Path(weights)) else None
