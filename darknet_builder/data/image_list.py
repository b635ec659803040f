"""Read the text files of a data set line by line, and find the images that a list names."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from darknet_builder.errors import DataError, shorten
from darknet_builder.support.files import read_bounded
from darknet_builder.support.web.remote import FilePath, RemoteFile, file_at, is_address

_MOST_BYTES = 2**29
"""Bytes of a list or another text file of a data set; this is some ten million images."""
_LONGEST_PATH = 1024
"""Letters of the longest path that macOS takes; longer ones are rare on other systems too."""
_CVAT_FOLDER = "data/"
"""CVAT writes paths as if its archive were in a folder of this name."""
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def numbered_lines(
    path: str | FilePath, kind: str, most_bytes: int = _MOST_BYTES
) -> Iterator[tuple[int, str]]:
    """Yield the number and the stripped text of each line that is not blank.

    Args:
        path: the file, in UTF-8.
        kind: noun phrase that completes the error for a binary file, such as ``a label file``.
        most_bytes: the limit of its size.

    Raises:
        DataError: for a file that cannot be read, is too large or is not UTF-8 text.
    """
    try:
        text = read_bounded(path, most_bytes).decode("utf-8-sig")
    except OSError as error:
        hint = f"expected {kind}" if isinstance(error, IsADirectoryError) else None
        raise DataError(f"{error.strerror or error}", path=path, hint=hint) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", path=path, hint=f"expected {kind}") from None
    # Not splitlines, which also splits at form feeds and so counts other lines than an editor. One
    # line at a time: half a gigabyte of line breaks would be a list of 30 GB.
    yield from filled_lines(io.StringIO(text, newline=None))


def filled_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the number and the stripped text of each line that is not blank.

    Args:
        lines: an open text file, or the lines themselves.

    Example:
        >>> list(filled_lines(["a.jpg", "", " b.jpg "]))
        [(1, 'a.jpg'), (3, 'b.jpg')]
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.strip()


def either(paths: Sequence[FilePath]) -> str:
    """Join the paths at which a file was looked for, without repeats, for a message."""
    return " and ".join(dict.fromkeys(map(str, paths)))


def candidate_paths(name: str, folder: FilePath) -> Iterator[FilePath]:
    """Yield the paths at which to look for a file that a text file names, in the order of search.

    They are in the text file's folder, in the folder above that, and in the working directory. The
    same follows with slashes instead of backslashes, and last, for CVAT's ``data/NAME``, NAME in
    the text file's folder. For a text file at an address, only its folder and the one above it are
    searched. A name that is an address is the only candidate.

    Args:
        name: the name in the text file.
        folder: the folder of the text file.
    """
    if is_address(name):
        yield file_at(name)
        return
    if isinstance(folder, RemoteFile):
        yield from (folder / name, folder.parent / name)
        return
    names = dict.fromkeys((name, name.replace("\\", "/")))
    for spelling in names:
        yield from (folder / spelling, folder.parent / spelling, Path(spelling))
    for spelling in names:
        if spelling.startswith(_CVAT_FOLDER):
            yield folder / spelling.removeprefix(_CVAT_FOLDER)


def first_existing(name: str, folder: FilePath) -> FilePath | None:
    """Return the first of ``candidate_paths`` that is a file, or None.

    A name that is an address is not looked for: it is found missing when it is read.
    """
    if is_address(name):
        return file_at(name)
    return next((path for path in candidate_paths(name, folder) if is_file(path)), None)


def is_file(path: FilePath) -> bool:
    """Return whether a file exists.

    Raises:
        DataError: if the server of an address does not say.
    """
    if isinstance(path, Path):
        return os.path.isfile(path)  # not Path.is_file, which raises for a name that is too long
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path.name) from None


def cure_for(name: str) -> str | None:
    """Return a hint for a file that was not found, or None."""
    if _WINDOWS_DRIVE.match(name):
        return "it is on a drive of a Windows machine; write paths relative to the file with them"
    return None


def read_image_list(path: str | FilePath, *, keep_missing: bool = False) -> list[Path]:
    """Return the images that a list names, one a line.

    They are looked for in the list's folder, in the folder above that, and in the working
    directory.

    Args:
        path: path of the list.
        keep_missing: return the path in the list's folder for an image that does not exist; False
            raises.

    Raises:
        DataError: for a list that cannot be read or is empty, or when images are missing. It names
            the first one and the number of them. Also for an image at an address.
    """
    return [image for _, _, image in list_images(path, keep_missing=keep_missing)]


def list_images(path: str | FilePath, *, keep_missing: bool = False) -> list[tuple[int, str, Path]]:
    """Return (line number, text of the line, path) for each image that a list names.

    Args:
        path: path of the list.
        keep_missing: return the path in the list's folder for a missing image; False raises.

    Raises:
        DataError: as for ``read_image_list``.
    """
    images: list[tuple[int, str, Path]] = []
    for number, line, image in locate_images(path, keep_missing=keep_missing):
        if isinstance(image, RemoteFile):
            text = f"{image} is an address; expected files of this machine here"
            raise DataError(text, path=path, line=number)
        images.append((number, line, image))
    return images


def locate_images(
    path: str | FilePath, *, keep_missing: bool = False
) -> list[tuple[int, str, FilePath]]:
    """Return what ``list_images`` does; images may also be at addresses, which are not checked.

    Args:
        path: path or address of the list.
        keep_missing: return the path in the list's folder for a missing image; False raises.

    Raises:
        DataError: as for ``read_image_list``, but for addresses.
    """
    folder = file_at(path).parent
    images: list[tuple[int, str, FilePath]] = []
    missing: list[tuple[int, str]] = []
    for number, line in numbered_lines(path, "a list of images"):
        image = first_existing(line, folder) or (folder / line if keep_missing else None)
        if image is None:
            missing.append((number, line))
        else:
            images.append((number, line, image))
    # Read to the end first: the number of missing images tells a typo from a wrong folder.
    if missing:
        number, line = missing[0]
        others = ""
        if len(missing) > 1:
            others = f"; {len(missing)} of its {len(missing) + len(images)} images are missing"
        # A path that no file system has is some other text, and is not quoted three times.
        is_path = len(line) <= _LONGEST_PATH
        tried = f"; looked for {either(list(candidate_paths(line, folder)))}" if is_path else ""
        raise DataError(
            f"{line if is_path else shorten(line)}: no such image{tried}{others}",
            path=path,
            line=number,
            hint=cure_for(line),
        )
    if not images:
        raise DataError("names no images", path=path, hint="expected one path a line")
    return images
