"""``BatchDetector`` gives a row for every image, whatever the engine hands it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darknet_builder.errors import InputError
from darknet_builder.images.files import encode_jpeg, write_image
from darknet_builder.prediction import batch_detector
from darknet_builder.prediction.batch_detector import RESULTS, BatchDetector
from darknet_builder.prediction.detector import Detector
from tests.helpers.toy_detector import BLUE, RED, squares, toy_files, toy_network

BROKEN = b"not an image"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Cfg, weights and names of the toy detector."""
    return toy_files(tmp_path_factory.mktemp("toy"))


def encoded(*objects: tuple[tuple[int, int, int], int, int]) -> bytes:
    """A picture as the bytes of a JPEG."""
    return encode_jpeg(squares(*objects, size=(64, 48)), 95)


def column(*values: object) -> np.ndarray:
    """An array of objects, as engines make it of text and bytes."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def rows(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """One dictionary for each image."""
    listed = [values.tolist() for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*listed, strict=True)]


def test_the_detections_of_a_detector(model: tuple[str, str, str]) -> None:
    """Bytes and the path beside them: one row an image, in order, with the values of Detector."""
    images = [encoded((RED, 0, 0), (BLUE, 3, 3)), BROKEN, encoded(), encoded((BLUE, 1, 2))]
    paths = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    batch = {"bytes": column(*images), "path": column(*paths), "id": np.arange(4)}
    found = BatchDetector(*model, batch=2)(batch)
    assert list(found) == ["path", "id", *RESULTS]
    assert [row["path"] for row in rows(found)] == paths and found["id"].tolist() == [0, 1, 2, 3]
    first, broken, empty, last = rows(found)
    detections = Detector(*model, batch=2)(images[0])
    assert first["class_id"] == detections.class_ids.tolist() == [0, 1]
    assert first["class_name"] == ["red", "blue"]
    assert first["score"] == detections.scores.tolist()
    assert first["box"] == detections.boxes_xyxy.tolist() and len(first["box"][0]) == 4
    assert (first["width"], first["height"], first["error"]) == (64, 48, "")
    assert broken["error"] == "not an image that OpenCV can read"
    assert (broken["width"], broken["height"], broken["box"]) == (0, 0, [])
    assert empty["error"] == "" and empty["class_id"] == empty["class_name"] == []
    assert last["class_name"] == ["blue"]


def test_paths(model: tuple[str, str, str], tmp_path: Path) -> None:
    """Without bytes, the files are read here; a missing one is a row."""
    write_image(tmp_path / "a.png", squares((RED, 2, 1)))
    # A list, as datasets.map gives it.
    paths = [str(tmp_path / "a.png"), str(tmp_path / "none.png")]
    found = rows(BatchDetector(*model)({"path": paths}))
    assert [row["class_name"] for row in found] == [["red"], []]
    assert [row["error"] for row in found] == ["", "No such file or directory"]


def test_values_that_are_not_images(model: tuple[str, str, str]) -> None:
    """Missing and empty values, and those of another type, are rows with an error."""
    batch = {"bytes": column(None, b"", 3, encoded(), float("nan"), np.frombuffer(b"x", np.uint8))}
    found = BatchDetector(*model)(batch)
    assert "path" not in found
    assert found["error"].tolist() == [
        "expected bytes, got NoneType",
        "the file is empty",
        "expected bytes, got int",
        "",
        "expected bytes, got float",
        "expected bytes, got ndarray",
    ]
    found = BatchDetector(*model)({"path": column(None, "")})
    assert found["error"].tolist() == ["expected a path, got NoneType", "the path is empty"]


def test_shapes_of_batches(model: tuple[str, str, str]) -> None:
    """None, fewer and more images than the network takes at once."""
    detector = BatchDetector(*model, batch=4)
    for count in (0, 1, 9):
        found = detector({"bytes": column(*[encoded((RED, 0, 0))] * count)})
        assert {name: len(values) for name, values in found.items()} == dict.fromkeys(
            RESULTS, count
        )
        assert found["class_id"].tolist() == [[0]] * count
        assert found["width"].dtype == found["height"].dtype == np.int32


def test_options_reach_the_detector(model: tuple[str, str, str]) -> None:
    """All keyword arguments of ``Detector``."""
    images = column(encoded((RED, 0, 0), (BLUE, 3, 3)))
    assert BatchDetector(*model, threshold=1.0)({"bytes": images})["box"].tolist() == [[]]
    assert BatchDetector(*model[:2], ["r", "b"])({"bytes": images})["class_name"].tolist() == [
        ["r", "b"]
    ]


def test_loads_once_and_late(model: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it is made or copied, and once in a process for all copies."""
    made: list[Detector] = []
    original = batch_detector.Detector

    def make(*args: Any, **options: Any) -> Detector:
        made.append(original(*args, **options))
        return made[-1]

    monkeypatch.setattr(batch_detector, "Detector", make)
    detector = BatchDetector(*model, threshold=0.4321)
    copies = [pickle.loads(pickle.dumps(detector)) for _ in range(2)]
    assert not made
    for one in (detector, *copies):
        assert one({"bytes": column(encoded((RED, 0, 0)))})["class_id"].tolist() == [[0]]
    assert len(made) == 1 and made[0].threshold == 0.4321


def test_mistakes(model: tuple[str, str, str]) -> None:
    """A wrong call is one error, where it is made: at once, or by the first batch."""
    with pytest.raises(TypeError, match="treshold"):
        BatchDetector(*model, treshold=0.5)
    with pytest.raises(InputError, match="^expected the name or the files of a model, got Network"):
        BatchDetector(toy_network())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^threshold=2: "):
        BatchDetector(*model, threshold=2)({"bytes": column(b"")})
    detector = BatchDetector(*model)
    with pytest.raises(InputError, match="^no column bytes or path; the columns are image, id$"):
        detector({"image": column(b""), "id": column(1)})
    with pytest.raises(InputError, match="^the column score is also a result; rename it"):
        detector({"bytes": column(b""), "score": column(1)})
    with pytest.raises(InputError, match="^the columns have different lengths: bytes 2, id 1$"):
        detector({"bytes": column(b"", b""), "id": column(1)})


@pytest.mark.extras
def test_arrow_types_do_not_depend_on_what_is_found(model: tuple[str, str, str]) -> None:
    """A block without objects has the types of any other, so that their files fit together."""
    pytest.importorskip("pyarrow")
    detector = BatchDetector(*model)
    tables = [
        batch_detector.arrow_table(detector({"bytes": column(image)}))
        for image in (encoded((RED, 0, 0)), encoded(), BROKEN)
    ]
    assert tables[0].schema == tables[1].schema == tables[2].schema
    assert str(tables[0].schema.field("box").type) == "list<item: list<item: float>>"
    assert tables[0].to_pylist()[0]["class_name"] == ["red"]
