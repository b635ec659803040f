"""``darknet-builder evaluate``: table, JSON and curves, and every mistake as one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from darknet_builder import build_network
from darknet_builder.cli.program import main
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import save_weights
from tests.helpers.map_fixtures import MODELS
from tests.helpers.red_and_blue import SIDE, make_red_and_blue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A detector and a data set: see ``make_red_and_blue``."""
    make_red_and_blue(tmp_path)
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    return [
        "evaluate",
        "--data",
        str(folder / "my.data"),
        "--cfg",
        str(folder / "net.cfg"),
        "--weights",
        str(folder / "net.weights"),
        *more,
    ]


@pytest.fixture
def evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command and gives what it wrote; it must succeed without a word on stderr."""

    def run(*more: str) -> str:
        assert main(words(folder, *more)) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


def mistake(capsys: pytest.CaptureFixture[str], argv: Sequence[str]) -> str:
    """The one line on stderr of a command that ends with status 2."""
    assert main(list(argv)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("darknet-builder: error: ") and captured.err.count("\n") == 1
    return captured.err.removeprefix("darknet-builder: error: ").rstrip("\n")


# ---- results -------------------------------------------------------------------------------------


def test_table(evaluate: Any) -> None:
    lines = evaluate("--no-coco").splitlines()
    assert lines[:5] == [
        "class  name  objects    AP %  TP  FP  FN  precision  recall    F1   IoU %",
        "    0  red         2   50.00   1   0   1       1.00    0.50  0.67  100.00",
        "    1  blue        1  100.00   1   0   0       1.00    1.00  1.00  100.00",
        "       all         3   75.00   2   0   1       1.00    0.67  0.80  100.00",
        (
            "mAP@0.5 = 75.00 % over all 2 classes (area under the curve), 75.00 % over the 2 that"
            " occur; TP to IoU are at confidence 0.25"
        ),
    ]
    assert lines[5].startswith("2 images, 3 objects; ") and lines[5].endswith(" images/s")
    assert len(lines) == 6


def test_table_with_coco(evaluate: Any) -> None:
    pytest.importorskip("pycocotools", reason="the extra 'evaluate' is not installed")
    lines = evaluate().splitlines()
    assert lines[0].endswith("  IoU %  COCO AP %")
    assert [line.split()[-1] for line in lines[1:4]] == [
        "50.50",
        "100.00",
        "75.25",
    ]  # 51 of 101 recalls are reached
    assert (
        lines[5] == "COCO: AP 75.25, AP50 75.25, AP75 75.25, small 75.25, medium -, large -; "
        "AR1 75.00, AR10 75.00, AR100 75.00, small 75.00, medium -, large - %"
    )


def test_classes_that_do_not_occur_are_summed_up(evaluate: Any, folder: Path) -> None:
    (folder / "a.txt").write_text("0 .25 .25 .5 .5\n")
    lines = evaluate("--no-coco", "--confidence", ".99999").splitlines()
    assert [line.split()[0] for line in lines[1:-3]] == ["0", "all"]
    assert (
        lines[-3]
        == "1 more classes: no objects, and no boxes above the confidence 0.99999; their AP counts"
        " as 0"
    )
    assert lines[-2].startswith(
        "mAP@0.5 = 25.00 % over all 2 classes (area under the curve), 50.00 % over the 1 that "
    )


def test_points_iou_threshold(evaluate: Any) -> None:
    assert "mAP@0.9 = 77.27 % over all 2 classes (11 points)" in evaluate(
        "--no-coco", "--points", "11", "--iou", ".9"
    )
    assert "mAP@0.5 = 0.00 % over all" in evaluate("--no-coco", "--threshold", ".9999999")


def test_json(evaluate: Any, folder: Path) -> None:
    pytest.importorskip("pycocotools", reason="the extra 'evaluate' is not installed")
    text = evaluate("--json", str(folder / "map.json"), "--quiet")
    data = json.loads((folder / "map.json").read_text())
    assert text == ""
    assert data["darknet"]["mean_average_precision"] == 0.75
    assert data["coco"]["ap"] == pytest.approx((51 / 101 + 1) / 2)
    assert data["coco"]["ap_large"] is None
    assert [
        (row["name"], row["average_precision"], row["coco_ap"])
        for row in data["darknet"]["classes"]
    ] == [("red", 0.5, pytest.approx(51 / 101)), ("blue", 1.0, pytest.approx(1))]
    assert (data["split"], data["skipped_labels"], data["images_without_labels"]) == ("valid", 0, 0)
    assert json.loads(evaluate("--json", "-")) == data


def test_plot(evaluate: Any, folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'evaluate' is not installed")
    evaluate("--no-coco", "--plot", str(folder / "curves.png"))
    picture = cv2.imread(str(folder / "curves.png"))
    assert picture.shape == (720, 960, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    evaluate("--no-coco", "--plot", str(folder / "curves.svg"))
    assert "red  0.500" in _texts((folder / "curves.svg").read_text())


def _texts(svg: str) -> str:
    """matplotlib writes each text as a comment beside its outlines."""
    return "\n".join(
        line.strip().removeprefix("<!-- ").removesuffix(" -->") for line in svg.splitlines()
    )


def test_skipped_and_missing_labels_are_told(evaluate: Any, folder: Path) -> None:
    (folder / "a.txt").write_text(
        "0 .25 .25 .5 .5\n1 .75 .75 .5 .5\n0 1.5 .5 .1 .1\n7 .5 .5 .1 .1\n"
    )
    (folder / "b.txt").unlink()
    last = evaluate("--no-coco", "--skip-bad-labels").splitlines()[-1]
    assert last.endswith("; 1 images have no label file; 2 bad labels skipped")


@pytest.mark.filterwarnings("default::darknet_builder.LabelWarning")
def test_labels_over_the_edge_are_used_and_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.txt").write_text("0 .25 .25 .5 .5\n1 .75 .75 .5 .5\n0 .5 .5 1.2 .3\n")
    assert main(words(folder, "--no-coco", "--json")) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        f"darknet-builder: warning: {folder}/valid.txt: 1 of 4 labels reaches over the edge of its"
        f" image ({folder}/a.txt:3): training clips it there; mAP and anchors use it unchanged\n"
    )
    report = json.loads(captured.out)
    assert (report["labels_over_edge"], report["labels_at_corner"]) == (1, 0)
    assert report["darknet"]["truths"] == 4
    assert mistake(capsys, words(folder, "--no-coco", "--strict")) == (
        f"{folder}/a.txt:3: '0 .5 .5 1.2 .3': the box reaches over the edge of the image, where"
        " training would clip it"
    )
    assert main(words(folder, "--no-coco", "--strict", "--skip-bad-labels")) == 0
    assert capsys.readouterr().out.endswith("; 1 bad labels skipped\n")


def test_other_splits_names_limits(evaluate: Any, folder: Path) -> None:
    (folder / "other.names").write_text("rot\nblau\n")
    with open(folder / "my.data", "a") as file:
        file.write("train=valid.txt\n")
    lines = evaluate(
        "--no-coco", "--split", "train", "--limit", "1", "--names", str(folder / "other.names")
    )
    assert "    0  rot         1  100.00" in lines and "\n1 images, 2 objects" in lines


def test_difficult_objects(evaluate: Any, folder: Path) -> None:
    (folder / "a.txt").write_text(
        "1 .75 .75 .5 .5\n"
    )  # the red box is wrong, unless it is difficult
    (folder / "hard").mkdir()
    for name in "ab":
        (folder / "hard" / f"{name}.png").write_bytes(b"")
    (folder / "hard" / "a.txt").write_text("0 .25 .25 .5 .5\n")
    assert evaluate("--no-coco").splitlines()[1].split()[:4] == ["0", "red", "1", "0.00"]
    (folder / "hard.txt").write_text("hard/a.png\nhard/b.png\n")
    with open(folder / "my.data", "a") as file:
        file.write("difficult=hard.txt\n")
    data = json.loads(evaluate("--no-coco", "--json", "-"))
    assert data["darknet"]["classes"][0]["false_positives"] == 1


def test_batches_give_the_same(evaluate: Any) -> None:
    assert (
        evaluate("--no-coco", "--batch", "2").splitlines()[:5]
        == evaluate("--no-coco").splitlines()[:5]
    )


REGION_CFG = f"""[net]
width={SIDE}
height={SIDE}
channels=3

[convolutional]
filters=9
size=1
activation=linear

[region]
anchors=1,1
num=1
classes=4
softmax=1
tree=my.tree
"""


@pytest.fixture
def hierarchy(folder: Path) -> Path:
    """A network over animal (dog, cat) and plant, and labels of two classes that are a cat and a
    dog of it."""
    (folder / "my.tree").write_text("animal -1\nplant -1\ndog 0\ncat 0\n")
    (folder / "net.cfg").write_text(REGION_CFG)
    (folder / "my.map").write_text("3\n2\n")
    (folder / "my.names").write_text("animal\nplant\ndog\ncat\n")
    (folder / "my.data").write_text("classes=4\nvalid=valid.txt\nnames=my.names\nmap=my.map\n")
    save_weights(build_network(folder / "net.cfg"), folder / "net.weights")
    return folder


def test_classes_of_a_hierarchy(evaluate: Any, hierarchy: Path) -> None:
    """With map= in the .data file, as ``detector valid``: the labels' classes are some of the
    network's."""
    rows = json.loads(evaluate("--no-coco", "--json", "-"))["darknet"]["classes"]
    assert [(row["name"], row["truths"]) for row in rows] == [("cat", 2), ("dog", 1)]
    (hierarchy / "my.names").write_text("Katze\nHund\n")
    (hierarchy / "my.data").write_text("valid=valid.txt\nnames=my.names\nmap=my.map\n")
    rows = json.loads(evaluate("--no-coco", "--json", "-"))["darknet"]["classes"]
    assert [row["name"] for row in rows] == ["Katze", "Hund"]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "my.map",
            "3\n4\n",
            "{0}/my.data:4: map=my.map: has class 4, but the network has 4 classes",
        ),
        ("my.map", "3\nx\n", "{0}/my.map:2: expected a class number, got 'x'"),
        (
            "my.data",
            "valid=valid.txt\nnames=three.names\nmap=my.map\n",
            (
                "{0}/my.data:2: names=three.names: 3 names, but the network has 4 classes, of which"
                " map= selects 2"
            ),
        ),
    ],
)
def test_maps_that_are_wrong(
    hierarchy: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, expected: str
) -> None:
    (hierarchy / "three.names").write_text("a\nb\nc\n")
    (hierarchy / file).write_text(text)
    assert mistake(capsys, words(hierarchy)) == expected.format(hierarchy)


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--iou", "1"], "--iou 1: expected a number from 0 to below 1"),
        (["--confidence", "-1"], "--confidence -1: expected a number from 0 to below 1"),
        (["--threshold", "2"], "--threshold 2.0: expected a number from 0 to 1"),
        (["--limit", "0"], "--limit 0: expected 1 or more images"),
        (["--batch", "0"], "--batch 0: expected 1 or more images"),
        (
            ["--split", "test"],
            "{0}/my.data: needs test=, which is missing (it has classes, valid, names)",
        ),
        (["--json", "{0}/no/x.json"], "{0}/no/x.json: the folder {0}/no does not exist"),
        (
            ["--names", "{0}/no.names"],
            "{0}/no.names: no such names file; bundled ones are ",
        ),
        (["--names", "vocc"], "vocc: no such names file; did you mean 'voc'?"),
        (
            ["--names", "voc"],
            f"{ROOT}/cfg/voc.names: has 20 names, but {{0}}/my.data:1 has classes=2",
        ),
        (["--data", "{0}/no.data"], "{0}/no.data: No such file or directory"),
        (["--cfg", "{0}/no.cfg"], "{0}/no.cfg: no such cfg file"),
        (["--weights", "{0}/no.weights"], "{0}/no.weights: no such weights file"),
        (["--device", "tpu"], "device 'tpu' is unknown; expected cpu, cuda, "),
    ],
)
def test_mistakes(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    argv = words(folder, *(word.format(folder) for word in more))
    assert mistake(capsys, argv).startswith(expected.format(folder))


def test_a_set_with_test_but_no_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Converted sets often have such lists; the other list is named, not used silently."""
    data = folder / "my.data"
    data.write_text(data.read_text().replace("valid=", "test="))
    assert mistake(capsys, words(folder)) == (
        f"{data}: needs valid=, which is missing (it has classes, test, names); "
        "test= names a list that can be evaluated instead (--split)"
    )
    assert main(words(folder, "--split", "test", "--no-coco")) == 0


@pytest.mark.parametrize(
    "options", [["--backend", "onnxruntime"], ["--backend", "auto", "--batch", "2"]]
)
def test_backends(
    options: list[str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same table from another engine, and from the one that auto chose, which is said."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Network, "forward", lambda *_: pytest.fail("the network itself was asked"))
    assert main(words(folder)) == 0
    usual = capsys.readouterr().out.splitlines()
    assert main(words(folder, *options)) == 0
    lines = capsys.readouterr().out.splitlines()
    if "auto" in options:
        assert lines.pop(0).startswith("the network runs on ")
    assert lines[:-1] == usual[:-1]  # the last has the time


def test_a_file_that_brings_its_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Needs no --weights, which a cfg alone does."""
    assert (
        main(
            [
                "export",
                str(folder / "net.cfg"),
                str(folder / "net.weights"),
                "--output",
                str(folder / "net.pt"),
            ]
        )
        == 0
    )
    capsys.readouterr()
    tables = []
    for model in (["--cfg", str(folder / "net.pt")], words(folder)[3:]):
        assert main(["evaluate", "--data", str(folder / "my.data"), *model]) == 0
        tables.append(capsys.readouterr().out.splitlines()[:4])
    assert tables[0] == tables[1] and "red" in tables[0][1]
    alone = ["evaluate", "--data", str(folder / "my.data"), "--cfg", str(folder / "net.cfg")]
    assert (
        mistake(capsys, alone)
        == f"{folder}/net.cfg: no weights given for this network; give --weights FILE"
    )


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "my.data",
            "classes=3\nvalid=valid.txt\n",
            "{0}/my.data:1: classes=3: but the network has 2 classes (classes= in the cfg)",
        ),
        (
            "my.data",
            "names=three.names\nvalid=valid.txt\n",
            (
                "{0}/my.data:1: names=three.names: 3 names, but the network "
                "has 2 classes (classes= in the cfg)"
            ),
        ),
        (
            "my.names",
            "red\n",
            "{0}/my.data:1: classes=2: but {0}/my.names has 1 names; the two must agree",
        ),
        (
            "my.data",
            "classes=2\nvalid=valid.txt\nmap=my.map\n",
            (
                "{0}/my.data:3: map=my.map: needs a network whose [region] has tree=;"
                " this network has none"
            ),
        ),
        (
            "a.txt",
            "0 .5 .5 .1 .1\n0 1.5 .5 .1 .1\n",
            (
                "{0}/a.txt:2: '0 1.5 .5 .1 .1': x 1.5, width .1: the box lies outside the image;"
                " expected 0 to 1, relative to the image"
            ),
        ),
        (
            "a.txt",
            "2 .5 .5 .1 .1\n",
            "{0}/a.txt:1: '2 .5 .5 .1 .1': class 2: there are 2 classes, 0 to 1",
        ),
        (
            "valid.txt",
            "a.png\nmissing.png\n",
            (
                "{0}/valid.txt:2: missing.png: no such image; looked for {0}/missing.png and"
                " {0.parent}/missing.png and missing.png"
            ),
        ),
        ("a.png", "no image", "{0}/a.png: not an image that OpenCV can read"),
        (
            "net.cfg",
            "[net]\nwidth=8\nheight=8\nchannels=3\n\n[softmax]\n",
            (
                "the network has no detection head ([yolo], [Gaussian_yolo], [region] or"
                " [detection]): it finds no boxes"
            ),
        ),
    ],
)
def test_data_that_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, expected: str
) -> None:
    (folder / "three.names").write_text("a\nb\nc\n")
    (folder / "my.map").write_text("0\n1\n")
    (folder / file).write_text(text)
    assert mistake(capsys, words(folder)) == expected.format(folder)


def test_a_picture_that_cannot_be_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'evaluate' is not installed")
    assert mistake(capsys, words(folder, "--plot", str(folder / "x.foo"))).startswith(
        f"{folder}/x.foo: cannot be drawn with this suffix; expected .png, or one of "
    )
    assert (
        mistake(capsys, words(folder, "--plot", str(folder / "no" / "x.png")))
        == f"{folder}/no/x.png: the folder {folder}/no does not exist"
    )


def test_without_the_extra(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Darknet's numbers need nothing more; the picture cannot do without, and that is said before
    the work."""
    for name in (
        "pycocotools",
        "pycocotools.coco",
        "pycocotools.cocoeval",
        "matplotlib",
        "matplotlib.figure",
    ):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(words(folder)) == 0
    captured = capsys.readouterr()
    assert (
        captured.err == "COCO's numbers are left out: pycocotools.coco is not installed: "
        "pip install 'darknet-builder[evaluate]'\n"
    )
    assert captured.out.splitlines()[0].endswith(" IoU %")
    assert (
        mistake(capsys, words(folder, "--plot", str(folder / "x.png")))
        == "matplotlib.figure is not installed: pip install 'darknet-builder[evaluate]'"
    )


# ---- a real detector -----------------------------------------------------------------------------


@pytest.mark.pack
def test_a_real_detector_on_real_photographs(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command: 13 right, 14 wrong, 5 missed, as ``detector map`` says."""
    for path in sorted((shared / "images").glob("*.jpg")):
        (tmp_path / path.name).symlink_to(path)
        (tmp_path / f"{path.stem}.txt").symlink_to(shared / "parity" / "map" / f"{path.stem}.txt")
    (tmp_path / "valid.txt").write_text(
        "".join(f"{path.name}\n" for path in sorted(tmp_path.glob("*.jpg")))
    )
    (tmp_path / "six.data").write_text(
        f"classes=80\nvalid=valid.txt\nnames={shared / 'models' / 'coco.names'}\n"
    )
    model = shared / "models" / MODELS[0]
    assert (
        main(
            [
                "evaluate",
                "--data",
                str(tmp_path / "six.data"),
                "--cfg",
                f"{model}.cfg",
                "--weights",
                f"{model}.weights",
                "--no-coco",
            ]
        )
        == 0
    )
    total = next(line for line in capsys.readouterr().out.splitlines() if " all " in line)
    assert total.split()[1:9] == ["18", "10.67", "13", "14", "5", "0.48", "0.72", "0.58"]
