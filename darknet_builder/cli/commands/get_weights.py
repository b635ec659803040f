"""Download official weights and check them: ``darknet-builder get-weights``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from darknet_builder.cli.arguments import add_json
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.cli.progress import download_bar
from darknet_builder.errors import InputError
from darknet_builder.support.text import align_columns, plural

if TYPE_CHECKING:
    from darknet_builder.weights.downloads import Download
    from darknet_builder.weights.official import OfficialFile

HELP = "download official weights and check them"
EXAMPLES = """\
A download is written to FILE.part and renamed when its size and checksum are right. To resume an
interrupted download, repeat the command. Some files have no published checksum; for these, only the
size is checked, and the output says so.

The option --model NAME of other commands finds files in the folder weights.

examples:
  darknet-builder get-weights --list
  darknet-builder get-weights yolov4-tiny
  darknet-builder get-weights yolov3 darknet53.conv.74 --output weights
  darknet-builder get-weights yolov7 --mirror https://example.org/darknet
"""
OPTIONS = {"name": "--list shows all"}
"""Hints that are shown for a wrong library argument, by argument."""
_COLUMNS = ("name", "kind", "bytes", "checksum", "from", "cfg")
_WORDS = ("name", "kind", "checksum", "from", "cfg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name of a network or of a weights file"
    )
    parser.add_argument(
        "--list", action="store_true", help="list all available weights, or those of NAME, and exit"
    )
    parser.add_argument(
        "--output", metavar="DIR", default="weights", help="output folder (default: %(default)s)"
    )
    parser.add_argument(
        "--mirror", metavar="URL", help="download URL/FILE instead of the official address"
    )
    parser.add_argument(
        "--sha256",
        metavar="HEX",
        type=_sha256,
        help="SHA-256 that the file must have, for a single NAME; known ones are compared anyway",
    )
    add_json(parser, "the list, or an entry for each downloaded file,")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the list of weights, or download some and write one line for each file."""
    from darknet_builder.weights.official import find_official, official_files

    check_answer(args.json)
    entries = [find_official(name) for name in dict.fromkeys(args.names)]
    if args.list:
        shown = entries or list(official_files().values())
        write_json(args.json, [_entry_data(entry) for entry in shown], out)
        if args.json != STDOUT:
            out.write(_table(shown))
        return 0
    if not entries:
        raise InputError("no weights named; give a NAME (--list shows all)")
    if args.sha256 and len(entries) > 1:
        raise InputError("--sha256: applies to one file; give a single NAME")
    for entry in entries:
        entry.addresses(args.mirror)  # before any download, so that mistakes are reported at once
    done: list[dict[str, Any]] = []
    for entry in entries:
        with download_bar(entry.file) as progress:
            result = entry.fetch(
                args.output, mirror=args.mirror, sha256=args.sha256, progress=progress
            )
        done.append(asdict(result) | {"name": entry.name, "path": str(result.path)})
        if args.json != STDOUT:
            out.write(f"{_line(result)}next: darknet-builder {_next(entry, result.path)}\n")
    write_json(args.json, done, out)
    return 0


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text}: expected 64 hexadecimal digits")
    return text.lower()


def _line(result: Download) -> str:
    checked = (
        f"{result.checksum} matches"
        if result.checksum
        else "no checksum is published, only the size was checked; to require this file another"
        f" time, give --sha256 {result.sha256}"
    )
    present = "" if result.fetched else "already present, "
    return f"{result.path}: {present}{result.size:,} bytes, {checked}\n"


def _next(entry: OfficialFile, path: Path) -> str:
    """Return the command that uses a downloaded file, without the program's name."""
    from darknet_builder.weights.models import is_found_by_name, names_of, official_weights

    stem = Path(entry.cfg).stem
    if entry.kind == "cutoff":
        return f"train {stem} {path} --data my.data"
    command = "classify" if entry.kind == "classifier" else "detect"
    if official_weights(stem) != entry:
        return f"{command} photo.jpg --cfg {entry.cfg} --weights {path}"
    if is_found_by_name(path):
        return f"{command} photo.jpg --model {stem}"
    names = names_of(stem)
    known = f" --names {names.stem}" if names is not None else ""
    return f"{command} photo.jpg --cfg {stem} --weights {path}{known}"


# ---- the list ------------------------------------------------------------------------------------


def _table(entries: list[OfficialFile]) -> str:
    lines = align_columns([_COLUMNS, *map(_row, entries)], left=_WORDS)
    notes = [f"{entry.name}: {note}" for entry in entries for note in _notes(entry)]
    return "\n".join([*lines, f"{len(entries)} {plural(len(entries), 'file')}", *notes]) + "\n"


def _row(entry: OfficialFile) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    source = (
        urlsplit(entry.urls[0]).netloc
        if entry.urls
        else "browser only"
        if entry.page
        else "unavailable"
    )
    return (
        entry.name,
        entry.kind,
        f"{entry.expected.sizes[0]:,}",
        entry.expected.strongest_checksum or "none",
        source,
        entry.cfg,
    )


def _notes(entry: OfficialFile) -> Iterator[str]:
    if entry.file not in (entry.name, f"{entry.name}.weights"):
        yield f"file name {entry.file}"
    if entry.note:
        yield entry.note


def _entry_data(entry: OfficialFile) -> dict[str, Any]:
    return asdict(entry) | {"sizes": entry.expected.sizes}
