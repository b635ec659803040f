"""``darknet-builder evaluate --coco``: COCO's own annotations, and its results file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darknet_builder.cli.program import main
from darknet_builder.evaluation.published import PublishedAccuracy
from darknet_builder.weights.official import official_files
from tests.helpers.darknet_images import darknet_image
from tests.helpers.red_and_blue import make_red_and_blue

PHOTOGRAPHS = ("dog", "person", "horses")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The detector of red and blue, and annotations: a crowd of red things and no labels."""
    pytest.importorskip("pycocotools", reason="the extra 'evaluate' is not installed")
    make_red_and_blue(tmp_path)
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / f"{name}.png").rename(tmp_path / "images" / f"{name}.png")
        (tmp_path / f"{name}.txt").unlink()
    document = {
        "images": [
            {"id": number, "file_name": f"{name}.png", "width": 32, "height": 32}
            for number, name in ((42, "a"), (7, "b"))
        ],
        "categories": [{"id": 9, "name": "Red"}, {"id": 90, "name": "blue"}],
        "annotations": [
            {"image_id": 42, "category_id": 9, "bbox": [0, 0, 16, 16], "area": 256},
            {"image_id": 42, "category_id": 90, "bbox": [16, 16, 16, 16], "area": 200},
            {"image_id": 7, "category_id": 9, "bbox": [0, 0, 32, 32], "area": 9, "iscrowd": 1},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(document))
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    return [
        "evaluate",
        "--coco",
        str(folder / "instances.json"),
        "--images",
        str(folder / "images"),
        "--cfg",
        str(folder / "net.cfg"),
        "--weights",
        str(folder / "net.weights"),
        *more,
    ]


def test_the_table_and_the_results_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, results = str(folder / "my.names"), folder / "results.json"
    assert main(words(folder, "--names", names, "--save-coco", str(results))) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert re.match(r" +0  red +1  100.00 .* 100.00$", lines[1])
    assert lines[-2].startswith("COCO: AP 100.00, AP50 100.00, AP75 100.00, small 100.00, medium -")
    assert lines[-1].startswith("2 images, 2 objects, 1 crowd; ")
    rows = json.loads(results.read_text())
    best = [row for row in rows if row["score"] > 0.9]
    assert [(row["image_id"], row["category_id"]) for row in best] == [(42, 90), (42, 9)]
    assert [row["bbox"] for row in best] == [[16, 16, 16, 16], [0, 0, 16, 16]]


def test_the_thresholds_are_those_of_detector_valid(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(*more: str) -> dict[str, Any]:
        assert main(words(folder, "--json", *more)) == 0
        data: dict[str, Any] = json.loads(capsys.readouterr().out)
        return data

    ours = report()
    assert (ours["threshold"], ours["nms"], ours["data"], ours["split"]) == (0.001, 0.6, None, None)
    assert (ours["crowds"], ours["coco"]["ap"]) == (1, pytest.approx(1))
    assert ours["darknet"]["classes"][0]["name"] == "Red"  # without names, those of the file
    theirs = report("--dialect", "pjreddie", "--nms", "0.7")
    assert (theirs["threshold"], theirs["nms"]) == (0.005, 0.7)


def test_images_without_annotations(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As for COCO's test-dev, whose objects only its server knows."""
    path = folder / "instances.json"
    document = json.loads(path.read_text())
    del document["annotations"]
    path.write_text(json.dumps(document))
    assert main(words(folder)) == 2
    assert capsys.readouterr().err == (
        f"darknet-builder: error: {path}: has no annotations to compare with; give --save-coco FILE"
        " to write the boxes\n"
    )
    results = folder / "results.json"
    assert main(words(folder, "--save-coco", str(results), "--json", str(folder / "x.json"))) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("; no accuracy, because there are no annotations")
    assert len(json.loads(results.read_text())) >= 2
    assert json.loads((folder / "x.json").read_text())["darknet"] is None


def test_published_accuracy_of_an_official_model(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "net.cfg").rename(folder / "yolov4-tiny.cfg")
    data = (folder / "net.weights").read_bytes()
    official = replace(
        official_files()["yolov4-tiny"],
        num_floats=(len(data) - 20) // 4,
        checksums={"sha256": (hashlib.sha256(data).hexdigest(),), "sha1": (), "md5": ()},
    )
    monkeypatch.setattr(
        "darknet_builder.weights.official.official_files", lambda: {"yolov4-tiny": official}
    )
    accuracy = PublishedAccuracy("yolov4-tiny", 32, 40.2, None, "", "trainvalno5k", "")
    monkeypatch.setattr(
        "darknet_builder.evaluation.published.published_accuracies",
        lambda: {"yolov4-tiny": (accuracy,)},
    )
    argv = [word.replace("net.cfg", "yolov4-tiny.cfg") for word in words(folder)]
    path = folder / "report.json"
    assert main([*argv, "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == [
        "published / here: AP50 40.2 / 100.0 % (yolov4-tiny at 32 x 32, COCO, on images that are"
        " not stated / instances.json)",
        "yolov4-tiny was trained on most images of val2017 (trainvalno5k), so its AP on them is too"
        " high to compare",
    ]
    assert json.loads(path.read_text())["published"]["ap50"] == 40.2
    (folder / "net.weights").write_bytes(data[:-4] + bytes(4))  # trained further
    assert main(argv) == 0
    assert "published" not in capsys.readouterr().out


MISTAKES = [
    (["--data", "my.data"], "--data does not apply to --coco"),
    (["--strict"], "--strict does not apply to --coco"),
    (["--split", "train"], "--split does not apply to --coco"),
    (["--save-coco", "no/results.json"], "no/results.json: the folder "),
]


@pytest.mark.parametrize(("more", "message"), MISTAKES)
def test_options_that_do_not_go_together(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(words(folder, *more)) == 2
    assert message in capsys.readouterr().err


WITHOUT = [
    ([], "no labelled images given; give --data FILE, or --coco FILE --images DIR"),
    (["--data", "my.data", "--images", "x"], "--images needs --coco"),
    (["--data", "my.data", "--save-coco", "x.json"], "--save-coco needs --coco"),
    (["--coco", "x.json"], "--coco needs --images DIR, the folder with its images"),
]


@pytest.mark.parametrize(("options", "message"), WITHOUT)
def test_options_that_need_others(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["evaluate", *options, "--model", "shapes"]) == 2
    assert capsys.readouterr().err == f"darknet-builder: error: {message}\n"


def test_a_name_without_a_category(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "my.names").write_text("red\nbleu\n")
    assert main(words(folder, "--names", str(folder / "my.names"))) == 2
    assert capsys.readouterr().err == (
        f"darknet-builder: error: {folder}/instances.json: 1 of the network's 2 classes are not"
        " among its 2 categories, such as 'bleu'; did you mean 'blue'? (--names)\n"
    )


def test_images_that_are_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "images" / "b.png").unlink()
    assert main(words(folder)) == 2
    assert capsys.readouterr().err == (
        f"darknet-builder: error: {folder}/instances.json: 1 of its 2 images are missing; the first"
        f" is {folder}/images/b.png (--images)\n"
    )


@pytest.mark.pack
def test_the_rows_of_detector_valid(
    shared: Path, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held to the file that ``detector valid`` wrote with ``eval=coco``: same rows, same order."""
    from darknet_builder.evaluation import predictions
    from darknet_builder.evaluation.coco.results import COCO_IDS

    monkeypatch.setattr(
        predictions, "read_image", lambda path: darknet_image(shared / "images", Path(path).stem)
    )
    document = {
        "images": [
            {"id": 0, "file_name": f"{name}.jpg", "width": width, "height": height}
            for name in PHOTOGRAPHS
            for height, width in [darknet_image(shared / "images", name).shape[:2]]
        ],
        "categories": [{"id": number, "name": str(number)} for number in COCO_IDS],
    }
    for number, image in enumerate(document["images"]):
        image["id"] = number
    path = tmp_path / "images.json"
    path.write_text(json.dumps(document))
    results, model = tmp_path / "results.json", shared / "models" / "yolo-fastest-1.1"
    options = [
        "--cfg",
        f"{model}.cfg",
        "--weights",
        f"{model}.weights",
        "--save-coco",
        str(results),
    ]
    images = ["--coco", str(path), "--images", str(shared / "images"), "--no-coco", "--quiet"]
    assert main(["evaluate", *images, *options]) == 0
    recorded = json.loads((pack / "doors" / "cli" / "coco_results.json").read_text())
    ours, theirs = (
        np.array([(row["category_id"], *row["bbox"], row["score"]) for row in rows])
        for rows in (json.loads(results.read_text()), recorded)
    )
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours[:, 5], theirs[:, 5], atol=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=5e-3)
