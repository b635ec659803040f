"""The detector: equal to Darknet's on photographs, exact on a small network, clear errors."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import darknet_builder
from darknet_builder.boxes.candidates import Candidates
from darknet_builder.boxes.detections import Detections
from darknet_builder.errors import CfgWarning, DarknetError, DataError, ImageError, InputError
from darknet_builder.export.export import export_network
from darknet_builder.layers.heads.region import Region
from darknet_builder.layers.tree import Tree
from darknet_builder.network.build import build_network
from darknet_builder.prediction.detector import Detector
from darknet_builder.shapes import Shape
from tests.helpers.darknet_images import PHOTOGRAPHS, darknet_image
from tests.helpers.toy_detector import BLUE, CFG, NAMES, RED, squares, toy_files, toy_network

MODELS = (
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
    "yolo-fastest-1.0-xl",
    "MobileNetV2-YOLOv3-Nano-coco",
    "MobileNetV2-YOLOv3-Nano-voc",
)
RECORDED_THRESHOLD = 0.2
NEAR = 0.05
"""How far above the threshold a box is sure to be found by two JPEG decoders."""


@pytest.fixture
def toy() -> Detector:
    """A detector of red and blue squares."""
    return Detector(toy_network(), names=NAMES)


# ---- against Darknet -----------------------------------------------------------------------------

Row = tuple[int, float, tuple[float, ...]]


def unmatched(
    recorded: list[Row], found: list[Row], probability: float, place: float
) -> tuple[list[Row], list[Row]]:
    """Return recorded and detected rows without a partner; each partner counts once.

    Partners have the same class, and their probabilities and boxes differ by no more than the
    tolerances.
    """
    free, missing = list(found), []
    for row in recorded:
        partner, nearest = None, np.inf
        for other in free:
            distance = float(np.abs(np.subtract(other[2], row[2])).max())
            alike = other[0] == row[0] and abs(other[1] - row[1]) <= probability
            if alike and distance <= place and distance < nearest:
                partner, nearest = other, distance
        if partner is None:
            missing.append(row)
        else:
            free.remove(partner)
    return missing, free


def rows_of(found: Detections) -> list[Row]:
    """Return (class, probability, relative box) for each detection."""
    return [
        (class_id, score, tuple(box))
        for class_id, score, box in zip(
            found.class_ids.tolist(),
            found.scores.tolist(),
            found.boxes_cxcywh.tolist(),
            strict=True,
        )
    ]


def recorded_cases(shared: Path, model: str, mode: str) -> Iterator[tuple[str, list[Row]]]:
    """Yield (image, rows that Darknet found)."""
    recorded = json.loads((shared / "parity" / "detections.json").read_text())
    for image in PHOTOGRAPHS:
        rows = recorded[f"{model}|{image}.jpg|{mode}"]
        yield image, [(int(row[0]), row[1], tuple(row[3:])) for row in rows]


def real_detector(shared: Path, model: str, mode: str) -> Detector:
    """Return one of the pretrained networks, with the settings of the recording."""
    models = shared / "models"
    return Detector(
        models / f"{model}.cfg",
        models / f"{model}.weights",
        models / ("voc.names" if "voc" in model else "coco.names"),
        threshold=RECORDED_THRESHOLD,
        nms=0.45,
        resize=mode,
    )


@pytest.mark.pack
@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("model", MODELS)
def test_real_photographs(shared: Path, model: str, mode: str) -> None:
    """In six photographs, everything well above the threshold is found, and nothing else."""
    detector = real_detector(shared, model, mode)
    sure = RECORDED_THRESHOLD + NEAR
    for image, recorded in recorded_cases(shared, model, mode):
        missing, extra = unmatched(
            recorded, rows_of(detector(shared / "images" / f"{image}.jpg")), 0.02, 0.01
        )
        assert [row for row in missing if row[1] >= sure] == [], image
        assert [row for row in extra if row[1] >= sure] == [], image


@pytest.mark.pack
@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("model", MODELS)
def test_real_photographs_as_darknet_decodes_them(shared: Path, model: str, mode: str) -> None:
    """From the same pixels, exactly the same boxes, up to the rounding of float32."""
    detector = real_detector(shared, model, mode)
    for image, recorded in recorded_cases(shared, model, mode):
        found = detector(darknet_image(shared / "images", image))
        assert unmatched(recorded, rows_of(found), 5e-5, 5e-6) == ([], []), image


# ---- by hand -------------------------------------------------------------------------------------


def test_squares_are_found_where_they_are(toy: Detector) -> None:
    """The box is the square, to the pixel; the class is its colour."""
    found = toy(squares((RED, 1, 2), (BLUE, 3, 0)))
    assert sorted(found.labels) == ["blue", "red"]
    assert found[found.class_ids == 0].boxes_xyxy.tolist() == [[8, 16, 16, 24]]
    assert found[found.class_ids == 1].boxes_xyxy.tolist() == [[24, 0, 32, 8]]
    assert found.scores.tolist() == pytest.approx([0.99991] * 2, abs=1e-5)
    assert found.image_size == (32, 32)


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_boxes_are_in_the_images_own_pixels(mode: str) -> None:
    """This holds for an image twice as wide as high, stretched or letterboxed."""
    detector = Detector(toy_network(), names=NAMES, resize=mode)
    image = np.zeros((64, 128, 3), np.uint8)
    image[32:64, 64:96] = RED
    best = detector(image)[0]
    assert best.name == "red"
    centre = ((best.box_xyxy[0] + best.box_xyxy[2]) / 2, (best.box_xyxy[1] + best.box_xyxy[3]) / 2)
    assert centre == pytest.approx((80, 48), abs=17)
    assert best.box_xyxy[2] - best.box_xyxy[0] == pytest.approx(32, abs=0.01)
    assert best.box_xyxy[3] - best.box_xyxy[1] == pytest.approx(
        16 if mode == "stretch" else 32, abs=0.01
    )


def test_files_arrays_and_lists(toy: Detector, tmp_path: Path) -> None:
    """One image gives Detections, a list gives a list in its order, for any batch size."""
    one, two = squares((RED, 0, 0)), squares((BLUE, 2, 2), (RED, 3, 3), size=(80, 40))
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), two)
    expected = [toy(one), toy(two)]
    assert [len(found) for found in expected] == [1, 2]
    for batch in (1, 2, 5):
        detector = Detector(toy.network, names=NAMES, batch=batch)
        assert detector([one, str(path), path, two]) == [
            expected[0],
            expected[1],
            expected[1],
            expected[1],
        ]
    assert toy((one,)) == [expected[0]]
    assert toy([]) == []
    assert toy(squares()) == toy(squares())[:0]


def test_images_as_programs_hold_them(toy: Detector, tmp_path: Path) -> None:
    """Bytes, file objects, RGB arrays and PIL images give the file's result, alone and in a list."""
    image = squares((BLUE, 2, 2), (RED, 3, 3), size=(80, 40))
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), image)
    expected, data = toy(path), path.read_bytes()
    rgb = np.ascontiguousarray(image[..., ::-1])
    assert len(expected) == 2 and toy(rgb) != expected
    assert toy(rgb, channels="rgb") == toy(data) == toy(io.BytesIO(data)) == expected
    pil = pytest.importorskip("PIL.Image")
    many = [path, rgb, bytearray(data), io.BytesIO(data), pil.fromarray(rgb)]
    assert toy(many, channels="rgb") == [expected] * 5
    with pil.open(path) as opened:
        assert toy(opened) == expected
    with pytest.raises(
        InputError, match=r"^channels=BGR: expected bgr or rgb; did you mean 'bgr'\?$"
    ):
        toy(image, channels="BGR")
    with pytest.raises(ImageError, match="^<bytes>: the file is empty$"):
        toy(b"")


def test_from_files(tmp_path: Path) -> None:
    """Paths of cfg, weights and names are enough."""
    cfg, weights, names = toy_files(tmp_path)
    detector = darknet_builder.Detector(cfg, weights, names)
    assert detector(squares((BLUE, 0, 3))).labels == ["blue"]
    assert not detector.network.training
    assert Detector(Path(cfg), Path(weights)).names == ("class 0", "class 1")
    assert Detector(CFG, weights, list(NAMES)).names == NAMES


def test_another_size_of_input(tmp_path: Path) -> None:
    """width= and height= replace the cfg's."""
    cfg, weights, names = toy_files(tmp_path)
    detector = Detector(cfg, weights, names, width=64, height=96)
    assert detector.network.input_size == (64, 96)
    assert detector(squares((RED, 1, 1), size=(64, 96)))[0].name == "red"


def test_threshold_and_nms() -> None:
    """A score must be above the threshold; nms=1 keeps all boxes."""
    image = squares((RED, 1, 1))
    image[8:16, 8:16] //= 2  # half as bright: objectness .5
    score = Detector(toy_network(), threshold=0)(image).scores[0]
    assert 0.3 < score < 0.6
    assert len(Detector(toy_network(), threshold=float(score))(image)) == 0
    assert len(Detector(toy_network(), threshold=float(score) - 1e-3)(image)) == 1


def test_the_way_of_resizing_is_the_cfgs() -> None:
    """letter_box=1 or the dialect decides; the argument overrides both."""
    assert Detector(toy_network()).resize == "stretch"
    assert (
        Detector(toy_network(CFG.replace("channels=3", "channels=3\nletter_box=1"))).resize
        == "letterbox"
    )
    other = build_network(CFG.replace("local_avgpool", "maxpool"), dialect="pjreddie")
    assert Detector(other).resize == "letterbox"
    assert Detector(other, resize="stretch").resize == "stretch"


def test_a_network_is_put_into_eval_mode_and_where_it_shall_be(toy: Detector) -> None:
    """The given network's mode does not matter."""
    network = toy_network().train()
    detector = Detector(network, device="cpu")
    assert not network.training
    assert detector.device == torch.device("cpu")
    assert not detector.has_memory


RECURRENT = CFG.replace(
    "[yolo]", "[crnn]\noutput=7\nhidden=7\nsize=3\npad=1\nactivation=linear\n[yolo]"
)


def test_a_network_with_memory_forgets_between_calls() -> None:
    """The state is reset, unless keep_state says that these are frames of one video."""
    torch.manual_seed(5)
    network = build_network(RECURRENT)
    detector = Detector(network, threshold=0, nms=1)
    image = squares((RED, 1, 1))
    first = detector(image)
    assert detector.has_memory and len(first)
    assert detector(image) == first
    assert detector(image, keep_state=True) != first


def test_the_answer_is_sorted() -> None:
    """The highest score comes first."""
    image = squares((RED, 0, 0), (RED, 2, 2), (BLUE, 1, 3))
    image[:8, :8] //= 2
    scores = Detector(toy_network(), threshold=0.1)(image).scores
    assert len(scores) == 3
    assert (np.diff(scores) <= 0).all() and scores[0] > scores[2]


# ---- hierarchies ---------------------------------------------------------------------------------


def tree_candidates(report_map: list[int] | None) -> tuple[Region, Candidates]:
    """A [region] over a tree of three classes in two groups, with one cell."""
    region = Region(
        Shape(8, 1, 1),
        anchors=[(1, 1)],
        classes=3,
        softmax=True,
        tree=Tree(names=("a", "b", "c"), parents=(-1, -1, 0)),
    )
    region.report_map = report_map
    raw = torch.tensor([0.0, 0, 0, 0, 0, 3, 0, 1]).reshape(1, 8, 1, 1)
    return region, region.decode(raw, (32, 32))


def test_a_path_down_the_tree_is_reported_where_there_is_an_object() -> None:
    """The path's own probability is reported if the objectness is above the threshold.

    See region_layer.c:398.
    """
    region, candidates = tree_candidates(None)
    assert candidates.objectness.item() == 0.5
    assert candidates.scores.max().item() > 0.9
    assert region.reported_classes == 3


def test_classes_of_a_map() -> None:
    """map= selects classes of the tree."""
    region, candidates = tree_candidates([2, 0])
    assert region.reported_classes == candidates.scores.shape[2] == 2


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"threshold": 1.5}, "threshold=1.5: expected a number from 0 to 1"),
        ({"nms": -0.1}, "nms=-0.1: expected a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold=nan: expected a number from 0 to 1"),
        ({"batch": 0}, "batch=0: expected 1 or more images"),
        (
            {"resize": "strech"},
            "resize='strech' is unknown; expected stretch or letterbox; did you mean 'stretch'?",
        ),
        (
            {"weights": "a.weights"},
            "a Network is already built and loaded; it cannot be given weights, width or height",
        ),
        (
            {"width": 64},
            "a Network is already built and loaded; it cannot be given weights, width or height",
        ),
        (
            {"names": ["cat"]},
            "names: got 1 names, but the network has 2 classes (classes= in the cfg)",
        ),
        ({"cfg": CFG}, "weights: expected the path of a .weights file"),
    ],
)
def test_mistakes(changes: dict[str, Any], text: str) -> None:
    """Each mistake is one line."""
    with pytest.raises(DarknetError) as raised:
        Detector(**{"cfg": toy_network(), **changes})
    assert str(raised.value) == text


def test_one_set_of_weights_is_enough(tmp_path: Path) -> None:
    _, weights, _ = toy_files(tmp_path)
    export_network(toy_network(), tmp_path / "toy.pt")
    with pytest.raises(InputError) as raised:
        Detector(tmp_path / "toy.pt", weights)
    assert str(raised.value) == f"{tmp_path / 'toy.pt'} holds weights already; leave {weights} out"


def test_devices_that_are_not_here() -> None:
    """The error has the name and torch's reason, or the name that was probably meant."""
    for name, meant in (
        ("cudaa", "; did you mean 'cuda'?"),
        ("CPU", "; did you mean 'cpu'?"),
        ("0", ""),
        ("gpu", "; did you mean 'cuda'?"),
        ("gpu:1", "; did you mean 'cuda'?"),
    ):
        with pytest.raises(InputError) as raised:
            Detector(toy_network(), device=name)
        assert (
            str(raised.value)
            == f"device {name!r} is unknown; expected cpu, cuda, cuda:1, ...{meant}"
        )
    with pytest.raises(InputError, match=r"^device 'vulkan' cannot be used here: .{5,100}$"):
        Detector(toy_network(), device="vulkan")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"^device 'cuda' cannot be used here: \S.*$"):
            Detector(toy_network(), device="cuda")


def test_names_that_do_not_fit(tmp_path: Path) -> None:
    """The error has both numbers and the file."""
    path = tmp_path / "coco.names"
    path.write_text("cat\ndog\ncow\n")
    with pytest.raises(DataError) as raised:
        Detector(toy_network(), names=path)
    assert (
        str(raised.value)
        == f"{path}: has 3 names, but the network has 2 classes (classes= in the cfg)"
    )


def test_images_that_cannot_be_read(toy: Detector, tmp_path: Path) -> None:
    """A missing file and an object that is not an image are reported."""
    with pytest.raises(ImageError, match="No such file or directory"):
        toy([squares(), tmp_path / "none.jpg"])
    with pytest.raises(InputError, match="got a Tensor$"):
        toy(torch.zeros(3, 8, 8))  # type: ignore[call-overload]
    with pytest.raises(InputError, match="got a NoneType$"):
        toy([None])  # type: ignore[list-item]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_the_gpu() -> None:
    """The GPU gives the same objects at the same positions."""
    image = squares((RED, 1, 2), (BLUE, 3, 0))
    here, there = (
        Detector(toy_network())(image),
        Detector(toy_network(), device="cuda", batch=2)([image, image])[1],
    )
    assert here.labels == there.labels
    assert np.allclose(here.boxes_xyxy, there.boxes_xyxy, atol=1e-3)
    assert np.allclose(here.scores, there.scores, atol=1e-4)


def test_odd_cfgs_still_warn(tmp_path: Path) -> None:
    """An unknown key gives a warning."""
    _, weights, _ = toy_files(tmp_path)
    with pytest.warns(CfgWarning, match="unknown option"):
        Detector(CFG.replace("classes=2", "classes=2\ncolour=red"), weights)
