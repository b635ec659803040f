"""Save a checked data set as an HTML gallery, with filters for classes and for what is odd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from darknet_builder.boxes.formats import cxcywh_to_xyxy
from darknet_builder.data.sets.check import DataCheck
from darknet_builder.data.sets.findings import LEVELS, DataFinding
from darknet_builder.data.sets.listed import ListedImage
from darknet_builder.errors import ImageError
from darknet_builder.images.files import read_image
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.pages.detections_page import class_chip, class_css, picture_uri
from darknet_builder.pages.templates import fill, html_text, read_part, theme_css
from darknet_builder.support.files import write_text, writing

MOST_PICTURES = 200
"""Number of pictures on a page, unless another one is given: about 10 MB."""
_MAX_SIDE = 480
"""Length of a picture's longer side in pixels, so that hundreds of them fit a page."""


def dataset_page(found: DataCheck, *, most_pictures: int = MOST_PICTURES) -> str:
    """Return the page as text.

    Pictures about which something is odd come first; the others are taken at equal distances from
    the lists.

    Args:
        found: the result of ``check_data``.
        most_pictures: number of pictures to show, 0 or more.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> from darknet_builder.data.sets import check_data
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = dataset_page(check_data(write_scenes(folder, {"train": 3})))
        >>> page.count("<figure")
        3
    """
    about: dict[tuple[str | None, Path | None], list[DataFinding]] = {}
    for finding in found.findings:
        about.setdefault((finding.split, finding.image), []).append(finding)
    chosen = _choose(found.images, set(about), most_pictures)
    shown = {(image.split, image.path) for image in chosen}
    figures = [
        _figure(image, found.names, about.get((image.split, image.path), [])) for image in chosen
    ]
    others = [one for one in found.findings if (one.split, one.image) not in shown]
    class_ids = sorted({int(number) for image in chosen for number in image.boxes[:, 4]})
    style = [theme_css(), *map(read_part, ("base.css", "report.css", "dataset.css"))]
    return fill(
        "dataset.html",
        title=html_text(found.path.name),
        style="\n".join([*style, class_css(class_ids)]),
        classes="".join(class_chip(number, found.names[number]) for number in class_ids),
        kinds="".join(_kind_chips(found)),
        splits="".join(_split_chips(found)),
        findings="".join(f"<li>{_finding(one)}</li>" for one in others),
        others=str(len(others)),
        images=str(len(found.images)),
        figures="\n".join(figures),
        script=f"{read_part('labels.js')}\n{read_part('dataset.js')}",
    )


def save_dataset_page(
    found: DataCheck, path: str | Path, *, most_pictures: int = MOST_PICTURES
) -> None:
    """Write the page, completely or not at all; its arguments are those of ``dataset_page``.

    Raises:
        InputError: if the file cannot be written.
    """
    text = dataset_page(found, most_pictures=most_pictures)
    with writing(path):
        write_text(path, text)


def _choose(
    images: Sequence[ListedImage], odd: set[tuple[str | None, Path | None]], count: int
) -> list[ListedImage]:
    """Return the odd images, and others at equal distances."""
    first = [image for image in images if (image.split, image.path) in odd][:count]
    rest = [image for image in images if (image.split, image.path) not in odd]
    wanted = min(count - len(first), len(rest))
    return first + [rest[index * len(rest) // wanted] for index in range(wanted)]


def _kind_chips(found: DataCheck) -> Iterator[str]:
    """Yield a button for each kind of finding, which filters the pictures."""
    for kind, count in found.counts().items():
        yield (
            f'<button class="chip {LEVELS[kind]}" data-kind="{html_text(kind)}"'
            f' aria-pressed="false">{html_text(kind)} <b>{count}</b></button>'
        )


def _split_chips(found: DataCheck) -> Iterator[str]:
    for split, count in found.statistics.images.items():
        yield (
            f'<button class="chip" data-split="{html_text(split)}" aria-pressed="true">'
            f"{html_text(split)} <b>{count}</b></button>"
        )


def _finding(finding: DataFinding) -> str:
    return f'<span class="{finding.level}">{html_text(finding.kind)}</span> {html_text(finding)}'


def _figure(image: ListedImage, names: Sequence[str], findings: Sequence[DataFinding]) -> str:
    """Return the HTML of one picture with its boxes and findings."""
    name = html_text(image.path.name)
    picture, width, height = "", 4, 3
    try:
        with noting_truncated(quietly=True):
            pixels = read_image(image.path)
    except ImageError:
        pass  # it has a finding that says so
    else:
        height, width = pixels.shape[:2]
        picture = f'<img src="{picture_uri(pixels, _MAX_SIDE)}" alt="{name}" loading="lazy">'
    boxes = "".join(_boxes(image, names, width, height))
    kinds = html_text("|".join(dict.fromkeys(one.kind for one in findings)))
    lines = "".join(f"<li>{_finding(one)}</li>" for one in findings)
    return (
        f'<figure style="--ratio:{width / height:.4f}" data-kinds="{kinds}"'
        f' data-split="{html_text(image.split)}"><div class="picture"'
        f' style="aspect-ratio:{width}/{height}">{picture}<svg viewBox="0 0 {width} {height}">'
        f'{boxes}</svg></div><figcaption><b title="{html_text(image.path)}">{name}</b>'
        f" <span></span><ul>{lines}</ul></figcaption></figure>"
    )


def _boxes(image: ListedImage, names: Sequence[str], width: int, height: int) -> Iterator[str]:
    """Yield the SVG of each box, large ones first: later ones are drawn on top."""
    order = (-image.boxes[:, 2] * image.boxes[:, 3]).argsort(kind="stable")
    corners = cxcywh_to_xyxy(image.boxes[order, :4]) * (width, height, width, height)
    for (left, top, right, bottom), number in zip(corners, image.boxes[order, 4], strict=True):
        label = html_text(names[int(number)])
        yield (
            f'<g class="box class-{int(number)}" data-class="{int(number)}">'
            f'<title>{label}</title><rect class="edge" x="{left:.2f}" y="{top:.2f}"'
            f' width="{right - left:.2f}" height="{bottom - top:.2f}"/><rect class="plate"/>'
            f'<text x="{left:.2f}" y="{top:.2f}">{label}</text></g>'
        )
