"""Find the sources of ``detect``: words of the command line, lists of paths, standard input."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from darknet_builder.data.image_list import filled_lines, numbered_lines
from darknet_builder.errors import DataError, InputError
from darknet_builder.images.sources.finding import (
    Source,
    find_inputs,
    find_listed,
    without_repeats,
)
from darknet_builder.images.sources.live import LiveSource
from darknet_builder.support.web.remote import file_at

_STDIN = "-"
_LIST = "@"


def find_all(words: Sequence[str], open_live: Callable[[str], LiveSource]) -> list[Source]:
    """Return what the words name, each source once.

    ``@FILE`` is a list with one path or address a line, ``-`` the same on standard input. Their
    paths are taken as they are: one that does not exist is reported when it is read.

    Args:
        words: files, folders, globs, addresses, numbers of webcams and lists.
        open_live: makes a live source of an address or a number.

    Raises:
        DarknetError: if a word names nothing, or a list cannot be read or is empty.
    """
    return without_repeats(source for word in words for source in _find(word, open_live))


def _find(word: str, open_live: Callable[[str], LiveSource]) -> Iterable[Source]:
    if word == _STDIN:
        lines, name = filled_lines(_standard_input()), "standard input"
    elif word.startswith(_LIST) and not os.path.exists(word):
        path = file_at(word[1:])
        lines, name = numbered_lines(path, "a list of images"), str(path)
    else:
        return find_inputs(word, open_live)
    sources = [source for _, line in lines for source in find_listed(line, open_live)]
    if not sources:
        raise DataError("names no images", path=name, hint="expected one path a line")
    return sources


def _standard_input() -> Iterator[str]:
    if sys.stdin is None:
        raise InputError("standard input is closed")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # names of files are bytes
    yield from sys.stdin
