"""Heat maps are those of the grad-cam package, lie on the objects, and say where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder import Detector, draw_scene
from darknet_builder.boxes.detections import Detections
from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.prediction.heatmap import check_layer, default_layer, draw_heatmap, explain
from tests.helpers.toy_detector import BLUE, CFG, NAMES, RED, squares, toy_network


@pytest.fixture(scope="module")
def shapes() -> Detector:
    """The bundled detector."""
    return Detector("shapes")


@pytest.mark.parametrize("layer", [9, 26])
def test_equal_to_the_grad_cam_package(shapes: Detector, golden: Path, layer: int) -> None:
    """Recorded from its ``HiResCAM`` (version 1.5.7), object by object, at every ninth pixel.

    Layer 26 is read by the second head only: the objects of the first have no heat there.
    """
    recorded = np.load(golden / "heatmap.npz")[f"layer_{layer}"]  # (7, 21, 21)
    image = draw_scene(1, size=192).image  # the network's own size: nothing is resized
    found = shapes(image)
    assert len(found) == len(recorded)
    maps = [explain(shapes, image, one, layer=layer) for one in found]
    for heat, expected in zip(maps, recorded, strict=True):
        assert heat[3::9, 3::9] == pytest.approx(expected, abs=1e-4)
    assert sum(bool(heat.any()) for heat in maps) == (7 if layer == 9 else 2)
    assert np.array_equal(explain(shapes, image, layer=layer), np.max(maps, 0))


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_the_heat_is_where_the_object_is(resize: str) -> None:
    """In the image's own pixels, letterboxed or not; every object has its own maximum of 1."""
    image = np.zeros((64, 128, 3), np.uint8)
    image[32:64, 64:96] = RED
    image[0:32, 0:32] = BLUE
    detector = Detector(toy_network(), names=NAMES, resize=resize)
    found = detector(image)  # letterboxed, the toy network takes the grey margins for objects too
    inside = found[[box[1] >= 0 and box[3] <= 64 for box in found.boxes_xyxy.round().tolist()]]
    assert {"red", "blue"} <= set(inside.labels)
    heat = explain(detector, image, inside, layer=0)
    assert heat.shape == (64, 128) and heat.dtype == np.float32
    assert heat.max() == pytest.approx(1)
    assert heat[36:60, 68:92].max() > 0.9 and heat[4:28, 4:28].max() > 0.9
    assert heat[48:56, :24].max() < 0.1 and heat[24:40, 116:].max() < 0.1
    red = explain(detector, image, inside[inside.class_ids == 0][0], layer=0)
    assert red[36:60, 68:92].max() > 0.9 and red[4:20, 4:28].max() < 0.1


def test_nothing_found_gives_no_heat(shapes: Detector) -> None:
    """And nothing to explain either."""
    image = np.full((50, 40, 3), 127, np.uint8)
    assert not explain(shapes, image).any()
    nothing = Detections(np.zeros((0, 4)), [], np.zeros(0, int), shapes.names, (40, 50))
    assert not explain(shapes, image, nothing).any()


def test_the_network_is_left_as_it_was(shapes: Detector) -> None:
    """No hook stays, no gradient is stored, and results do not change."""
    image = draw_scene(1).image
    before = shapes(image)
    explain(shapes, image)
    assert shapes(image) == before and not shapes.network.training
    assert all(parameter.grad is None for parameter in shapes.network.parameters())
    assert not any(module._forward_hooks for module in shapes.network.modules())


def small_network(head: str, filters: int, before: str = "") -> Network:
    """Two maps, 16 x 16 and 8 x 8, and a head; always with the same weights."""
    torch.manual_seed(0)
    network = build_network(
        "[net]\nwidth=32\nheight=32\nchannels=3\n"
        + "[convolutional]\nfilters=4\nsize=3\npad=1\nstride=2\nactivation=leaky\n"
        + "[convolutional]\nfilters=4\nsize=3\npad=1\nstride=2\nactivation=leaky\n"
        + before
        + f"[convolutional]\nfilters={filters}\nsize=1\nactivation=linear\n"
        + head
    )
    return network.eval()


HEADS = {
    "yolo": ("[yolo]\nmask=0\nanchors=8,8\nclasses=2\nnum=1\n", 7),
    "new_coords": ("[yolo]\nmask=0\nanchors=8,8\nclasses=2\nnum=1\nnew_coords=1\n", 7),
    "region": ("[region]\nanchors=1,1\nclasses=2\nnum=1\nsoftmax=1\n", 7),
    "gaussian": ("[Gaussian_yolo]\nmask=0\nanchors=8,8\nclasses=2\nnum=1\n", 11),
}


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
@pytest.mark.parametrize("name", list(HEADS))
def test_every_kind_of_head(name: str) -> None:
    """The default layer is the last one finer than the head's map."""
    network = small_network(*HEADS[name])
    assert default_layer(network) == 0
    detector = Detector(network, threshold=0.001, nms=1)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = detector(image)
    assert len(found) >= 2
    heats = [explain(detector, image, one) for one in found[:10]]
    assert max(heat.max() for heat in heats) == pytest.approx(1)


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [("yolov3-tiny", 8), ("yolov4-tiny", 18), ("yolov2-tiny", 8), ("yolov3", 36)],
)
def test_the_default_layer_of_real_networks(cfg: str, expected: int) -> None:
    """The one that all heads depend on; with one head, the last before the coarsest map."""
    assert default_layer(build_network(cfg, width=64, height=64)) == expected


def test_layers_that_cannot_be_explained(shapes: Detector) -> None:
    """One line for each."""
    for layer, message in (
        (29, "layer=29: expected a layer of the network, 0 to 28"),
        (-1, "layer=-1: expected a layer of the network, 0 to 28"),
        (20, "layer=20: no head reads this layer"),
    ):
        with pytest.raises(InputError) as raised:
            explain(shapes, squares(), layer=layer)
        assert str(raised.value) == message


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_networks_that_cannot_be_explained() -> None:
    """Recurrent ones, and one in which no layer lies on all paths."""
    recurrent = "[crnn]\nhidden=2\noutput=4\nsize=3\npad=1\nactivation=leaky\n"
    network = small_network(*HEADS["yolo"], before=recurrent)
    with pytest.raises(InputError, match="^heat maps need a network without recurrent layers$"):
        check_layer(network, None)
    with pytest.raises(InputError, match=r"^heat maps: no layer with a map lies on all paths"):
        head = CFG[CFG.index("[convolutional]") :]
        check_layer(build_network(CFG[: CFG.index("[local_avgpool]")] + head), None)


def test_drawing() -> None:
    """Where there is no heat, the picture is unchanged; a map of another size is refused."""
    image = np.full((4, 4, 3), 200, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[1, 1] = 1
    drawn = draw_heatmap(image, heat)
    assert (drawn != image).any(2).sum() == 1 and drawn[1, 1, 2] > drawn[1, 1, 0]
    with pytest.raises(
        InputError, match=r"^heat: expected the image's shape \(4, 4\), got \(4, 5\)"
    ):
        draw_heatmap(image, np.zeros((4, 5), np.float32))
