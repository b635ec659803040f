"""``darknet-builder get-weights``: official weights, fetched and checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from darknet_builder.cli.arguments import add_json
from darknet_builder.cli.output import STDOUT, check_answer, write_json
from darknet_builder.errors import InputError
from darknet_builder.support.text import align_columns, plural

if TYPE_CHECKING:
    from darknet_builder.weights.downloads import Download, Progress
    from darknet_builder.weights.official import OfficialFile

HELP = "fetch official weights, checked"
EXAMPLES = """\
A download goes to FILE.part and takes its name when its size and checksum are right; an interrupted one is gone on
from by the same command. Where no checksum was ever published, only the size can be checked, and the answer says so.

exit status: 0 when every file is there and right; 1 when one could not be fetched (network, server, wrong file, full
disk): trying again may help; 2 for a mistake, such as an unknown name.

examples:
  darknet-builder get-weights --list
  darknet-builder get-weights yolov4-tiny
  darknet-builder get-weights yolov3 darknet53.conv.74 --output weights
  darknet-builder get-weights yolov7 --mirror https://example.org/darknet
"""
OPTIONS = {"name": "--list shows all"}
"""What helps where a library argument is wrong."""
_COLUMNS = ("name", "kind", "bytes", "checksum", "from", "cfg")
_WORDS = ("name", "kind", "checksum", "from", "cfg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the weights or of their file")
    parser.add_argument("--list", action="store_true", help="show what there is, and fetch nothing")
    parser.add_argument(
        "--output", metavar="DIR", default="weights", help="where to (default: %(default)s)"
    )
    parser.add_argument(
        "--mirror", metavar="URL", help="fetch URL/FILE instead of the official address"
    )
    add_json(parser, "the list, or what was fetched")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the list, or fetch and say what is where."""
    from darknet_builder.weights.downloads import download
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
        raise InputError("which weights? give a name; --list shows all")
    addresses = [
        entry.addresses(args.mirror) for entry in entries
    ]  # every mistake before the first download
    done: list[dict[str, Any]] = []
    for entry, urls in zip(entries, addresses, strict=True):
        with _progress_bar(entry.file) as progress:
            result = download(urls, f"{args.output}/{entry.file}", entry.expected, progress)
        done.append(asdict(result) | {"name": entry.name, "path": str(result.path)})
        if args.json != STDOUT:
            out.write(_line(result))
    write_json(args.json, done, out)
    return 0


@contextmanager
def _progress_bar(name: str) -> Iterator[Progress | None]:
    """A progress bar on stderr, if that is a terminal and tqdm is installed."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    with tqdm(desc=name, unit="B", unit_scale=True, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _line(result: Download) -> str:
    checked = (
        f"{result.checksum} as published"
        if result.checksum
        else "no checksum was ever published: only the size could be checked"
    )
    there = "" if result.fetched else "was there already, "
    return f"{result.path}: {there}{result.size:,} bytes, {checked}\n"


# ---- the list ------------------------------------------------------------------------------------


def _table(entries: list[OfficialFile]) -> str:
    lines = align_columns([_COLUMNS, *map(_row, entries)], left=_WORDS)
    notes = [f"{entry.name}: {note}" for entry in entries for note in _notes(entry)]
    return "\n".join([*lines, f"{len(entries)} {plural(len(entries), 'file')}", *notes]) + "\n"


def _row(entry: OfficialFile) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    source = (
        urlsplit(entry.urls[0]).netloc if entry.urls else "by browser" if entry.page else "nowhere"
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
        yield f"its file is {entry.file}"
    if entry.note:
        yield entry.note


def _entry_data(entry: OfficialFile) -> dict[str, Any]:
    return asdict(entry) | {"sizes": entry.expected.sizes}
