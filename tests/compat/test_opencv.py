"""OpenCV's door: names, rows and detections of OpenCV 4.14 on small networks, and clear errors."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import generator
import numpy as np
import pytest
import torch

from darknet_builder import DarknetError, build_network
from darknet_builder.compat import opencv as dnn
from darknet_builder.compat.opencv import constants
from darknet_builder.compat.opencv.net import Net
from darknet_builder.compat.opencv.reshaping import use_opencv_epsilon
from darknet_builder.support.bundled import default_model
from tests.conftest import GOLDEN
from tests.helpers.opencv_names import keep_opencv_names

CFG, WEIGHTS, _ = default_model()
RECORDED: dict[str, Any] = json.loads((GOLDEN / "opencv.json").read_text())
SHAPES = RECORDED["shapes"]
IMAGE = generator.input_image(7, (1, 3, 192, 192))


@pytest.fixture
def net() -> Net:
    """The bundled detector."""
    return dnn.readNetFromDarknet(str(CFG), str(WEIGHTS))


def picture() -> np.ndarray:
    """A disc, a square and a triangle, to the pixel those of the recording."""
    y, x = np.mgrid[:200, :280]
    image = np.full((200, 280, 3), 225, np.uint8)
    image[(y - 60) ** 2 + (x - 70) ** 2 <= 38**2] = (40, 40, 200)
    image[40:110, 160:230] = (180, 60, 30)
    image[(y >= 125) & (y <= 185) & (abs(x - 140) <= (y - 125) * 0.6)] = (40, 150, 40)
    return image


def built(*sections: str, size: int = 32) -> Net:
    """A network of an input of ``size``, with weights drawn by PyTorch."""
    net = f"[net]\nwidth={size}\nheight={size}\nchannels=3\n"
    torch.manual_seed(1)
    return Net(build_network(net + "".join(sections)))


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference; much faster than ``pytest.approx`` for large arrays."""
    assert first.shape == second.shape
    return float(np.abs(first - second).max())


def convolution(filters: int, options: str = "activation=linear") -> str:
    """A section without batch norm."""
    return f"[convolutional]\nsize=1\nfilters={filters}\n{options}\n"


# ---- against OpenCV 4.14 -------------------------------------------------------------------------


def test_names_and_numbers(net: Net) -> None:
    """Of every layer, from 1."""
    assert net.getLayerNames() == tuple(SHAPES["names"])
    assert [net.getLayer(name).type for name in SHAPES["names"]] == SHAPES["types"]
    assert [net.getLayerId(name) for name in SHAPES["names"]] == [
        *range(1, len(SHAPES["names"]) + 1)
    ]
    assert net.getUnconnectedOutLayers().tolist() == SHAPES["unconnected"]
    assert net.getUnconnectedOutLayers().dtype == np.int32
    assert net.getUnconnectedOutLayersNames() == tuple(SHAPES["unconnected_names"])
    assert (net.getLayerId("_input"), net.getLayerId("data"), net.empty()) == (0, -1, False)
    assert net.getLayer(0).outputNameToIndex("im_info") == -1
    assert net.getLayer("conv_0").outputNameToIndex("conv_0") == 0
    assert net.getLayer(len(SHAPES["names"])).type == "Region"


@pytest.mark.parametrize("fusion", [True, False])
def test_the_value_of_every_layer(net: Net, fusion: bool) -> None:
    """Before and after batch norm and activation, as OpenCV computes it."""
    net.enableFusion(fusion)
    net.setInput(IMAGE)
    names = net.getLayerNames()
    for name, value in zip(names, net.forward(names), strict=True):
        recorded = SHAPES["layers"][name]
        assert (list(value.shape), value.dtype) == (recorded["shape"], np.float32), name
        sample = value.ravel()[generator.sample_positions(3, value.size, 6)]
        largest = max(1.0, float(np.abs(value).max()))
        assert sample == pytest.approx(recorded["values"], abs=2e-5 * largest), name
        assert np.linalg.norm(value.astype(float)) == pytest.approx(recorded["norm"], rel=1e-5), (
            name
        )


@pytest.mark.parametrize("name", RECORDED["heads"])
def test_rows_of_a_head(name: str) -> None:
    """Order, thresholds and suppression are OpenCV's."""
    recorded = RECORDED["heads"][name]
    values = [
        generator.segment_values("bias", 14, 3, 1.0, 5, 0),
        generator.segment_values("weight", 42, 3, 1.0, 5, 14),
    ]
    weights = struct.pack("<iiiQ", 0, 2, 5, 0) + np.concatenate(values).tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Darknet has no nms_threshold, and no thresh in [yolo]
        net = dnn.readNetFromDarknet(recorded["cfg"].encode(), weights)
    image = generator.input_image(1, (1, 3, 32, 32)) * 4 - 2
    net.setInput(image)
    rows = net.forward()
    assert list(rows.shape) == recorded["shape"]
    assert rows.ravel() == pytest.approx(recorded["rows"], abs=1e-5)
    dnn.DetectionModel(net)  # which switches off suppression within the head
    net.setInput(image)
    after = recorded.get("rows_of_detection_model", recorded["rows"])
    assert net.forward().ravel() == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize("case", SHAPES["detect"])
def test_detections(case: str) -> None:
    """The same objects in the same order, boxes to the pixel."""
    nms, across = case.split()
    model = dnn.DetectionModel(str(WEIGHTS), str(CFG))
    model.setInputParams(size=(192, 192), scale=1 / 255, swapRB=True)
    assert model.setNmsAcrossClasses(across == "True") is model
    assert model.getNmsAcrossClasses() is (across == "True")
    class_ids, confidences, boxes = model.detect(picture(), 0.25, float(nms))
    recorded = SHAPES["detect"][case]
    assert np.array(class_ids).tolist() == recorded["class_ids"]
    assert confidences == pytest.approx(recorded["confidences"], abs=1e-4)
    assert np.array(boxes).tolist() == recorded["boxes"]
    assert [array.dtype for array in map(np.asarray, (class_ids, confidences, boxes))] == [
        np.int32,
        np.float32,
        np.int32,
    ]


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ([convolution(8), "[route]\nlayers=-1\n"], ["conv_0", "identity_1"]),
        (
            [convolution(8), "[route]\nlayers=-1\ngroups=2\n", "[route]\nlayers=-1,-2\n"],
            ["conv_0", "slice_1", "concat_2"],
        ),
        (
            [convolution(8), convolution(8, "activation=leaky")]
            + ["[shortcut]\nfrom=-2\nactivation=mish\n"],
            ["conv_0", "conv_1", "leaky_2", "shortcut_2", "mish_3"],
        ),
        (
            [convolution(8, "batch_normalize=1\nactivation=tanh"), "[sam]\nfrom=-1\n"],
            ["conv_0", "bn_0", "tanh_1", "sam_1"],
        ),
        (
            ["[avgpool]\n", "[connected]\noutput=4\nactivation=relu\n", "[dropout]\n"]
            + ["[softmax]\n", "[cost]\n"],
            ["avgpool_0", "fullyConnected_1", "relu_2", "identity_2", "softmax_3", "identity_4"],
        ),
        (
            [convolution(8, "xnor=1\nbin_output=1\nactivation=leaky"), "[upsample]\n", "[reorg]\n"],
            ["conv_0", "leaky_1", "upsample_1", "reorg_2"],
        ),
        (
            ["[maxpool]\n", "[local_avgpool]\n", "[batchnorm]\n", "[activation]\nactivation=elu\n"],
            ["pool_0", "local_avgpool_1", "batchnorm_2", "activation_3"],
        ),
    ],
)
def test_names_of_other_sections(sections: list[str], names: list[str]) -> None:
    """OpenCV's where it reads the section (dumped from 4.14), Darknet's elsewhere; all can run."""
    net = built(*sections)
    assert list(net.getLayerNames()) == names
    net.setInput(np.ones((1, 3, 32, 32), np.float32))
    outputs = net.forward(names)
    assert [np.isfinite(value).all() for value in outputs] == [True] * len(names)


def test_values_of_a_shortcut_and_a_softmax() -> None:
    """Before its activation, and in the shape of its input."""
    net = built(
        convolution(4),
        convolution(4),
        "[shortcut]\nfrom=-2\nactivation=relu\n",
        "[avgpool]\n[softmax]\n[cost]\n",
    )
    net.setInput(generator.input_image(3, (1, 3, 32, 32)))
    first, second, total, rectified = net.forward(["conv_0", "conv_1", "shortcut_2", "relu_3"])
    assert apart(total, first + second) < 1e-6
    assert (total < 0).any() and (rectified == np.maximum(total, 0)).all()
    softmax, cost = net.forward(["softmax_4", "identity_5"])
    assert softmax.shape == (1, 4, 1, 1) and softmax.sum() == pytest.approx(1)
    assert (cost == softmax).all()


# ---- inputs --------------------------------------------------------------------------------------


def test_forward_takes_one_name_or_several(net: Net) -> None:
    """An array for one, a tuple for several; the last layer for none."""
    net.setInput(IMAGE)
    first, last = net.getUnconnectedOutLayersNames()
    rows = net.forward((first, last))
    assert isinstance(rows, tuple) and isinstance(net.forward(last), np.ndarray)
    assert apart(net.forward(), rows[1]) < 1e-5
    assert apart(net.forward(outputName=first), rows[0]) < 1e-5
    (same,) = net.forward(outBlobNames=[first])
    assert apart(same, rows[0]) < 1e-5


def test_scale_and_mean_of_an_input(net: Net) -> None:
    """(blob - mean) * scale, also of bytes; the program may change its array afterwards."""
    net.setInput(IMAGE)
    expected = net.forward()
    means = np.array([10, 20, 30], np.float32)
    blob = IMAGE * 255 + means.reshape(-1, 1, 1)
    net.setInput(blob, "data", 1 / 255, (10, 20, 30))
    blob[:] = 0
    assert apart(net.forward(), expected) < 1e-4
    pixels = (IMAGE * 255).astype(np.uint8)
    net.setInput(pixels, scalefactor=1 / 255)
    rows = net.forward()
    net.setInput(pixels / np.float32(255))
    assert apart(net.forward(), rows) < 1e-5


def test_a_batch(net: Net) -> None:
    """(B, N, 5 + C), each image as if alone."""
    batch = np.concatenate((IMAGE, IMAGE[:, :, ::-1]))
    net.setInput(batch)
    both = net.forward()
    assert both.shape == (2, 1728, 13)
    for image, rows in zip(batch, both, strict=True):
        net.setInput(image[None])
        assert apart(net.forward(), rows) < 1e-5


@pytest.mark.parametrize("size", [(256, 160), (200, 200)])
def test_a_blob_of_another_size_reshapes_the_network(net: Net, size: tuple[int, int]) -> None:
    """As if the cfg had that size, there and back."""
    width, height = size
    image = generator.input_image(4, (1, 3, height, width))
    if size == (200, 200):
        with pytest.raises(DarknetError, match="^a blob of 200 x 200 does not fit this network: "):
            net.setInput(image)
            net.forward()
    else:
        text = CFG.read_text().replace("width=192", f"width={width}")
        text = text.replace("height=192", f"height={height}")
        other = dnn.readNetFromDarknet(text.encode(), WEIGHTS.read_bytes())
        names = ["conv_0", "bn_0", *net.getUnconnectedOutLayersNames()]
        net.setInput(image)
        other.setInput(image)
        for ours, expected in zip(net.forward(names), other.forward(names), strict=True):
            assert apart(ours, expected) < 1e-6
    net.setInput(IMAGE)
    recorded = SHAPES["layers"]["conv_0"]
    assert np.linalg.norm(net.forward("conv_0").astype(float)) == pytest.approx(recorded["norm"])


def test_times_of_a_pass(net: Net) -> None:
    """In OpenCV's ticks, together with the last layer."""
    net.setInput(IMAGE)
    net.forward()
    ticks, parts = net.getPerfProfile()
    assert isinstance(ticks, int) and 0 < ticks / cv2.getTickFrequency() < 60
    assert parts.shape == (len(SHAPES["names"]),) and parts.sum() == ticks == parts[-1]


def test_a_network_of_vectors() -> None:
    """Its blob is (B, N)."""
    net = Net(build_network("[net]\ninputs=6\n[connected]\noutput=3\nactivation=linear\n"))
    net.setInput(np.ones((2, 6), np.float32))
    assert net.forward("fullyConnected_0").shape == (2, 3)
    with pytest.raises(DarknetError, match=r"^expected a blob of shape \(B, 6\), got \(2, 5\)$"):
        net.setInput(np.ones((2, 5), np.float32))


# ---- bad input -----------------------------------------------------------------------------------


def with_nan() -> np.ndarray:
    """A blob with one NaN."""
    blob = IMAGE.copy()
    blob[0, 1, 5, 5] = np.nan
    return blob


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda net: net.forward("konv_0"), "layer 'konv_0' not found; did you mean 'conv_0'?"),
        (lambda net: net.forward(["yolo_28", "x"]), "layer 'x' not found"),
        (lambda net: net.getLayer("x"), "layer 'x' not found"),
        (lambda net: net.getLayer(99), "layer 99 not found: there are 63, from 1"),
        (lambda net: net.forward(), "no input is set: call setInput(blob) before forward()"),
        (lambda net: net.setInput(IMAGE, "image"), "blob 'image' not found: the input is called 'data'"),
        (lambda net: net.setInput(with_nan()), "the blob holds numbers that are NaN or infinite"),
        (lambda net: net.setInput(IMAGE[:, :1]), "expected a blob of shape (B, 3, H, W), got (1, 1, 192, 192)"),
        (lambda net: net.setInput(IMAGE[0]), "expected a blob of shape (B, 3, H, W), got (3, 192, 192)"),
        (lambda net: net.setInput(None), "expected a blob of float32 or uint8, got NoneType"),
        (lambda net: net.setInput(IMAGE > 0), "expected a blob of float32 or uint8, got bool"),
        (lambda net: net.setPreferableTarget(77), "DNN_TARGET=77: no DNN_TARGET has this number"),
        (lambda net: net.setPreferableBackend(-1), "DNN_BACKEND=-1: no DNN_BACKEND has this number"),
        (lambda net: dnn.ClassificationModel(net).classify(picture()), "expected a network with one output, this one has 2"),
        (lambda net: dnn.DetectionModel(net).detect(None), "expected a picture (H, W, 3), got NoneType; cv2.imread returns None for a file that it cannot read"),
        (lambda net: dnn.DetectionModel(net).detect(picture()[:, :, 0]), "expected a blob of shape (B, 3, H, W), got (1, 1, 192, 192)"),
        (lambda net: dnn.DetectionModel(built(convolution(4))), "the network ends without a detection head; use ClassificationModel"),
    ],
)  # fmt: skip
def test_bad_input(net: Net, act: Callable[[Net], Any], message: str) -> None:
    """One line each."""
    with pytest.raises(DarknetError) as caught:
        act(net)
    assert str(caught.value) == message


def test_a_network_that_cannot_be_reshaped() -> None:
    """The line names the layer."""
    net = built(convolution(2), "[connected]\noutput=3\nactivation=linear\n", size=8)
    net.setInput(np.ones((1, 3, 16, 8), np.float32))
    with pytest.raises(
        DarknetError,
        match=r"^a blob of 8 x 16 does not fit this network: layer 1 \[connected\] has weights for"
        " another size$",
    ):
        net.forward()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("no.cfg", WEIGHTS), "no.cfg: no such cfg file"),
        ((CFG, "no.weights"), "no.weights: no such weights file"),
        ((CFG,), "darknetModel: expected the .weights file"),
        ((CFG, WEIGHTS.read_bytes()[:-4]), "<buffer>: "),
        ((b"[net]\nwidth=8\nheight=8\n[conv", WEIGHTS), "<text>:4: "),
    ],
)
def test_bad_files(files: tuple[Any, ...], message: str) -> None:
    """One line that begins with the file."""
    with pytest.raises(DarknetError) as caught:
        dnn.readNetFromDarknet(*files)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        (CFG, WEIGHTS),
        (WEIGHTS, CFG),
        (str(CFG), str(WEIGHTS), "darknet"),
        ("darknet", np.fromfile(WEIGHTS, np.uint8), np.fromfile(CFG, np.uint8)),
    ],
)
def test_files_in_either_order(files: tuple[Any, ...]) -> None:
    """As ``cv2.dnn.readNet`` takes them."""
    assert dnn.readNet(*files).getUnconnectedOutLayersNames() == ("yolo_20", "yolo_28")


def test_other_models_are_opencvs() -> None:
    """The line says where."""
    with pytest.raises(
        DarknetError, match="^a.onnx is not a Darknet network .*; cv2.dnn.readNet reads"
    ):
        dnn.readNet("a.onnx")


# ---- settings ------------------------------------------------------------------------------------


def test_constants_are_opencvs() -> None:
    """Those that the installed OpenCV has as well."""
    names = [name for name in vars(constants) if name.startswith("DNN_")]
    same = [name for name in names if hasattr(cv2.dnn, name)]
    assert {name: getattr(dnn, name) for name in same} == {
        name: getattr(cv2.dnn, name) for name in same
    }
    assert len(same) > 20 and set(names) <= set(dnn.__all__)


def test_other_names_are_opencvs_own() -> None:
    """So that one name is enough for a program, even in OpenCV's own place."""
    assert dnn.readNetFromONNX is cv2.dnn.readNetFromONNX
    assert dnn.NMSBoxes is cv2.dnn.NMSBoxes
    with pytest.raises(AttributeError, match="readNetFromNowhere"):
        dnn.readNetFromNowhere  # noqa: B018
    assert not hasattr(dnn, "_private")


def test_what_means_nothing_is_ignored_with_one_warning(net: Net) -> None:
    """Once for each network; the results stay the same."""
    net.setInput(IMAGE)
    expected = net.forward()
    with pytest.warns(
        UserWarning, match="^DNN_BACKEND_VKCOM is ignored, .* CPU in float32: "
    ) as told:
        net.setPreferableBackend(dnn.DNN_BACKEND_VKCOM)
        net.setPreferableTarget(dnn.DNN_TARGET_VULKAN)
    assert len(told) == 1 and told[0].filename == __file__
    assert apart(net.forward(), expected) < 1e-5


def test_native_settings_say_nothing(net: Net) -> None:
    """Nor does an algorithm that PyTorch chooses itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
        net.setPreferableTarget(dnn.DNN_TARGET_CPU)
        net.enableWinograd(False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("target", [dnn.DNN_TARGET_CUDA, dnn.DNN_TARGET_CUDA_FP16])
def test_a_gpu_that_is_not_there(net: Net, target: int) -> None:
    """A warning with the reason, and the CPU, as OpenCV did."""
    net.setPreferableBackend(dnn.DNN_BACKEND_CUDA)
    with pytest.warns(UserWarning, match="^DNN_TARGET_CUDA.* is ignored, .*'cuda' cannot be used"):
        net.setPreferableTarget(target)
    net.setInput(IMAGE)
    assert net.forward().shape == (1728, 13)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(
    ("target", "tolerance"), [(dnn.DNN_TARGET_CUDA, 1e-3), (dnn.DNN_TARGET_CUDA_FP16, 3e-2)]
)
def test_a_gpu(net: Net, target: int, tolerance: float) -> None:
    """The same rows, to the precision of the target."""
    net.setInput(IMAGE)
    expected = net.forward()
    net.setPreferableTarget(target)
    assert apart(net.forward()[:, :5], expected[:, :5]) < tolerance
    net.setPreferableTarget(dnn.DNN_TARGET_CPU)
    assert apart(net.forward(), expected) < 1e-6


@pytest.mark.slow
def test_openvino_is_an_engine(net: Net) -> None:
    """OpenCV's inference engine."""
    pytest.importorskip("openvino")
    net.setInput(IMAGE)
    expected = net.forward()
    net.setPreferableBackend(dnn.DNN_BACKEND_INFERENCE_ENGINE)
    assert apart(net.forward(), expected) < 1e-4


def test_variances_below_zero_stay_finite(tmp_path: Path) -> None:
    """Darknet accepts them down to -1e-5; with OpenCV's epsilon they would give NaN."""
    network = build_network(
        "[net]\nwidth=8\nheight=8\nchannels=3\n"
        + convolution(2, "batch_normalize=1") + convolution(2, "batch_normalize=1")
    )  # fmt: skip
    first, second = (
        module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)
    )
    assert first.running_var is not None
    first.running_var[0] = -5e-6
    use_opencv_epsilon(network)
    assert (first.eps, second.eps) == (1e-5, 1e-6)


# ---- models --------------------------------------------------------------------------------------


def test_the_preprocessing_of_a_model(net: Net) -> None:
    """Set at once or one by one, it is ``blobFromImage``; the size is the cfg's unless set."""
    model = dnn.DetectionModel(net)
    model.setInputParams(1 / 255, (160, 128), (1, 2, 3), True, True)
    blob = dnn.blobFromImage(picture(), 1 / 255, (160, 128), (1, 2, 3), True, True)
    net.setInput(blob)
    expected = net.forward(net.getUnconnectedOutLayersNames())
    other = dnn.Model(str(CFG), str(WEIGHTS)).setInputScale([1 / 255] * 3).setInputSize(160, 128)
    other.setInputMean((1, 2, 3)).setInputSwapRB(True).setInputCrop(True).enableWinograd(False)
    for rows in (model.predict(picture()), other.predict(picture())):
        assert max(map(apart, rows, expected)) < 1e-5
    model.setInputParams()
    assert [rows.shape for rows in model.predict(picture())] == [(432, 13), (1728, 13)]


def test_nothing_found() -> None:
    """Three empty tuples, as OpenCV's binding returns them."""
    model = dnn.DetectionModel(str(CFG), str(WEIGHTS))
    model.setPreferableBackend(dnn.DNN_BACKEND_OPENCV).setPreferableTarget(dnn.DNN_TARGET_CPU)
    assert model.detect(np.zeros((50, 60, 3), np.uint8), 0.9, 0.4) == ((), (), ())


@pytest.mark.parametrize("softmax", [False, True])
def test_classify(softmax: bool) -> None:
    """The class of the largest mean, and its score."""
    model = dnn.ClassificationModel(built("[avgpool]\n", size=8))
    model.setInputParams(scale=1 / 255, swapRB=True)
    assert model.setEnableSoftmaxPostProcessing(softmax) is model
    assert model.getEnableSoftmaxPostProcessing() is softmax
    means = np.array([100, 0, 200]) / 255  # red, green, blue
    expected = np.exp(means[2]) / np.exp(means).sum() if softmax else means[2]
    found = model.classify(np.full((20, 30, 3), (200, 0, 100), np.uint8))
    assert found == (2, pytest.approx(expected, abs=1e-6))


def test_install_covers_every_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    """``cv2.dnn.NAME``, ``from cv2.dnn import NAME`` and ``cv2.dnn_NAME``."""
    keep_opencv_names(monkeypatch)
    dnn.install()
    from cv2 import dnn as second
    from cv2.dnn import readNetFromDarknet  # type: ignore[attr-defined]

    assert cv2.dnn is second is dnn and readNetFromDarknet is dnn.readNetFromDarknet
    assert cv2.dnn_Net is dnn.Net and cv2.dnn_ClassificationModel is dnn.ClassificationModel
    model = cv2.dnn_DetectionModel(str(WEIGHTS), str(CFG))
    model.setInputParams(scale=1 / 255, size=(192, 192), swapRB=True)
    assert isinstance(model, dnn.DetectionModel)
    assert cv2.dnn.NMSBoxes([[0, 0, 5, 5]], [0.9], 0.5, 0.4).tolist() == [0]
