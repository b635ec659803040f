"""COCO's annotations: reading them, and the numbers that pycocotools gives for the results file."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darknet_builder.cfg.names import read_names
from darknet_builder.errors import DataError, DataWarning
from darknet_builder.evaluation.coco.annotations import (
    CocoSet,
    load_annotations,
    match_categories,
)
from darknet_builder.evaluation.coco.measure import annotated_average_precision
from darknet_builder.evaluation.coco.results import COCO_IDS, results_text
from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.support.bundled import bundled_file

SIZE = (640, 480)
NAMES = ["cat", "tvmonitor"]
COCO_80 = (
    "person/bicycle/car/motorcycle/airplane/bus/train/truck/boat/traffic light/fire hydrant/"
    "stop sign/parking meter/bench/bird/cat/dog/horse/sheep/cow/elephant/bear/zebra/giraffe/"
    "backpack/umbrella/handbag/tie/suitcase/frisbee/skis/snowboard/sports ball/kite/baseball bat/"
    "baseball glove/skateboard/surfboard/tennis racket/bottle/wine glass/cup/fork/knife/spoon/"
    "bowl/banana/apple/sandwich/orange/broccoli/carrot/hot dog/pizza/donut/cake/chair/couch/"
    "potted plant/bed/dining table/toilet/tv/laptop/mouse/remote/keyboard/cell phone/microwave/"
    "oven/toaster/sink/refrigerator/book/clock/vase/scissors/teddy bear/hair drier/toothbrush"
)
"""The categories of COCO's own files, in the order of their ids, parted by slashes."""


def document() -> dict[str, Any]:
    """Two images: a small and a large cat, a screen, and a crowd of cats."""
    return {
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": 640, "height": 480},
            {"id": 3, "file_name": "a.jpg", "width": 640, "height": 480},
        ],
        "categories": [{"id": 72, "name": "tv"}, {"id": 17, "name": "cat"}],
        "annotations": [
            # A box of 60 x 60 pixels, whose outline is small, as that of a thin thing.
            annotation(7, 17, [100, 100, 60, 60], area=900),
            annotation(7, 17, [300, 100, 200, 200], area=30000, iscrowd=1),
            annotation(3, 72, [10, 20, 200, 100], area=20000),
            annotation(3, 17, [300, 200, 50, 50], area=2500),
        ],
    }


def annotation(image_id: int, category_id: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


Load = Callable[..., CocoSet]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a document and empty images, and loads it."""

    def run(content: Any = None, **options: Any) -> CocoSet:
        path, content = tmp_path / "instances.json", document() if content is None else content
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        for name in "ab":
            (tmp_path / f"{name}.jpg").write_bytes(b"")
        return load_annotations(
            path, tmp_path, **{"names": NAMES, "classes": len(NAMES), **options}
        )

    return run


def found(rows: list[tuple[float, int, list[float]]], truth: np.ndarray) -> ImageBoxes:
    """Detections from rows of score, class and left, top, width, height in pixels."""
    scores, class_ids, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    pixels = np.array(boxes, np.float64).reshape(-1, 4)
    boxes_cxcywh = np.concatenate((pixels[:, :2] + pixels[:, 2:] / 2, pixels[:, 2:]), 1)
    return ImageBoxes(
        (boxes_cxcywh / np.array(SIZE * 2)).astype(np.float32),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
        truth,
        SIZE,
    )


# ---- reading -------------------------------------------------------------------------------------


def test_images_classes_and_boxes(load: Load, tmp_path: Path) -> None:
    loaded = load()
    assert [image.path for image in loaded.images] == [tmp_path / "b.jpg", tmp_path / "a.jpg"]
    assert (loaded.image_ids, loaded.category_ids, loaded.names) == (
        (7, 3),
        (17, 72),
        ("cat", "tv"),
    )
    assert loaded.num_crowds == 1 and loaded.images.num_boxes == 3  # a crowd need not be found
    assert loaded.images[1].boxes == pytest.approx(
        np.array(
            [
                [110 / 640, 70 / 480, 200 / 640, 100 / 480, 1],
                [325 / 640, 225 / 480, 50 / 640, 50 / 480, 0],
            ]
        )
    )
    assert loaded.annotations is not None
    assert [row["id"] for row in loaded.annotations] == [1, 2, 3, 4]


def test_the_first_images_only(load: Load) -> None:
    loaded = load(limit=1)
    assert (loaded.image_ids, loaded.images.num_boxes, loaded.num_crowds) == ((7,), 1, 1)


def test_test_images_have_no_annotations(load: Load) -> None:
    loaded = load({key: document()[key] for key in ("images", "categories")})
    assert loaded.annotations is None and loaded.images.num_boxes == 0


def test_darknets_names_are_cocos_91_ids() -> None:
    """By name, and without names by order, as coco_ids in detector.c:22."""
    categories = dict(zip(COCO_IDS, COCO_80.split("/"), strict=True))
    names = read_names(bundled_file("cfg", "coco.names"))
    assert match_categories(names, categories, "x.json", 80) == COCO_IDS
    assert match_categories([], categories, "x.json", 80) == COCO_IDS
    assert max(COCO_IDS) == 90 and len(COCO_IDS) == 80


MISMATCHES = [
    (
        {"names": ["catt", "tv"]},
        "1 of the network's 2 classes are not among its 2 categories, such as 'catt'; did you mean"
        " 'cat'? (names)",
    ),
    (
        {"names": [], "classes": 3},
        "has 2 categories, and the network 3 classes without names (names)",
    ),
    ({"names": ["tv", "TV"]}, "several classes of the network are its category 'tv' (names)"),
]


@pytest.mark.parametrize(("options", "message"), MISMATCHES)
def test_names_that_do_not_match(
    load: Load, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as raised:
        load(**options)
    text = raised.value.describe(lambda argument: argument)
    assert text == f"{tmp_path}/instances.json: {message}"


def test_categories_that_are_no_classes_are_told(load: Load) -> None:
    message = "3 objects of categories that are not classes of the network, such as 'cat', are left"
    with pytest.warns(DataWarning, match=message):
        loaded = load(names=["tv"], classes=1)
    assert (loaded.images.num_boxes, loaded.num_crowds) == (1, 0)


def broken(key: str, number: int, **changes: Any) -> dict[str, Any]:
    content = document()
    content[key][number] = {**content[key][number], **changes}
    return content


WRONG = [
    ("{", "is not a JSON file; expected COCO's annotations: lists of images, annotations and"),
    ("[]", "is not an object with lists; expected COCO's"),
    ({"images": [], "categories": []}, "has no list of categories; expected COCO's"),
    (broken("images", 1, width=None), "images[1]: width is missing or is not a number of pixels"),
    (broken("images", 1, id=7), "two images have the same id"),
    (broken("categories", 0, name=3), "categories[0]: name is missing or is not a text"),
    (
        broken("annotations", 2, bbox=[1, 2, 3]),
        "annotations[2]: bbox is missing or is not left, top, width and height in pixels",
    ),
    (broken("annotations", 2, area="big"), "annotations[2]: area is missing or is not a number"),
    (broken("annotations", 2, image_id=5), "annotations[2]: image_id 5 is not among its images"),
    (broken("images", 0, file_name="c.jpg"), "1 of its 2 images are missing; the first is "),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_files_that_are_wrong(load: Load, tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError) as raised:
        load(content)
    assert str(raised.value).startswith(f"{tmp_path}/instances.json: {message}")


def test_files_that_are_missing(load: Load, tmp_path: Path) -> None:
    load()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_annotations(tmp_path / "no.json", tmp_path, names=NAMES, classes=2)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load_annotations(tmp_path / "instances.json", tmp_path / "nowhere", names=NAMES, classes=2)


# ---- the numbers ---------------------------------------------------------------------------------


def detections(loaded: CocoSet) -> list[ImageBoxes]:
    return [
        found(
            [
                (0.9, 0, [310, 110, 180, 180]),  # on the crowd: neither right nor wrong
                (0.8, 0, [100, 100, 60, 58]),
                (0.3, 1, [-20, 400, 60, 100]),  # wrong, and clipped at two edges
            ],
            loaded.images[0].boxes,
        ),
        found(
            [(0.7, 1, [12, 20, 200, 100]), (0.65, 1, [10, 20, 100, 100])], loaded.images[1].boxes
        ),
    ]


def by_pycocotools(document: dict[str, Any], results: str) -> list[float | None]:
    """What COCO's server does with a results file."""
    coco = pytest.importorskip("pycocotools.coco", reason="the extra 'evaluate' is not installed")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        # A file of COCO's own has ids from 1.
        rows = [{**row, "id": number + 1} for number, row in enumerate(document["annotations"])]
        truth.dataset = {**document, "annotations": [{"iscrowd": 0, **row} for row in rows]}
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(json.loads(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value < 0 else float(value) for value in evaluation.stats]


@pytest.fixture
def pycocotools_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """COCO's own package computes the numbers, whatever else is installed."""
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)


@pytest.mark.usefixtures("pycocotools_only")
def test_the_numbers_are_those_of_the_server(load: Load) -> None:
    loaded = load()
    boxes = detections(loaded)
    results = results_text(row for rows in loaded.result_rows(boxes) for row in rows)
    ours = annotated_average_precision(boxes, loaded).to_dict()
    assert list(ours.values()) == by_pycocotools(document(), results)
    assert [row["category_id"] for row in json.loads(results)] == [17, 17, 72, 72, 72]
    assert json.loads(results)[2]["bbox"] == [0, 400, 40, 80]


def test_crowds_and_outlines(load: Load) -> None:
    """The box on the crowd costs nothing, and an outline of 30^2 pixels makes its object small."""
    loaded = load()
    result = annotated_average_precision(detections(loaded), loaded)
    assert result.classes[0] == pytest.approx(51 / 101 * 0.9, abs=0.06)  # one of two cats
    assert result.ap_small is not None and result.ap_small > 0.8
    assert (result.ap_medium, result.ap_large) == pytest.approx((0, 1))


def random_set(load: Load) -> tuple[dict[str, Any], CocoSet, list[ImageBoxes]]:
    """With equal scores, crowds, more than 100 boxes of a class, and ids in any order."""
    random = np.random.default_rng(0)
    content = document()
    content["annotations"] = [
        annotation(
            int(random.choice([7, 3])),
            int(random.choice([17, 72])),
            [float(value) for value in (*random.uniform(0, 300, 2), *random.uniform(5, 150, 2))],
            area=float(random.uniform(10, 10000)),
            iscrowd=int(random.random() < 0.1),
        )
        for _ in range(40)
    ]
    loaded = load(content)
    boxes = []
    for image, image_id in zip(loaded.images, loaded.image_ids, strict=True):
        rows = [
            (round(float(random.random()), 2), int(row["category_id"] == 72), row["bbox"])
            for row in content["annotations"] * 12
            if row["image_id"] == image_id
        ]
        boxes.append(found(rows, image.boxes))
    assert max(np.bincount(image.class_ids).max() for image in boxes) > 100
    return content, loaded, boxes


@pytest.mark.usefixtures("pycocotools_only")
def test_random_sets_give_the_server_s_numbers(load: Load) -> None:
    content, loaded, boxes = random_set(load)
    results = results_text(row for rows in loaded.result_rows(boxes) for row in rows)
    ours = annotated_average_precision(boxes, loaded).to_dict()
    assert list(ours.values()) == by_pycocotools(content, results)


def test_the_faster_package_gives_equal_numbers(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the last digit of float64, because it sums in another order."""
    pytest.importorskip("faster_coco_eval")
    _, loaded, boxes = random_set(load)
    faster = annotated_average_precision(boxes, loaded)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    slower = annotated_average_precision(boxes, loaded)
    assert list(faster.to_dict().values()) == pytest.approx(
        list(slower.to_dict().values()), abs=1e-15
    )
    assert faster.classes == pytest.approx(slower.classes, abs=1e-15)


def test_nothing_found(load: Load) -> None:
    loaded = load()
    boxes = [found([], image.boxes) for image in loaded.images]
    assert annotated_average_precision(boxes, loaded).ap == 0
    assert results_text(row for rows in loaded.result_rows(boxes) for row in rows) == "[\n\n]\n"


def test_image_files_of_another_size_are_told(load: Load, tmp_path: Path) -> None:
    loaded = load()
    boxes = [image for image in detections(loaded)]
    loaded.warn_of_sizes(boxes)  # no warning, which would be an error here
    half = ImageBoxes(**{**vars(boxes[1]), "image_size": (320, 240)})
    message = f"1 of 2 image files have another size .* {tmp_path}/a.jpg: 320 x 240 instead of 640"
    with pytest.warns(DataWarning, match=message):
        loaded.warn_of_sizes([boxes[0], half])
    assert [*loaded.result_rows([boxes[0], half])] == [*loaded.result_rows(boxes)]
