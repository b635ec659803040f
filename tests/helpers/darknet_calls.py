"""Calls of ``darknet.py`` whose results were recorded from AlexeyAB's own (CPU) library.

``golden/darknet_py.json`` is ``results(darknet, folder)`` of that module, for the bundled detector
and three of the scenes in docs/images.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
SCENES = ("scene-0", "scene-2", "scene-7")
Row = list[Any]
"""Name, percent as text or probability, box."""


def bundled(darknet: Any, folder: Path, batch: int = 1) -> tuple[Any, list[str], dict[str, Any]]:
    """``load_network`` of the bundled detector, with a ``.data`` file in ``folder``."""
    data = folder / "shapes.data"
    data.write_text(f"classes = 8\nnames = {ROOT}/cfg/shapes.names\n")
    loaded: tuple[Any, list[str], dict[str, Any]] = darknet.load_network(
        f"{ROOT}/cfg/shapes.cfg", str(data), f"{ROOT}/weights/shapes.weights", batch_size=batch
    )
    return loaded


def scene(name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """A scene in RGB, in its own size or another."""
    image = cv2.cvtColor(
        cv2.imread(str(ROOT / f"docs/images/scenes/{name}.jpg")), cv2.COLOR_BGR2RGB
    )
    return image if size is None else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def as_image(darknet: Any, array: np.ndarray) -> Any:
    """An IMAGE of an array (H, W, 3)."""
    image = darknet.make_image(array.shape[1], array.shape[0], 3)
    darknet.copy_image_from_bytes(image, array.tobytes())
    return image


def batch_of(darknet: Any, arrays: list[np.ndarray], width: int, height: int) -> Any:
    """One IMAGE of several arrays, as the older ``darknet_images.py`` makes it."""
    planes = [array.transpose(2, 0, 1) for array in arrays]
    values = np.ascontiguousarray(np.concatenate(planes).flat, np.float32) / np.float32(255)
    float_pointer = ctypes.POINTER(ctypes.c_float)
    return darknet.IMAGE(width, height, 3, values.ctypes.data_as(float_pointer)), values


def results(darknet: Any, folder: Path) -> dict[str, list[Row]]:
    """The results of all calls, rounded."""
    network, names, _ = bundled(darknet, folder, len(SCENES))
    size = darknet.network_width(network), darknet.network_height(network)
    found: dict[str, list[Row]] = {}
    arrays = [scene(name, size) for name in SCENES]
    batch, values = batch_of(darknet, arrays, 640, 480)
    pairs = darknet.network_predict_batch(
        network, batch, len(SCENES), 640, 480, 0.2, 0.5, None, 0, 0
    )
    del values  # until here, because a pointer does not keep its memory alive
    for index, name in enumerate(SCENES):
        num, detections = pairs[index].num, pairs[index].dets
        found[f"{name} batch"] = rows(darknet.remove_negatives(detections, names, num))
        darknet.do_nms_obj(detections, num, len(names), 0.45)
        found[f"{name} batch, suppressed"] = rows(darknet.remove_negatives(detections, names, num))
    for name in SCENES:
        image = as_image(darknet, scene(name))
        for threshold, nms in ((0.25, 0.45), (0.2, 0.45), (0.2, 0.0)):
            detected = darknet.detect_image(network, names, image, threshold, 0.5, nms)
            found[f"{name} detect {threshold} {nms}"] = rows(detected)
        found[f"{name} letterboxed"] = rows(letterboxed(darknet, network, names, image))
    return found


def letterboxed(darknet: Any, network: Any, names: list[str], image: Any) -> list[Any]:
    """Objects of an image with grey around it, relative to the image."""
    darknet.predict_image_letterbox(network, image)
    pointer = ctypes.pointer(ctypes.c_int(0))
    detections = darknet.get_network_boxes(network, image.w, image.h, 0.2, 0.5, None, 1, pointer, 1)
    darknet.do_nms_sort(detections, pointer[0], len(names), 0.45)
    objects: list[Any] = darknet.remove_negatives(detections, names, pointer[0])
    return objects


def rows(predictions: list[Any]) -> list[Row]:
    """Tuples as JSON has them, with boxes to four decimals."""
    return [
        [
            name,
            value if isinstance(value, str) else round(value, 6),
            [round(side, 4) for side in box],
        ]
        for name, value, box in predictions
    ]
