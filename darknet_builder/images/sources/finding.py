"""Find what a command line names: files, folders, globs, addresses and webcams."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from darknet_builder.errors import InputError
from darknet_builder.images.files import IMAGE_SUFFIXES
from darknet_builder.images.sources.connection import STREAM_SCHEMES
from darknet_builder.images.sources.live import LiveSource
from darknet_builder.images.sources.web import WebImage
from darknet_builder.images.video import VIDEO_SUFFIXES
from darknet_builder.support.web.addresses import last_part, scheme_of
from darknet_builder.support.web.remote import STORES, check_installed, find_members

Source: TypeAlias = Path | WebImage | LiveSource
"""An image or video file, an image at an address, or a webcam or stream."""
AnySource = TypeVar("AnySource", bound=Source)


def find_sources(words: Iterable[str]) -> list[Path]:
    """Return the files that the words name, each once; folders and globs are sorted by name.

    A folder stands for its images and videos, without subfolders and hidden files. A file is taken
    whatever its suffix is.

    Args:
        words: paths of files or folders, or globs (``**`` includes subfolders).

    Raises:
        InputError: if a word names no file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.jpg", "a.png", "notes.txt"):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in find_sources([folder])]
        ['a.png', 'b.jpg']
    """
    return without_repeats(path for word in words for path in _find(word))


def find_inputs(word: str, open_live: Callable[[str], LiveSource] = LiveSource) -> list[Source]:
    """Return the files that a word names, or the images, the stream or the webcam.

    A number is a webcam, unless a file has this name. An http address whose path ends like an image
    file is an image; all others are streams. In an object store or an archive, a folder and a
    pattern stand for their images.

    Args:
        word: a path, a glob, an address or a number.
        open_live: makes a live source of an address or a number.

    Raises:
        InputError: if the word names nothing.

    Example:
        >>> print(*find_inputs("https://a.org/photo.jpg"), *find_inputs("rtsp://camera/1"))
        https://a.org/photo.jpg rtsp://camera/1
    """
    if word.isascii() and word.isdecimal() and not os.path.exists(word):
        return [open_live(word)]
    if scheme_of(word) in STORES:
        return list(_find_stored(word))
    source = find_address(word, open_live)
    return list(find_sources([word])) if source is None else [source]


def find_listed(word: str, open_live: Callable[[str], LiveSource] = LiveSource) -> list[Source]:
    """Return the sources that a line of a list names.

    A path or an address is taken as it is, without a check; only a pattern in an object store or
    an archive is looked up. If that fails, the pattern itself is returned, which cannot be read.

    Args:
        word: a path or an address.
        open_live: makes a live source of an address.
    """
    if scheme_of(word) not in STORES:
        return [find_address(word, open_live) or Path(word)]
    check_installed(word)
    if "*" in word:
        with suppress(InputError):
            return list(_find_stored(word))
    return [WebImage(word)]


def find_address(word: str, open_live: Callable[[str], LiveSource]) -> WebImage | LiveSource | None:
    """Return the image or the stream at an http or rtsp address; None for any other word.

    Args:
        word: a path or an address.
        open_live: makes a live source of an address.
    """
    scheme = scheme_of(word)
    if scheme not in STREAM_SCHEMES:
        return None
    suffix = os.path.splitext(last_part(word))[1].lower()
    is_image = scheme.startswith("http") and suffix in IMAGE_SUFFIXES
    return WebImage(word) if is_image else open_live(word)


def without_repeats(sources: Iterable[AnySource]) -> list[AnySource]:
    """Return each source once. Two links to one file are two sources: they have two names."""
    different: dict[str, AnySource] = {}
    for source in sources:
        # The whole address: two may differ in what is not shown.
        key = source.url if isinstance(source, WebImage) else str(source)
        if isinstance(source, Path):
            key = os.path.abspath(source)
        different.setdefault(key, source)
    return list(different.values())


def is_video(source: Source) -> bool:
    """Return whether a source has frames: a live one, or a path with the suffix of a video."""
    if isinstance(source, Path):
        return source.suffix.lower() in VIDEO_SUFFIXES
    return isinstance(source, LiveSource)


def _find_stored(word: str) -> Iterable[WebImage]:
    """Return the image, or the images of a folder or a pattern, in a store or an archive."""
    image = WebImage(word)
    try:
        if "*" not in word and image.is_file():
            return [image]
        found = [WebImage(member.url) for member in find_members(word)]
    except OSError as error:
        raise InputError(f"{error.strerror or error}", path=image.name) from None
    images = [member for member in found if member.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise InputError("no image there", path=image.name)
    return images


def _find(word: str) -> list[Path]:
    if not word:
        raise InputError("a source is empty; expected an image, a video, a folder or a glob")
    # os.path and not Path, whose tests raise for a name that is too long.
    path = Path(word)
    if os.path.isdir(path):
        return _media(path.iterdir(), f"{word}: no image or video in this folder")
    if os.path.exists(path):  # before the glob: a name such as [x].jpg is a pattern as well
        return [path]
    if glob.has_magic(word):
        matches = map(Path, glob.glob(word, recursive=True))
        return _media(matches, f"{word}: matches no image or video")
    raise InputError(f"{word}: no such file or folder")


def _media(paths: Iterable[Path], complaint: str) -> list[Path]:
    media = sorted(
        path
        for path in paths
        if os.path.isfile(path)
        and not path.name.startswith(".")
        and path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES
    )
    if not media:
        raise InputError(complaint)
    return media
