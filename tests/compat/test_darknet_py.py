"""``darknet.py``'s door: its recorded tuples, its programs, and one clear line for each mistake."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import random
import re
import shutil
import sys
from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from darknet_builder.compat import darknet
from darknet_builder.errors import DarknetError
from darknet_builder.weights.loader import save_weights
from tests.helpers.colour_classifier import CFG as COLOURS
from tests.helpers.colour_classifier import colour_network, plain
from tests.helpers.darknet_calls import ROOT, SCENES, as_image, bundled, results, scene
from tests.helpers.toy_detector import squares, toy_files
from tests.project.test_docs import fences

MODELS = (
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
    "yolo-fastest-1.0-xl",
    "MobileNetV2-YOLOv3-Nano-coco",
    "MobileNetV2-YOLOv3-Nano-voc",
)
PERCENT = 0.02
"""In points: the text has two decimals, and float32 sums in another order move the last one."""
PIXELS = 5e-4
"""float32's own step at 640 pixels is 6e-5, and records have four decimals."""
PROGRAM = ROOT / "tests/helpers/darknet_images_program.py"


def check_rows(found: list[Any], recorded: list[Any], pixels: float = PIXELS) -> None:
    """The same names in the same order, with the same percents and boxes."""
    assert [row[0] for row in found] == [row[0] for row in recorded]
    for (_, value, box), (_, expected, expected_box) in zip(found, recorded, strict=True):
        assert type(value) is type(expected)
        tolerance = PERCENT if isinstance(expected, str) else PERCENT / 100
        assert float(value) == pytest.approx(float(expected), abs=tolerance)
        assert list(box) == pytest.approx(expected_box, abs=pixels)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str], dict[str, Any]]:
    """The bundled detector: network, class_names, class_colors."""
    return bundled(darknet, tmp_path_factory.mktemp("data"))


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """The program of ``tests/helpers``, with nothing but its import changed."""
    old, new = "\nimport darknet\n", "\nfrom darknet_builder.compat import darknet\n"
    text = PROGRAM.read_text()
    assert text.count(old) == 1
    path = tmp_path / "program.py"
    path.write_text(text.replace(old, new))
    spec = importlib.util.spec_from_file_location("my_darknet_images", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- against AlexeyAB's darknet.py ---------------------------------------------------------------


@pytest.mark.pack
@pytest.mark.parametrize("name", MODELS)
def test_recorded_photographs(shared: Path, tmp_path: Path, name: str) -> None:
    recorded = json.loads((shared / "parity/doors/darknet_py.json").read_text())
    names = shared / "models" / ("voc.names" if name.endswith("voc") else "coco.names")
    (tmp_path / "my.data").write_text(f"names={names}\n")
    network, class_names, _ = darknet.load_network(
        str(shared / f"models/{name}.cfg"),
        str(tmp_path / "my.data"),
        str(shared / f"models/{name}.weights"),
    )
    size = darknet.network_width(network), darknet.network_height(network)
    photographs = {key: entry for key, entry in recorded.items() if key.split("|")[0] == name}
    assert len(photographs) == 6
    for key, entry in photographs.items():
        assert list(size) == entry["network"]
        array = cv2.imread(str(shared / "images" / key.split("|")[1]))
        rgb = cv2.cvtColor(array, cv2.COLOR_BGR2RGB)
        image = as_image(darknet, cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR))
        check_rows(darknet.detect_image(network, class_names, image, 0.25), entry["detections"])


def test_recorded_calls(tmp_path: Path, golden: Path) -> None:
    """Batches, letterboxed images, images that are resized, with and without suppression."""
    recorded = json.loads((golden / "darknet_py.json").read_text())
    found = results(darknet, tmp_path)
    assert found.keys() == recorded.keys()
    for key, rows in recorded.items():
        assert rows, key
        # Relative boxes are a share of 1.
        check_rows(found[key], rows, 1e-5 if "letterboxed" in key else PIXELS)


# ---- programs ------------------------------------------------------------------------------------


def test_program_runs(
    program: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lines, label files and pictures of darknet_images.py."""
    bundled(darknet, tmp_path)  # which writes shapes.data
    images = [tmp_path / f"{name}.jpg" for name in SCENES[:2]]
    for image in images:
        shutil.copy(ROOT / "docs/images/scenes" / image.name, image)
    (tmp_path / "out").mkdir()
    options = f"--config_file {ROOT}/cfg/shapes.cfg --weights {ROOT}/weights/shapes.weights"
    words = f"{options} --data_file {tmp_path}/shapes.data --out {tmp_path}/out"
    monkeypatch.setattr(
        sys, "argv", ["program", *words.split(), "--save_labels", "--ext_output", "--input"]
    )
    sys.argv += map(str, images)
    program.main()
    written = capsys.readouterr().out
    assert written.count("\nObjects:\n") == 2
    lines = [line for line in written.splitlines() if line and line != "Objects:"]
    number = r" +-?\d+"
    shape = rf"\w+: \d+\.\d+%    \(left_x:{number}   top_y:{number}   width:{number}   height:{number}\)"
    assert [line for line in lines if not re.fullmatch(shape, line)] == []
    labels = []
    for image in images:
        labels += image.with_suffix(".txt").read_text().splitlines()
        assert cv2.imread(str(tmp_path / "out" / image.name)).shape == (192, 192, 3)
    assert len(labels) == len(lines) > 4
    percents = [line.split("%")[0].split(": ")[1] for line in lines]
    assert [float(label.split()[5]) for label in labels] == [float(text) for text in percents]


def test_program_detects_in_batches(
    program: Any, model: tuple[Any, list[str], dict[str, Any]]
) -> None:
    """Each image of a batch gives what it gives alone, and the boxes are drawn."""
    network, names, colors = model
    images = [cv2.cvtColor(scene(name), cv2.COLOR_RGB2BGR) for name in SCENES]
    before = [image.copy() for image in images]
    drawn, predictions = program.batch_detection(network, images, names, colors)
    assert len(predictions) == 3
    for image, old, found in zip(drawn, before, predictions, strict=True):
        assert (image != old).any()
        _, alone = program.batch_detection(network, [old], names, colors)
        check_rows(found, [(name, value, list(box)) for name, value, box in alone[0]], 1e-3)


def test_program_classifies(program: Any, tmp_path: Path) -> None:
    (tmp_path / "colours.cfg").write_text(COLOURS)
    (tmp_path / "colours.names").write_text("red\ngreen\nblue\nbeyond classes\n")
    (tmp_path / "colours.data").write_text("classes=3\nlabels=colours.names\n")
    save_weights(colour_network(), tmp_path / "colours.weights")
    network, names, _ = darknet.load_network(
        *(f"{tmp_path}/colours.{suffix}" for suffix in ("cfg", "data", "weights"))
    )
    scores = program.image_classification(plain(blue=255, green=128, red=0), network, names)
    assert [name for name, _ in scores] == ["blue", "green", "red"]
    assert sum(score for _, score in scores) == pytest.approx(1)
    json.dumps(scores)  # Python's own numbers
    with pytest.raises(DarknetError, match=r"^the network has no detection head "):
        darknet.detect_image(network, names, darknet.make_image(8, 8, 3))


def test_older_programs(tmp_path: Path) -> None:
    """``load_net``, ``load_meta`` and ``detect`` of 2020 and before, with bytes."""
    cfg, weights, names = toy_files(tmp_path)
    (tmp_path / "toy.data").write_text(f"classes= 2\nnames = {names}\n")
    image = squares(((0, 0, 255), 1, 2), ((255, 0, 0), 3, 0), size=(64, 96))
    cv2.imwrite(str(tmp_path / "squares.png"), image)
    net = darknet.load_net(cfg.encode(), weights.encode(), 0)
    meta = darknet.load_meta(f"{tmp_path}/toy.data".encode())
    found = darknet.detect(net, meta, f"{tmp_path}/squares.png".encode())
    assert sorted(row[0] for row in found) == [b"blue", b"red"]
    assert found == sorted(found, key=lambda row: -row[1])
    boxes = {row[0]: row[2] for row in found}
    assert boxes[b"red"] == pytest.approx((24, 60, 16, 24), abs=1e-3)
    same = darknet.detect_image(net, meta, darknet.load_image(f"{tmp_path}/squares.png".encode()))
    assert same == found


def test_the_page_changes_one_line() -> None:
    """And its table has every function."""
    page = (ROOT / "docs/from-darknet-py.md").read_text()
    _, before, after = [block.code for block in fences("page", page) if block.language == "python"]
    old, new = "\nimport darknet\n", "\nfrom darknet_builder.compat import darknet\n"
    assert before.count(old) == 1 and before.replace(old, new) == after
    named = set(re.findall(r"`(\w+)`", page))
    assert [name for name in darknet.__all__ if name.islower() and name not in named] == []


# ---- single functions ----------------------------------------------------------------------------


def test_where_the_number_of_boxes_goes(model: tuple[Any, list[str], dict[str, Any]]) -> None:
    """To what ctypes programs give: a pointer, a reference, a number; or to a list."""
    network, _, _ = model
    darknet.predict_image(network, as_image(darknet, scene("scene-0")))
    number, other, plain_list = ctypes.c_int(0), ctypes.c_int(0), [0]
    for num in (ctypes.pointer(number), ctypes.byref(other), plain_list, None):
        boxes = darknet.get_network_boxes(network, 10, 10, 0.25, 0.5, None, 0, num)
    assert number.value == other.value == plain_list[0] == len(boxes) > 0


def test_a_box_without_a_class_suppresses_others_in_do_nms_obj() -> None:
    """Its objectness decides, as in Darknet; ``do_nms_sort`` compares classes alone."""

    def detections() -> list[Any]:
        boxes = darknet.BOX(20, 20, 8, 8), darknet.BOX(20, 20, 8, 9)
        classless = darknet.DETECTION(boxes[0], 2, -1, array("f", [0, 0]), 0.9)
        return [classless, darknet.DETECTION(boxes[1], 2, 1, array("f", [0, 0.5]), 0.6)]

    first, second = detections(), detections()
    darknet.do_nms_obj(first, 2, 2, 0.45)
    darknet.do_nms_sort(second, 2, 2, 0.45)
    assert darknet.remove_negatives(first, ["cat", "dog"], 2) == []
    expected = [("dog", 0.5, (20, 20, 8, 9))]
    assert darknet.remove_negatives(second, ["cat", "dog"], 2) == expected
    assert darknet.remove_negatives_faster(second, ["cat", "dog"], 2) == expected
    nothing: list[Any] = []
    darknet.do_nms_obj(nothing, 0, 2, 0.45)
    darknet.do_nms_sort(nothing, 0, 2, 0.45)
    assert nothing == []


def test_load_image_is_rgb_and_resizes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), plain(blue=0, green=51, red=255, size=(4, 6)))
    image = darknet.load_image(tmp_path / "red.png", 0, 0)
    assert (image.w, image.h, image.c) == (6, 4, 3)
    assert image.pixels()[:, 3, 5].tolist() == np.float32([1, 0.2, 0]).tolist()
    small = darknet.load_image(str(tmp_path / "red.png"), 3, 2)
    assert (small.w, small.h) == (3, 2) and small.pixels()[0, 0, 0] == 1


def test_class_colors_follow_the_seed() -> None:
    """As ``random.seed(3)`` in darknet_images.py."""
    random.seed(3)
    first = darknet.class_colors(["cat", "dog"])
    random.seed(3)
    assert darknet.class_colors(["cat", "dog"]) == first
    assert first["cat"] != first["dog"]


def test_set_gpu_chooses_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For networks that are loaded later, on a machine that may lack a GPU."""
    from darknet_builder.compat.darknet import networks

    monkeypatch.setitem(networks._chosen, "device", None)
    asked: list[str] = []
    monkeypatch.setattr(
        networks, "find_device", lambda name: asked.append(name) or torch.device("cpu")
    )
    darknet.set_gpu(1)
    darknet.set_gpu(-1)
    assert asked == ["cuda:1", "cpu"]
    cfg, weights, _ = toy_files(tmp_path)
    assert darknet.load_net(cfg, weights, 0).network.device == torch.device("cpu")


# ---- mistakes ------------------------------------------------------------------------------------

PIXEL = np.zeros(3, np.float32)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a small detector's files, and wrong ones."""
    _, _, names = toy_files(tmp_path)
    (tmp_path / "toy.data").write_text(f"classes=2\nnames={names}\n")
    (tmp_path / "nameless.data").write_text("classes=2\n")
    (tmp_path / "many.data").write_text(f"classes=5\nnames={names}\n")
    (tmp_path / "one.names").write_text("red\n")
    (tmp_path / "one.data").write_text("names=one.names\n")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_text("")
    return tmp_path


def load(folder: Path, cfg: str = "toy.cfg", data: str = "toy.data", **options: Any) -> Any:
    weights = options.pop("weights", "toy.weights")
    return darknet.load_network(
        f"{folder}/{cfg}", f"{folder}/{data}", weights and f"{folder}/{weights}", **options
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cfg": "no.cfg"}, "{folder}/no.cfg: no such cfg file"),
        ({"weights": "no.weights"}, "{folder}/no.weights: no such weights file"),
        ({"weights": ""}, "weights: expected the path of a .weights file"),
        ({"data": "no.data"}, "{folder}/no.data: No such file or directory"),
        (
            {"data": "nameless.data"},
            "{folder}/nameless.data: needs names=, which is missing (it has classes)",
        ),
        (
            {"data": "many.data"},
            "{folder}/many.data:1: classes=5: but {folder}/toy.names has 2 names",
        ),
        (
            {"data": "one.data"},
            "{folder}/one.data: names: got 1 names, but the network has 2 classes (classes= in the cfg)",
        ),
        ({"batch_size": 0}, "batch_size=0: expected 1 or more images"),
    ],
)
def test_files_that_do_not_load(files: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DarknetError) as caught:
        load(files, **options)
    assert str(caught.value) == message.format(folder=files)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda net, folder: darknet.copy_image_from_bytes(darknet.make_image(2, 2, 3), b"abc"),
            "copy_image_from_bytes: got 3 bytes; an image of 2 x 2 x 3 has 12; resize the array to"
            " the size of the image first",
        ),
        (
            lambda net, folder: darknet.copy_image_from_bytes(darknet.make_image(1, 1, 3), "abc"),
            "copy_image_from_bytes: expected bytes, got str; give array.tobytes()",
        ),
        (
            lambda net, folder: darknet.make_image(0, 2, 3),
            "make_image: expected sizes of 1 or more, got 0, 2, 3",
        ),
        (
            lambda net, folder: darknet.letterbox_image(darknet.make_image(8, 8, 3), 0, 5),
            "letterbox_image: expected sizes of 1 or more, got 0, 5",
        ),
        (
            lambda net, folder: darknet.load_image(f"{folder}/no.jpg", 0, 0),
            "{folder}/no.jpg: No such file or directory",
        ),
        (
            lambda net, folder: darknet.load_image(f"{folder}/text.jpg".encode(), 0, 0),
            "{folder}/text.jpg: not an image that OpenCV can read",
        ),
        (
            lambda net, folder: darknet.load_image(f"{folder}/empty.jpg", 0, 0),
            "{folder}/empty.jpg: the file is empty",
        ),
        (
            lambda net, folder: darknet.predict_image(net, darknet.make_image(8, 8, 1)),
            "the IMAGE has 1 channels; the network takes 3",
        ),
        (
            lambda net, folder: darknet.predict_image(net, darknet.IMAGE(8, 8, 3)),
            "the IMAGE has no data; make one with make_image or load_image",
        ),
        (
            lambda net, folder: darknet.predict_image(net, darknet.IMAGE(8, 8, 3, PIXEL)),
            "the IMAGE has 3 values; expected 192",
        ),
        (
            lambda net, folder: darknet.network_predict(net, PIXEL),
            "the IMAGE has 3 values; expected 3072",
        ),
        (
            lambda net, folder: darknet.rgbgr_image(darknet.make_image(8, 8, 1)),
            "rgbgr_image: expected an image of 3 channels, got 1",
        ),
        (
            lambda net, folder: darknet.get_network_boxes(net, 9, 9, 0.5, 0.5, None, 0, None, 0),
            "get_network_boxes: the network has not run yet; call predict_image first",
        ),
        (
            lambda net, folder: darknet.get_network_boxes(net, 9, 9, 0.5, 0.5, [1], 0, None, 0),
            "get_network_boxes: a map of classes is not supported; give None",
        ),
        (
            lambda net, folder: darknet.remove_negatives([darknet.DETECTION()], ["cat"], 1),
            "got 1 class names; the network has 0 classes",
        ),
    ],
)
def test_calls_that_cannot_work(files: Path, call: Any, message: str) -> None:
    network, _, _ = load(files)
    with pytest.raises(DarknetError) as caught:
        call(network, files)
    assert str(caught.value) == message.format(folder=files)


def test_a_gpu_that_is_not_there() -> None:
    """One line, and networks are still loaded on the device of before."""
    with pytest.raises(DarknetError, match=r"^device 'cuda:99' cannot be used here: [^\n]+$"):
        darknet.set_gpu(99)


def test_a_name_that_is_missing() -> None:
    with pytest.raises(AttributeError, match=r"darknet' has no attribute 'lib'$"):
        darknet.lib  # noqa: B018
