"""Lists of images: text files with one path a line."""

from __future__ import annotations

from pathlib import Path

from darknet_builder.data.lines import either, numbered_lines
from darknet_builder.errors import DataError


def read_image_list(path: str | Path) -> list[Path]:
    """Return the images that a list names, one a line.

    They are looked for in the list's folder and in the working directory.

    Raises:
        DataError: for a list that cannot be read or is empty, or when images are missing. It names
            the first one and the number of them.
    """
    return [image for _, _, image in list_images(path)]


def list_images(path: str | Path) -> list[tuple[int, str, Path]]:
    """Return (line number, text of the line, path) for each image that a list names.

    Raises:
        DataError: as for ``read_image_list``.
    """
    folder = Path(path).parent
    images: list[tuple[int, str, Path]] = []
    missing: list[tuple[int, str]] = []
    for number, line in numbered_lines(path, "a list of images"):
        candidates = (folder / line, Path(line))
        image = next((path for path in candidates if path.is_file()), None)
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
        raise DataError(
            f"{line}: no such image; looked for {either([folder / line, Path(line)])}{others}",
            path=path,
            line=number,
        )
    if not images:
        raise DataError("names no images", path=path, hint="expected one path a line")
    return images
