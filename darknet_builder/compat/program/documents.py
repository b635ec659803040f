"""Files of boxes that the ``darknet`` program writes: its JSON, COCO's results, VOC's lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from darknet_builder.compat.program.boxes import ListedBoxes
from darknet_builder.errors import InputError
from darknet_builder.evaluation.coco.results import (
    COCO_IDS,
    clipped_corners,
    result_rows,
    results_text,
)

_JSON_THRESHOLD = np.float32(0.005)
"""Minimum score of an object in the JSON, whatever ``-thresh`` is (network.c:1017)."""


def image_object(number: int, listed: ListedBoxes, path: str | None) -> str:
    r"""Return the JSON object of one image (detection_to_json, network.c:1015).

    Args:
        number: number of the image or frame, counted from 1.
        listed: the boxes of the image.
        path: path of the image; None leaves it out, as for frames of a video.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.25, 0.25]], np.float32)
        >>> listed = ListedBoxes(boxes, np.array([[0.75]], np.float32), ("cat",), (640, 480))
        >>> json.loads(image_object(1, listed, "a.jpg"))["objects"][0]["confidence"]
        0.75
    """
    objects = []
    shown = listed.shown_classes()
    for row, class_id in np.argwhere((listed.scores > _JSON_THRESHOLD) & shown).tolist():
        x, y, width, height = listed.boxes_cxcywh[row].tolist()
        # Darknet does not escape names: a quotation mark in a name would end the text.
        name = json.dumps(listed.names[class_id], ensure_ascii=False)
        objects.append(
            f'  {{"class_id":{class_id}, "name":{name}, "relative_coordinates":'
            f'{{"center_x":{x:f}, "center_y":{y:f}, "width":{width:f}, "height":{height:f}}},'
            f' "confidence":{listed.scores[row, class_id]:f}}}'
        )
    named = "" if path is None else f' "filename":{json.dumps(path, ensure_ascii=False)}, \n'
    listing = ", \n".join(objects)
    return f'{{\n "frame_id":{number}, \n{named} "objects": [ \n{listing}\n ] \n}}'


def json_document(objects: Sequence[str]) -> str:
    """Return the file of ``-out``: the objects of all images in one list.

    Example:
        >>> json.loads(json_document([]))
        []
    """
    return "[\n" + ", \n".join(objects) + "\n]"


def coco_results(images: Iterable[tuple[str, ListedBoxes]]) -> str:
    """Return COCO's results file, as ``detector valid`` writes it with ``eval=coco``.

    An image's id is the number at the beginning of its file name, or 0 without one. Boxes are cut
    off at the image's edges.

    Args:
        images: path and boxes of each image.

    Raises:
        InputError: for more classes than COCO's 80.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.25, 0.25]], np.float32)
        >>> listed = ListedBoxes(boxes, np.array([[0.75]], np.float32), ("cat",), (640, 480))
        >>> json.loads(coco_results([("42.jpg", listed)]))[0]["image_id"]
        42
    """
    rows: list[str] = []
    for path, listed in images:
        if len(listed.names) > len(COCO_IDS):
            raise InputError(
                f"eval=coco: COCO has {len(COCO_IDS)} classes, and the network {len(listed.names)}"
            )
        boxes, class_ids = np.nonzero(listed.scores)
        rows += result_rows(
            listed.boxes_cxcywh[boxes],
            listed.scores[boxes, class_ids],
            class_ids,
            image_id=_leading_number(base_name(path)),
            image_size=listed.image_size,
        )
    return results_text(rows)


def voc_lists(images: Iterable[tuple[str, ListedBoxes]], num_classes: int) -> list[str]:
    r"""Return the text of each class: a line ``image score left top right bottom`` for each box.

    Pixels are counted from 1, as Pascal VOC does (print_detector_detections, detector.c:499).

    Args:
        images: path and boxes of each image.
        num_classes: number of classes and of texts.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.25, 0.25]], np.float32)
        >>> listed = ListedBoxes(boxes, np.array([[0.75]], np.float32), ("cat",), (640, 480))
        >>> voc_lists([("a.jpg", listed)], 1)
        ['a 0.750000 241.000000 181.000000 401.000000 301.000000\n']
    """
    lines: list[list[str]] = [[] for _ in range(num_classes)]
    for path, listed in images:
        low, high = clipped_corners(listed.boxes_cxcywh, listed.image_size, shift=1)
        for row, class_id in np.argwhere(listed.scores).tolist():
            numbers = (listed.scores[row, class_id], *low[row], *high[row])
            values = " ".join(f"{value:f}" for value in numbers)
            lines[class_id].append(f"{base_name(path)} {values}\n")
    return ["".join(texts) for texts in lines]


def label_lines(listed: ListedBoxes) -> str:
    r"""Return the label file of ``-save_labels``: the best class of each box (detector.c:1725).

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.25, 0.25]], np.float32)
        >>> label_lines(ListedBoxes(boxes, np.array([[0.75]]), ("cat",), (640, 480)))
        '0 0.5000 0.5000 0.2500 0.2500\n'
    """
    lines = []
    for box, scores in zip(listed.boxes_cxcywh.tolist(), listed.scores, strict=True):
        values = " ".join(f"{value:.4f}" for value in box)
        lines.append(f"{scores.argmax()} {values}\n")
    return "".join(lines)


def base_name(path: str) -> str:
    """Return a file name up to its first dot (basecfg, utils.c:171).

    Example:
        >>> base_name("photos/a.b.jpg")
        'a'
    """
    return Path(path).name.partition(".")[0]


def _leading_number(text: str) -> int:
    """Return the number at the beginning of a text, as C's ``atoi`` does."""
    digits = len(text) - len(text.lstrip("0123456789"))
    return int(text[:digits] or 0)
