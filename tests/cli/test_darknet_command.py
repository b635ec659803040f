"""``darknet-builder darknet``: Darknet's functions and flags, and every mistake as one line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
import torch

from darknet_builder import Detector
from darknet_builder.cli.darknet import model
from darknet_builder.cli.darknet.flags import ALL, FLAGS
from darknet_builder.cli.darknet.functions import _RUNNERS
from darknet_builder.cli.darknet.request import USAGE, Request, read_request
from darknet_builder.data.scenes import draw_scene
from darknet_builder.errors import InputError
from darknet_builder.images.files import read_image, write_image
from darknet_builder.images.video import open_video, write_video
from darknet_builder.support.bundled import default_model
from tests.helpers.darknet_program import Darknet
from tests.helpers.toy_detector import BLUE, RED, squares, toy_files

ROOT = Path(__file__).parents[2]
TOY = "detector test my.data toy.cfg toy.weights"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy network, a data set of two images, and the current folder.

    In a.png a red and a blue square are labelled; b.png is black, and its label is missed.
    """
    toy_files(tmp_path)
    write_image(tmp_path / "a.png", squares((RED, 0, 0), (BLUE, 2, 3)))
    write_image(tmp_path / "b.png", squares())
    (tmp_path / "a.txt").write_text("0 .125 .125 .25 .25\n1 .625 .875 .25 .25\n")
    (tmp_path / "b.txt").write_text("0 .5 .5 .25 .25\n")
    (tmp_path / "valid.txt").write_text("a.png\nb.png\n")
    (tmp_path / "my.data").write_text(
        "classes=2\ntrain=valid.txt\nvalid=valid.txt\nnames=toy.names\nbackup=backup\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def objects(out: str) -> list[str]:
    """The lines of objects, behind those about the network."""
    return re.findall(r"^\w+: \d+%.*$", out, re.MULTILINE)


# ---- detector test and detect --------------------------------------------------------------------


def test_the_bundled_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, darknet: Darknet
) -> None:
    """The same objects as ``Detector`` finds, from left to right."""
    cfg, weights, names = default_model()
    monkeypatch.chdir(tmp_path)
    write_image("scene.png", draw_scene(0).image)
    Path("my.data").write_text(f"names={names}\n")
    status, out, err = darknet(f"detector test my.data {cfg} {weights} scene.png -ext_output")
    found = Detector(cfg, weights, names)(read_image("scene.png"))
    expected = []
    for _, name, score, (left, top, right, bottom) in sorted(found.rows(), key=lambda row: row[3]):
        expected.append(
            f"{name}: {100 * score:.0f}%\t(left_x: {left:4.0f}   top_y: {top:4.0f}"
            f"   width: {right - left:4.0f}   height: {bottom - top:4.0f})"
        )
    assert (status, err) == (0, "") and objects(out) == expected
    assert re.search(r"^scene\.png: Predicted in \d+\.\d{6} milli-seconds\.$", out, re.MULTILINE)
    assert read_image("predictions.jpg").shape == read_image("scene.png").shape


def test_lists_on_standard_input(folder: Path, darknet: Darknet) -> None:
    status, out, err = darknet(f"{TOY} -dont_show -out all.json", stdin="a.png\n\nb.png\n")
    assert (status, err) == (0, "")
    assert out.count("Enter Image Path: ") == 4 and objects(out) == ["red: 100%", "blue: 100%"]
    first, second = json.loads(Path("all.json").read_text())
    assert (first["frame_id"], first["filename"], second["objects"]) == (1, "a.png", [])
    assert [row["name"] for row in first["objects"]] == ["blue", "red"]


def test_an_image_of_a_list_that_is_missing(folder: Path, darknet: Darknet) -> None:
    status, out, err = darknet(f"{TOY} -out all.json", stdin="none.png\na.png\n")
    assert (status, err) == (1, "Cannot load image: none.png: No such file or directory\n")
    assert objects(out) == ["red: 100%", "blue: 100%"]
    assert len(json.loads(Path("all.json").read_text())) == 1


def test_ctrl_c_leaves_a_whole_json(
    folder: Path, darknet: Darknet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def type_and_stop(out: TextIO) -> Iterator[str]:
        yield "a.png"
        raise KeyboardInterrupt

    monkeypatch.setattr("darknet_builder.cli.darknet.detecting.image_paths", type_and_stop)
    status, _, err = darknet(f"{TOY} -out all.json")
    assert (status, err) == (130, "darknet-builder: interrupted\n")
    assert [row["filename"] for row in json.loads(Path("all.json").read_text())] == ["a.png"]


def test_the_picture_does_not_replace_its_source(folder: Path, darknet: Darknet) -> None:
    Path("a.png").rename("predictions.jpg")
    before = Path("predictions.jpg").read_bytes()
    status, _, err = darknet(f"{TOY} predictions.jpg")
    assert (status, err.count("\n")) == (1, 1) and "predictions.jpg: would be overwritten" in err
    assert Path("predictions.jpg").read_bytes() == before


def test_labels_stand_where_training_looks(folder: Path, darknet: Darknet) -> None:
    for name in ("JPEGImages", "labels"):
        Path(name).mkdir()
    Path("a.png").rename("JPEGImages/a.png")
    assert darknet(f"{TOY} JPEGImages/a.png -save_labels")[0] == 0
    lines = Path("labels/a.txt").read_text().splitlines()
    assert lines[1].startswith("0 0.1250 0.1250 ") and lines[0].startswith("1 0.6250 0.8750 ")


def test_the_short_form(folder: Path, darknet: Darknet) -> None:
    """Names come from cfg/coco.data; what is not there has COCO's."""
    status, _, err = darknet("detect toy.cfg toy.weights a.png")
    assert (status, err.count("\n")) == (1, 1) and "80 names, but the network has 2" in err
    Path("cfg").mkdir()
    Path("cfg/coco.data").write_text("names=toy.names\n")
    assert objects(darknet("detect toy.cfg toy.weights a.png")[1]) == ["red: 100%", "blue: 100%"]


def test_thresholds_and_letterbox(folder: Path, darknet: Darknet) -> None:
    write_image("wide.png", squares((RED, 0, 0), size=(64, 32)))
    plain_line = darknet(f"{TOY} wide.png -ext_output")[1]
    letterboxed = darknet(f"{TOY} wide.png -ext_output -letter_box -thresh 0.1")[1]
    assert objects(plain_line) and objects(plain_line) != objects(letterboxed)
    assert not objects(darknet(f"{TOY} a.png -thresh 1")[1])


# ---- valid, map, recall --------------------------------------------------------------------------

LISTED = "my.data toy.cfg toy.weights"


def test_map(folder: Path, darknet: Darknet) -> None:
    status, out, err = darknet(f"detector map {LISTED} -points 11 -iou_thresh 0.3 -thresh 0.4")
    assert (status, err) == (0, "")
    assert "class_id = 1, name = blue, ap = 100.00%   \t (TP = 1, FP = 0) \n" in out
    assert " for conf_thresh = 0.40, TP = 2, FP = 0, FN = 1, average IoU = " in out
    assert "\n IoU threshold = 30 %, used 11 Recall-points \n" in out
    assert " mean average precision (mAP@0.30) = 0.772727, or 77.27 % \n" in out


def test_valid_for_voc(folder: Path, darknet: Darknet) -> None:
    """A file for each class, pixels counted from 1."""
    assert darknet(f"detector valid {LISTED}")[0] == 0
    (row,) = [
        line.split() for line in Path("results/comp4_det_test_red.txt").read_text().splitlines()
    ]
    assert (row[0], [round(float(number)) for number in row[2:]]) == ("a", [1, 1, 9, 9])
    assert darknet(f"detector valid {LISTED} -out mine_")[0] == 0
    assert Path("results/mine_blue.txt").read_text().startswith("a 0.99")


def test_valid_for_coco(folder: Path, darknet: Darknet) -> None:
    Path("a.png").rename("000042.png")
    Path("valid.txt").write_text("000042.png\n")
    with Path("my.data").open("a") as file:
        file.write("eval=coco\nresults=found\n")
    assert darknet(f"detector valid {LISTED}")[0] == 0
    rows = json.loads(Path("found/coco_results.json").read_text())
    assert {row["image_id"] for row in rows} == {42}
    assert {row["category_id"] for row in rows} == {1, 2}


def test_an_evaluation_that_is_not_done(folder: Path, darknet: Darknet) -> None:
    with Path("my.data").open("a") as file:
        file.write("eval=kitti\n")
    status, out, err = darknet(f"detector valid {LISTED}")
    assert (status, out) == (1, "")
    assert (
        err
        == "darknet-builder: error: my.data:6: eval=kitti: is not supported; expected coco or voc\n"
    )


def test_recall(folder: Path, darknet: Darknet) -> None:
    status, _, err = darknet(f"detector recall {LISTED}")
    lines = err.splitlines()
    assert status == 0 and len(lines) == 2
    assert lines[0].startswith("    0     2     2\tRPs/Img: 2.00\tIOU: ")
    assert lines[1].endswith("\tRecall:66.67%")


# ---- calc_anchors and partial --------------------------------------------------------------------


def test_anchors(folder: Path, darknet: Darknet) -> None:
    status, out, _ = darknet(
        "detector calc_anchors my.data -num_of_clusters 1 -width 416 -height 416"
    )
    assert status == 0 and "\n avg IoU = 100.00 % \n" in out
    assert Path("anchors.txt").read_text() == "104,104"
    assert Path("counters_per_class.txt").read_text() == "counters_per_class = 2, 1"
    assert darknet("detector calc_anchors my.data -num_of_clusters 1 -width 13 -height 13")[0] == 0
    assert Path("anchors.txt").read_text() == "3.2500,3.2500"


def test_partial(folder: Path, darknet: Darknet) -> None:
    assert darknet("partial toy.cfg toy.weights cut.conv.2 2")[0] == 0
    assert Path("cut.conv.2").read_bytes() == Path("toy.weights").read_bytes()
    status, _, err = darknet("partial toy.cfg toy.weights cut x")
    assert (status, err.count("\n")) == (1, 1) and "expected the number of a layer" in err


# ---- classifiers ---------------------------------------------------------------------------------


def test_classifier_predict(colours: Path, darknet: Darknet) -> None:
    status, out, _ = darknet("classifier predict my.data net.cfg net.weights red.png")
    assert status == 0 and " classes = 3, output in cfg = 3 \n8 8\nred.png: Predicted in " in out
    assert out.splitlines()[-2:] == ["red: 0.909443", "green: 0.045279"]
    out = darknet("classifier predict my.data net.cfg net.weights -t 1", stdin="red.png\n")[1]
    assert out.endswith("red: 0.909443\nEnter Image Path: ")


def test_classifier_valid(colours: Path, darknet: Darknet) -> None:
    out = darknet("classifier valid my.data net.cfg net.weights")[1]
    assert out.endswith(
        " TOP calculation...\n\n0: top 1: 1.000000, top 2: 1.000000"
        "\n1: top 1: 0.500000, top 2: 0.500000"
    )


# ---- demo ----------------------------------------------------------------------------------------


def test_demo(folder: Path, darknet: Darknet) -> None:
    with write_video("in.mp4", 10) as append:
        for column in range(3):
            append(squares((RED, column, 1), size=(64, 64)))
    status, out, err = darknet(
        "detector demo my.data toy.cfg toy.weights in.mp4 -dont_show -out_filename out.avi"
        " -json_file_output all.json -prefix frame -ext_output -mjpeg_port 8090 -thresh 0.1"
    )
    assert status == 0
    assert err == (
        "darknet-builder: warning: -mjpeg_port is not supported: this program opens no port and sends"
        " nothing\n"
    )
    assert out.count("Objects:\n\nred: ") == 3 and out.count("AVG_FPS:") == 3
    assert out.endswith("input video stream closed. \noutput_video_writer closed. \n")
    with open_video("out.avi") as video:
        assert len(list(video.frames())) == 3
    assert [row["frame_id"] for row in json.loads(Path("all.json").read_text())] == [1, 2, 3]
    assert read_image("frame_00000003.jpg").shape == (64, 64, 3)


# ---- flags and functions -------------------------------------------------------------------------


def test_every_function_has_a_runner_and_words() -> None:
    assert set(ALL) == set(_RUNNERS) == set(USAGE)
    assert {function for flag in FLAGS.values() for function in flag.functions} == set(ALL)


def test_flags_stand_anywhere() -> None:
    line = "detector -thresh .1 test -dont_show a.data -out out.json a.cfg a.weights a.jpg"
    values = {"-thresh": 0.1, "-dont_show": True, "-out": "out.json"}
    words = ("a.data", "a.cfg", "a.weights", "a.jpg")
    assert read_request(line.split()) == Request("detector test", words, values)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected a function: detector test, detect, detector demo, "),
        (
            "detecter test a b c",
            "unknown function 'detecter'; did you mean 'detector test'? (functions: ",
        ),
        ("detector tset a b c", "unknown function 'detector tset'; did you mean 'detector test'?"),
        ("detector", "expected a function after 'detector': detector test, detector demo, "),
        ("rnn train x", "Darknet's function 'rnn' is not supported; nothing replaces it"),
        (
            "speed x.cfg",
            "Darknet's function 'speed' is not supported; use 'darknet-builder benchmark'",
        ),
        (
            "classifier try a b",
            "Darknet's function 'classifier try' is not supported; use 'classifier",
        ),
        ("detector test a b c -tresh 1", "unknown flag -tresh; did you mean '-thresh'?"),
        ("detector test a b c --thresh 1", "unknown flag --thresh; did you mean '-thresh'?"),
        ("detector test a b c -thresh", "-thresh: expected a value after it"),
        ("detector test a b c -thresh x", "-thresh x: expected a number"),
        ("detector map a b c -points 1.5", "-points 1.5: expected a whole number"),
        ("detector test a", "detector test: expected DATA CFG WEIGHTS [IMAGE], got a"),
        ("detector map a b c d", "detector map: expected DATA CFG WEIGHTS, and no 'd' after it"),
        ("partial a b c", "partial: expected CFG WEIGHTS OUTPUT N, got a b c"),
        ("detector calc_anchors my.data", "calc_anchors: give -width and -height"),
        (f"{TOY} a.png -thresh 2", "-thresh 2.0: expected a number from 0 to 1"),
        (f"detector map {LISTED} -points 7", "-points 7: expected 0, 11 or 101"),
        (
            f"detector map {LISTED} -iou_thresh 1",
            "-iou_thresh 1: expected a number from 0 to below 1",
        ),
        (f"{TOY} none.png", "none.png: No such file or directory"),
        ("detector test my.data toy.cfg none.weights a.png", "none.weights: no such weights file"),
        (
            "detector test my.data toy.cfg",
            "detector test: expected DATA CFG WEIGHTS [IMAGE], got my",
        ),
        (
            "detector test none.data toy.cfg toy.weights a.png",
            "none.data: No such file or directory",
        ),
        (f"{TOY} a.png -out none/all.json", "none/all.json: the folder "),
        (
            "partial toy.cfg toy.weights toy.weights 2",
            "toy.weights: would be overwritten; give OUTPUT another name",
        ),
        (
            "detector demo my.data toy.cfg toy.weights none.mp4",
            "none.mp4: No such file or directory",
        ),
    ],
)
def test_mistakes(line: str, message: str, folder: Path, darknet: Darknet) -> None:
    """One line and exit status 1, as Darknet's."""
    status, out, err = darknet(line)
    assert status == 1 and err.count("\n") == 1, err
    assert err.startswith(f"darknet-builder: error: {message}"), err
    assert objects(out) == [] and not Path("predictions.jpg").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("line", [f"{TOY} a.png", "detector train my.data toy.cfg"])
@pytest.mark.parametrize("flag", ["-gpus 0,1", "-i 0"])
def test_gpus_that_do_not_exist(line: str, flag: str, folder: Path, darknet: Darknet) -> None:
    status, _, err = darknet(line, device=flag)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(f"darknet-builder: error: {flag}: device 'cuda:0' cannot be used here: ")
    assert err.endswith("; leave the flag out: the first GPU is used then, or the CPU\n")


def test_several_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training names torchrun; another function takes the first, and says so."""
    monkeypatch.setattr(model, "find_device", lambda name: None)
    out, values = io.StringIO(), {"-gpus": "1,0"}
    with pytest.raises(InputError, match="^-gpus 1,0: one process .*torchrun --nproc-per-node 2 "):
        model.choose_device(Request("detector train", (), values), out)
    with pytest.warns(UserWarning, match="^-gpus 1,0: 'detector map' runs on the first one$"):
        assert model.choose_device(Request("detector map", (), values), out) == "cuda:1"
    assert model.choose_device(Request("detector map", (), {"-i": 2}), out) == "cuda:2"
    assert out.getvalue() == ""
    assert model.choose_device(Request("detector map", (), {"-i": -1}), out) == "cpu"
    assert out.getvalue() == " GPU isn't used \n"
    with pytest.raises(InputError, match="^-gpus x: expected numbers of GPUs, such as 0,1$"):
        model.choose_device(Request("detector map", (), {"-gpus": "x"}), out)


def test_data_without_names(folder: Path, darknet: Darknet) -> None:
    Path("my.data").write_text("classes=2\nvalid=valid.txt\n")
    for line in (f"{TOY} a.png", f"detector map {LISTED}", f"detector valid {LISTED}"):
        status, out, err = darknet(line)
        assert (status, out) == (1, "")
        assert err == (
            "darknet-builder: error: my.data: needs names=, which is missing (it has classes, valid)\n"
        )


def test_a_list_with_missing_images(folder: Path, darknet: Darknet) -> None:
    Path("valid.txt").write_text("a.png\nnone.png\n")
    for function in ("map", "valid", "recall"):
        status, out, err = darknet(f"detector {function} {LISTED}")
        assert status == 1 and err.count("\n") == 1
        assert err.startswith("darknet-builder: error: valid.txt:2: none.png: no such image; ")
        assert not Path("results").exists() and "class_id" not in out


@pytest.mark.parametrize(
    ("flag", "warning"),
    [
        ("-points 11", "-points has no effect on 'detector test', as in Darknet"),
        (
            "-benchmark_layers",
            "-benchmark_layers is not supported: use 'darknet-builder benchmark'",
        ),
    ],
)
def test_no_flag_is_ignored_in_silence(
    flag: str, warning: str, folder: Path, darknet: Darknet
) -> None:
    status, out, err = darknet(f"{TOY} a.png {flag}")
    assert (status, err) == (0, f"darknet-builder: warning: {warning}\n")
    assert len(objects(out)) == 2


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("detector train a b -iou_thresh .75", "-iou_thresh is not supported: a training measures"),
        ("detector train a b -thresh .1", "-thresh is not supported: a training prints no table"),
        ("detect a b -letter_box", "-letter_box has no effect on 'detect', as in Darknet"),
        ("detector calc_anchors a -gpus 0", "-gpus has no effect on 'detector calc_anchors'"),
    ],
)
def test_what_changes_nothing_is_dropped(line: str, warning: str) -> None:
    with pytest.warns(UserWarning, match=re.escape(warning)):
        assert read_request(line.split()).values == {}


def test_the_page_names_every_flag_and_function() -> None:
    page = (ROOT / "docs" / "from-darknet.md").read_text(encoding="utf-8")
    assert [name for name in FLAGS if f"`{name}" not in page] == []
    assert [name for name in ALL if f"`darknet {name} " not in page] == []
