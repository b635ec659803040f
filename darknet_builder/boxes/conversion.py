"""Convert ``Detections`` for COCO, supervision and pandas; its methods call these functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from darknet_builder.support.extras import load_extra

if TYPE_CHECKING:
    from darknet_builder.boxes.detections import Detections

CORNERS = ("x1", "y1", "x2", "y2")


def coco_annotations(detections: Detections, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Return COCO annotations of one image.

    Args:
        detections: objects whose boxes lie within the image.
        image_id: id of the image among ``images``.
        first_id: id of the first annotation; the others are numbered after it.
    """
    annotations: list[dict[str, Any]] = []
    for number, (class_id, _, score, (left, top, right, bottom)) in enumerate(
        detections.rows(), first_id
    ):
        box = (left, top, right - left, bottom - top)
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": class_id,
                "bbox": [round(value, 2) for value in box],
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "score": round(score, 5),
            }
        )
    for annotation, track in zip(annotations, detections.tracks(), strict=True):
        if track is not None:
            annotation["track_id"] = track
    return annotations


def supervision_detections(detections: Detections) -> Any:
    """Return ``supervision.Detections``, with the names as ``data["class_name"]``.

    Raises:
        MissingExtraError: if supervision is not installed.
    """
    supervision = load_extra("supervision", "supervision")
    track_ids = detections.track_ids
    return supervision.Detections(
        xyxy=detections.boxes_xyxy.copy(),
        confidence=detections.scores.copy(),
        class_id=detections.class_ids.copy(),
        tracker_id=None if track_ids is None else track_ids.copy(),
        data={"class_name": np.array(detections.labels, np.str_)},
    )


def pandas_table(detections: Detections) -> Any:
    """Return a ``pandas.DataFrame`` with one row per object.

    Raises:
        MissingExtraError: if pandas is not installed.
    """
    pandas = load_extra("pandas", "pandas")
    columns: dict[str, Any] = {
        "class_id": detections.class_ids,
        "name": np.array(detections.labels, object),
        "score": detections.scores,
        **dict(zip(CORNERS, detections.boxes_xyxy.T, strict=True)),
    }
    if detections.track_ids is not None:
        columns["track"] = pandas.array(detections.tracks(), "Int64")
    return pandas.DataFrame(columns)
