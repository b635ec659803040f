"""Lists of images: text files with one path a line."""

from __future__ import annotations

from pathlib import Path

from darknet_builder.data.lines import cure_for, either, find_place, numbered_lines, places_of
from darknet_builder.errors import DataError


def read_image_list(path: str | Path, *, keep_missing: bool = False) -> list[Path]:
    """The images that a list names, one a line, looked for beside the list, beside its folder and
    in the working directory.

    Args:
        path: of the list.
        keep_missing: return the path beside the list for an image that is in none of these places,
            instead of raising.

    Raises:
        DataError: for a list that cannot be read or is empty; located, with a count, when images
            are missing.
    """
    return [image for _, _, image in list_images(path, keep_missing=keep_missing)]


def list_images(path: str | Path, *, keep_missing: bool = False) -> list[tuple[int, str, Path]]:
    """The images that a list names, with number and text of their lines.

    Args:
        path: of the list.
        keep_missing: as for ``read_image_list``.

    Raises:
        DataError: as for ``read_image_list``.
    """
    folder = Path(path).parent
    images: list[tuple[int, str, Path]] = []
    missing: list[tuple[int, str]] = []
    for number, line in numbered_lines(path, "a list of images"):
        found = find_place(line, folder) or (folder / line if keep_missing else None)
        if found is None:
            missing.append((number, line))
        else:
            images.append((number, line, found))
    if missing:
        number, line = missing[0]
        others = (
            f"; {len(missing)} of its {len(missing) + len(images)} images are missing"
            if missing[1:]
            else ""
        )
        raise DataError(
            f"{line}: no such image; looked for {either(list(places_of(line, folder)))}{others}",
            path=path,
            line=number,
            hint=cure_for(line),
        )
    if not images:
        raise DataError("names no images", path=path, hint="expected one path a line")
    return images
