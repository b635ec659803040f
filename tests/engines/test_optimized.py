"""The fast path: every engine and method gives the outputs of the network itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder import Detector, build_network
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.overlap import pairwise_iou
from darknet_builder.cli.program import main
from darknet_builder.engines import choice as engine_choice
from darknet_builder.engines import onnxruntime_engine, torch_engine
from darknet_builder.engines.base import COMPILED_FROM_CALL, Engine
from darknet_builder.engines.choice import BackendChoice, is_depthwise, make_engine, measure_engines
from darknet_builder.engines.fused import METHODS, FusedNetwork, available_methods
from darknet_builder.engines.names import installed_backends
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.engines.torch_engine import TorchEngine
from darknet_builder.errors import CfgWarning, DarknetError, InputError, MissingExtraError
from darknet_builder.images.files import write_image
from darknet_builder.inspection.memory import least_values
from darknet_builder.network.network import Network
from darknet_builder.support import devices
from darknet_builder.support.bundled import default_model
from darknet_builder.support.devices import computes_bfloat16
from darknet_builder.weights.loader import save_weights
from tests.helpers.toy_detector import squares, toy_files
from tests.helpers.unit_networks import UNIT_CFGS

SMALL = (
    """[net]
width=32
height=24
channels=3
"""
    + """[convolutional]
batch_normalize=1
filters=16
size=3
pad=1
activation={activation}
"""
    * 3
    + """[shortcut]
from=-2
activation=linear
[convolutional]
filters=24
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=4,4, 8,8, 16,16
num=3
classes=3
"""
)
REAL = ("yolov4-tiny", "yolov7-tiny", "yolov2-tiny-voc")
MODELS = ("yolo-fastest-1.1-xl", "MobileNetV2-YOLOv3-Nano-voc")
"""One of each family of depthwise networks."""
needs_bfloat16 = pytest.mark.skipif(
    not computes_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16 arithmetic"
)
QUICK = ("attention", "conv-options", "reorg", "upsample")
"""Networks that every engine runs."""
BACKENDS = [name for name in installed_backends() if name != "compile"]


def make(cfg: str | Path, seed: int = 0, **size: int) -> Network:
    """Return a network in eval mode whose batch norms change their inputs."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CfgWarning)
        network = build_network(cfg, **size).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.1, 0.1)
    return network


def difference(answers: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Return the largest difference, relative to the largest value of its map."""
    assert all(part.dtype == torch.float32 for part in answers)
    pairs = list(zip(answers, expected, strict=True))
    assert all(ours.shape == theirs.shape for ours, theirs in pairs)
    return max(
        float((ours - theirs.detach()).abs().max() / theirs.detach().abs().max())
        for ours, theirs in pairs
    )


@torch.inference_mode()
def worst(network: Network, engine: TorchEngine, batch: int = 2) -> float:
    """Return the largest difference from the network, before and after the engine compiles."""
    differences = []
    for _ in range(COMPILED_FROM_CALL + 1):
        x = torch.rand(network.input_shape.batched(batch))
        differences.append(difference(engine(x), network.outputs(x)))
    return max(differences)


@pytest.mark.parametrize("method", [name for name in METHODS if name in available_methods()])
@pytest.mark.parametrize("name", UNIT_CFGS)
def test_every_layer_in_float32(name: str, method: str) -> None:
    """Raw maps within 1e-5, compiled or not, for every option of the unit networks."""
    network = make(UNIT_CFGS[name])
    if network.is_recurrent:
        pytest.skip("a network with memory runs itself")
    assert worst(network, TorchEngine(network, "float32", method)) < 1e-5


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_every_engine_on_every_layer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` chooses among the engines that can run a network; all give right outputs.

    For most networks without onnxruntime: it gets the graph of an exported file, in which
    ``test_every_section_as_onnx`` holds them.
    """
    network, made = make(UNIT_CFGS[name]), dict[str, Engine]()
    backends = set(BACKENDS) if name in QUICK else set(BACKENDS) - {"onnxruntime"}
    monkeypatch.setattr(
        engine_choice,
        "installed_backends",
        lambda names: [name for name in names if name in backends],
    )

    def record(network: Network, backend: str, precision: str) -> Engine:
        made[backend] = make_engine(network, backend, precision)
        return made[backend]

    monkeypatch.setattr(engine_choice, "make_engine", record)
    assert network.optimized("float32", "auto").backend in made
    if network.is_recurrent:
        assert list(made) == ["torch"]
        return
    assert backends - set(made) == ({"openvino"} & backends if name == "avgpool" else set())
    x = torch.rand(network.input_shape.batched(3))
    with torch.inference_mode():
        for engine in made.values():
            assert difference(engine(x), network.outputs(x)) < 1e-5


@pytest.mark.skipif("openvino" not in BACKENDS, reason="openvino is not installed")
def test_a_network_that_openvino_cannot_run() -> None:
    """The error is one line with the engine's name and its reason."""
    with pytest.raises(
        InputError,
        match=(
            "^backend='openvino' cannot run this network: .*aten::avg_pool2d do not "
            "support divisor_override input.$"
        ),
    ):
        make_engine(make(UNIT_CFGS["avgpool"]), "openvino", "float32")


@pytest.mark.skipif("onnxruntime" not in BACKENDS, reason="onnxruntime is not installed")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (b"no model", "cannot run this network: .*protobuf parsing failed"),
        (
            InputError("PyTorch 9 cannot trace this network: why"),
            "this network: PyTorch 9 cannot trace .*: why$",
        ),
        (MissingExtraError("onnxscript is not installed"), "^onnxscript is not installed$"),
    ],
)
def test_auto_goes_on_where_an_engine_fails(
    broken: bytes | Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requested by name, a failing engine is an error of one line; ``auto`` skips it."""

    def convert(network: Network) -> bytes:
        if isinstance(broken, Exception):
            raise broken
        return broken

    monkeypatch.setattr(onnxruntime_engine, "onnx_bytes", convert)
    network = make(SMALL.format(activation="leaky"))
    with pytest.raises(DarknetError, match=said):
        network.optimized(backend="onnxruntime")
    assert network.optimized(backend="auto").backend in set(BACKENDS) - {"onnxruntime"}


@pytest.mark.parametrize("method", [name for name in METHODS if name in available_methods()])
@pytest.mark.parametrize(
    "activation", ["leaky", "mish", "swish", "relu6", "logistic", "hard_mish", "tanh"]
)
def test_activations(activation: str, method: str) -> None:
    """Every activation, whether oneDNN fuses it or not."""
    network = make(SMALL.format(activation=activation))
    assert worst(network, TorchEngine(network, "float32", method)) < 1e-5


@needs_bfloat16
@pytest.mark.parametrize("method", [name for name in METHODS if name in available_methods()])
@pytest.mark.parametrize(
    "activation", ["leaky", "mish", "swish", "relu6", "logistic", "hard_mish", "tanh"]
)
def test_activations_in_bfloat16(activation: str, method: str) -> None:
    """Within a few rounding steps of bfloat16."""
    network = make(SMALL.format(activation=activation))
    assert worst(network, TorchEngine(network, "bfloat16", method)) < 0.03


@pytest.mark.pack
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REAL)
def test_real_networks(name: str, backend: str, shared: Path) -> None:
    """Raw maps within 1e-4 on every engine that is installed."""
    network = make(shared / "cfgs" / "alexeyab" / f"{name}.cfg", width=160, height=128)
    optimized = network.optimized("float32", backend)
    assert (optimized.backend, optimized.precision) == (backend, "float32")
    x = torch.rand(1, 3, 128, 160)
    with torch.inference_mode():
        for _ in range(COMPILED_FROM_CALL):
            answers = optimized(x)
            assert isinstance(answers, list)
            assert difference(answers, network.outputs(x)) < 1e-4


def test_mish_beyond_float_range() -> None:
    """Large inputs do not overflow, although e^x would."""
    network = make(SMALL.format(activation="mish"))
    engine = TorchEngine(network, "float32")
    x = torch.rand(1, 3, 24, 32) * 1e4
    with torch.inference_mode():
        for _ in range(COMPILED_FROM_CALL):
            assert difference(engine(x), network.outputs(x)) < 1e-5


@pytest.mark.parametrize("method", [name for name in METHODS if name in available_methods()])
@pytest.mark.parametrize("order", ["contiguous", "channels_last", "sliced"])
def test_orders_of_the_input(order: str, method: str) -> None:
    """Any memory order of the input works, also in alternation."""
    network = make(SMALL.format(activation="leaky"))
    engine = TorchEngine(network, "float32", method)
    with torch.inference_mode():
        for turn in (order, "contiguous"):
            for _ in range(COMPILED_FROM_CALL + 1):
                x = (
                    torch.rand(2, 3, 24, 64)[..., ::2]
                    if turn == "sliced"
                    else torch.rand(2, 3, 24, 32)
                )
                if turn == "channels_last":
                    x = x.contiguous(memory_format=torch.channels_last)
                assert difference(engine(x), network.outputs(x)) < 1e-5


@pytest.mark.parametrize("method", [name for name in METHODS if name in available_methods()])
@pytest.mark.parametrize("swapped", [True, False])
def test_pools_before_the_route(swapped: bool, method: str) -> None:
    """A strided pool runs before the route that it reads, if nothing else reads the route."""
    convolution = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
    pool = "[maxpool]\nsize=2\nstride=2\n"
    cfg = f"[net]\nwidth=16\nheight=8\nchannels=3\n{convolution * 2}[route]\nlayers=-1,-2\n{pool}"
    if not swapped:
        cfg += "[upsample]\nstride=2\n[route]\nlayers=-1,-3\n"
    network = make(cfg)
    assert (2 in FusedNetwork(network).indices) != swapped
    assert worst(network, TorchEngine(network, "float32", method)) < 1e-5


def test_a_method_that_does_not_exist() -> None:
    """It must not run silently as another one."""
    with pytest.raises(
        InputError, match="method='plane': expected graph, packed or plain"
    ) as error:
        FusedNetwork(build_network("lesson"), method="plane")
    assert error.value.hint == "did you mean 'plain'?"


def test_it_is_a_copy() -> None:
    """Later changes of the network do not reach the copy, and the network is not changed."""
    network = make(SMALL.format(activation="leaky"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.rand(1, 3, 24, 32)
    optimized = network.optimized().warm_up()
    first = optimized.outputs(x)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    torch.nn.init.zeros_(next(network.parameters()))
    assert difference(optimized.outputs(x), first) == 0


def test_other_batches() -> None:
    """Every batch size gives right outputs, also if more sizes occur than stay compiled."""
    network = make(SMALL.format(activation="leaky"))
    optimized = network.optimized()
    for batch in (1, 2, 3, 4, 5, 6, 1):
        for _ in range(COMPILED_FROM_CALL):
            x = torch.rand(batch, 3, 24, 32)
            assert difference(optimized.outputs(x), network.outputs(x)) < 1e-5


def test_the_switch_of_torchscript_is_put_back() -> None:
    """Other TorchScript code in the process is compiled as before."""
    before = torch.jit.onednn_fusion_enabled()
    make(SMALL.format(activation="leaky")).optimized().warm_up()
    assert torch.jit.onednn_fusion_enabled() == before


def test_auto_says_what_it_chose() -> None:
    """``describe`` names the fastest installed engine and the measured times."""
    optimized = make(SMALL.format(activation="leaky")).optimized("auto", "auto")
    assert optimized.backend in BACKENDS and optimized.precision in ("float32", "bfloat16")
    if len(optimized.timings) > 1:
        assert f"{optimized.backend}:{optimized.precision}" in optimized.timings
        assert "auto measured torch:float32 " in optimized.describe()


@pytest.mark.skipif("openvino" not in installed_backends(), reason="openvino is not installed")
def test_openvino_leaves_signals_alone() -> None:
    """After engines end in any order, the next signal must not kill the process."""
    script = """
import faulthandler, gc, signal, sys
faulthandler.enable()
from darknet_builder import build_network
from darknet_builder.engines.choice import make_engine
network = build_network(sys.argv[1]).eval()
first, second = (make_engine(network, "openvino", "float32") for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: None)
signal.raise_signal(signal.SIGTERM)
"""
    command = [sys.executable, "-c", script, SMALL.format(activation="leaky")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_counted_call_follows_one_of_the_same_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of the previous engine that still wait for work disturb only an uncounted call."""
    calls, clock = [], iter(range(1000))

    def engine(name: str) -> Engine:
        return lambda x: calls.append((name, next(clock)))  # type: ignore[return-value, func-returns-value]

    monkeypatch.setattr(engine_choice.time, "perf_counter", lambda: float(next(clock)))
    made = {BackendChoice("a", "float32"): engine("a"), BackendChoice("b", "float32"): engine("b")}
    assert measure_engines(made, torch.zeros(1)) == dict.fromkeys(made, 2.0)
    turns = [name for name, _ in calls[2 * COMPILED_FROM_CALL :]]
    assert turns == ["a", "a", "b", "b"] * (len(turns) // 4) and turns


def test_auto_measures_with_the_batch_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest engine for one image may not be the fastest for eight."""
    shapes = []

    def measure(
        engines: dict[BackendChoice, Engine], x: torch.Tensor
    ) -> dict[BackendChoice, float]:
        shapes.append(tuple(x.shape))
        return dict.fromkeys(engines, 1.0)

    monkeypatch.setattr(engine_choice, "measure_engines", measure)
    Detector(*default_model(), backend="auto", batch=3)
    assert shapes == [(3, 3, 192, 192)]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        (
            {"torch:float32": 3, "torch:bfloat16": 2, "onnxruntime:float32": 4},
            ("torch", "bfloat16"),
        ),
        (
            {"torch:float32": 3, "torch:bfloat16": 2.9, "onnxruntime:float32": 4},
            ("torch", "float32"),
        ),
        (
            {"torch:float32": 3, "torch:bfloat16": 2, "onnxruntime:float32": 1},
            ("onnxruntime", "float32"),
        ),
    ],
)
def test_what_auto_chooses(
    seconds: dict[str, float], chosen: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest one, but bfloat16 only if it is 1.2 times as fast as float32."""
    batches = []

    def measure(
        engines: dict[BackendChoice, Engine], x: torch.Tensor
    ) -> dict[BackendChoice, float]:
        batches.append(len(x))
        assert [":".join(choice) for choice in engines] == [
            "torch:float32",
            "onnxruntime:float32",
            "torch:bfloat16",
        ]
        return {choice: seconds[":".join(choice)] for choice in engines}

    def make_one(network: Network, backend: str, precision: str) -> Engine:
        if (backend, precision) == ("onnxruntime", "bfloat16"):
            raise InputError("no such convolutions")
        return TorchEngine(network, "float32")

    monkeypatch.setattr(engine_choice, "make_engine", make_one)
    monkeypatch.setattr(engine_choice, "measure_engines", measure)
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda device: True)
    monkeypatch.setattr(engine_choice, "installed_backends", lambda names: ["torch", "onnxruntime"])
    optimized = make(SMALL.format(activation="leaky")).optimized("auto", "auto", batch=3)
    assert (optimized.backend, optimized.precision) == chosen and batches == [3]
    assert optimized.timings == seconds


@pytest.mark.parametrize(
    ("limit", "batch", "parts"),
    [
        (8, 8, [8]),
        (4, 8, [4, 4]),
        (3, 8, [2] * 4),
        (6, 7, [4, 3]),
        (0, 2, [1, 1]),
        (2, 7, [1] * 7),
    ],
)
def test_a_large_batch_goes_through_in_parts(
    limit: int, batch: int, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are so small that the largest map, 24 x 24 x 32 values an image, fits the cache."""
    monkeypatch.setattr(torch_engine, "_CACHED_BYTES", limit * 4 * 24 * 24 * 32)
    network = make(SMALL.format(activation="leaky"))
    engine, seen = TorchEngine(network, "float32"), []
    run = engine._run
    monkeypatch.setattr(engine, "_run", lambda x: seen.append(len(x)) or run(x))
    x = torch.rand(network.input_shape.batched(batch))
    with torch.inference_mode():
        assert difference(engine(x), network.outputs(x)) < 1e-5
    assert seen == parts


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], ""),
        (["--backend", "torch", "--precision", "float32"], ""),
        (["--backend", "auto"], r"the network runs on \w+ \(.+\) in float32"),
        (["--precision", "auto"], r"the network runs on torch \(\w+\) in (float32|bfloat16)"),
        (["--backend", "auto", "--quiet"], ""),
    ],
)
def test_detect_says_what_was_chosen(
    options: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a run if backend or precision is ``auto``; not with fixed ones, and not if quiet."""
    cfg, weights, _ = toy_files(tmp_path)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, squares())
    assert (
        main(["detect", str(tmp_path), "--cfg", cfg, "--weights", weights, "--no-images", *options])
        == 0
    )
    said = [text for text in capsys.readouterr().out.splitlines() if "runs on" in text]
    assert len(said) == bool(line)
    assert not line or re.match(line, said[0])


def test_detect_says_where_float32_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """bfloat16 was requested, but a depthwise network stays in float32."""
    cfg, weights, image = tmp_path / "net.cfg", tmp_path / "net.weights", tmp_path / "a.png"
    cfg.write_text(
        SMALL.format(activation="leaky")
        .replace("filters=16", "filters=16\ngroups=16")
        .replace("groups=16", "groups=1", 1)
    )
    save_weights(make(cfg), weights)
    write_image(image, squares())
    assert (
        main(
            [
                "detect",
                str(image),
                "--cfg",
                str(cfg),
                "--weights",
                str(weights),
                "--no-images",
                "--precision",
                "bf16",
            ]
        )
        == 0
    )
    assert re.match(
        r"the network runs on torch \(\w+\) in float32; networks with depthwise convolutions do not"
        r" run in bfloat16\n",
        capsys.readouterr().out,
    )


def test_a_network_with_memory_runs_itself() -> None:
    """A recurrent network keeps its state from frame to frame until it is reset."""
    network = make(UNIT_CFGS["conv-lstm"])
    optimized = network.optimized()
    x = torch.rand(network.input_shape.batched(1))
    first, second = optimized.outputs(x)[0], optimized.outputs(x)[0]
    optimized.reset_state()
    assert not torch.equal(first, second) and torch.equal(first, optimized.outputs(x)[0])
    with pytest.raises(
        InputError,
        match=(
            "^backend='torch', precision='bfloat16': a network with recurrent layers needs "
            "backend='torch' and precision='float32'$"
        ),
    ):
        network.optimized("bfloat16")


def test_mistakes() -> None:
    """Each error is one line."""
    network = make(SMALL.format(activation="leaky"))
    with pytest.raises(
        InputError,
        match=r"^backend='onnxrutime' is unknown; expected one of auto, torch, compile, "
        r"onnxruntime, openvino; did you mean 'onnxruntime'\?$",
    ):
        network.optimized(backend="onnxrutime")
    with pytest.raises(
        InputError, match=r"^precision='half' is unknown; expected one of auto, float32, bfloat16"
    ):
        network.optimized("half")
    with pytest.raises(
        InputError, match=r"^expected an input of shape \(B, 3, 24, 32\), got \(1, 3, 8, 8\)"
    ):
        network.optimized()(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("backend", "extra"), [("onnxruntime", "export"), ("openvino", "openvino")]
)
def test_an_engine_that_is_not_installed(
    backend: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(
        MissingExtraError,
        match=rf"^{backend} is not installed: " rf"pip install 'darknet-builder\[{extra}\]'$",
    ):
        make_engine(make(SMALL.format(activation="leaky")), backend, "float32")


def test_depthwise_networks_keep_float32() -> None:
    """In bfloat16 they would lose detections and gain little speed."""
    depthwise = (
        "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\n"
        "[convolutional]\nfilters=4\ngroups=4\n"
    )
    network = make(depthwise)
    assert is_depthwise(network) and network.optimized("bfloat16").precision == "float32"


@needs_bfloat16
def test_bfloat16_where_it_was_asked_for() -> None:
    """A network without depthwise convolutions runs in bfloat16 on request."""
    assert make(SMALL.format(activation="leaky")).optimized("bfloat16").precision == "bfloat16"


def test_bfloat16_on_a_processor_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, because it would be extremely slow; ``auto`` stays with float32."""
    for module in (devices, engine_choice):
        monkeypatch.setattr(module, "computes_bfloat16", lambda device: False)
    network = make(SMALL.format(activation="leaky"))
    with pytest.raises(
        InputError,
        match=r"^precision='bfloat16': this processor has no bfloat16 arithmetic \(AVX512 "
        r"or AMX on x86\), .*; use precision='float32' or 'auto'$",
    ):
        network.optimized("bfloat16")
    assert network.optimized("auto").precision == "float32"


def test_float16_is_for_gpus() -> None:
    """On CPUs PyTorch supports float16 too, but slowly."""
    with pytest.raises(
        InputError,
        match="^precision='float16' is for GPUs; use bfloat16 or float32, which are faster on CPUs$",
    ):
        make(SMALL.format(activation="leaky")).optimized("float16")


def boxes_cxcywh(objects: Detections) -> torch.Tensor:
    """Return (N, 4) of centre and size in pixels."""
    low, high = torch.tensor(objects.boxes_xyxy).split(2, -1)
    return torch.cat(((low + high) / 2, high - low), -1)


def check_same_objects(
    found: Detections, expected: Detections, box_limit: float, score_limit: float
) -> None:
    """Check for the same objects, matched by IoU, because nearly equal scores may swap places.

    Args:
        found: the objects that the engine finds.
        expected: the objects that the network itself finds.
        box_limit: maximum difference of coordinates, as a fraction of the image.
        score_limit: maximum difference of scores.
    """
    assert sorted(found.labels) == sorted(expected.labels)
    if not len(expected):
        return
    ours, theirs = (boxes_cxcywh(objects) for objects in (found, expected))
    same_class = torch.from_numpy(expected.class_ids[:, None] == found.class_ids)
    partners = (pairwise_iou(theirs, ours) * same_class).argmax(1).numpy()
    assert sorted(partners) == list(range(len(expected)))
    assert (found.class_ids[partners] == expected.class_ids).all()
    size = np.array(expected.image_size * 2)
    assert found.boxes_xyxy[partners] / size == pytest.approx(
        expected.boxes_xyxy / size, abs=box_limit
    )
    assert found.scores[partners] == pytest.approx(expected.scores, abs=score_limit)


@pytest.mark.pack
@pytest.mark.parametrize("name", MODELS)
def test_trained_models_in_float32(name: str, shared: Path) -> None:
    """On every engine, raw maps within 1e-4 and the same objects as from the network itself."""
    model = shared / "models" / name
    names = shared / "models" / ("voc.names" if name.endswith("voc") else "coco.names")
    loaded = Detector(model.with_name(f"{name}.cfg"), model.with_name(f"{name}.weights"))
    slow = Detector(loaded.network, names=names)
    assert slow.runner is slow.network
    images = sorted((shared / "images").glob("*.jpg"))[::2]
    inputs = [slow.prepare(image)[1][None] for image in images]
    expected = [(slow.raw_maps(x), slow(image)) for x, image in zip(inputs, images, strict=True)]
    assert sum(len(found) for _, found in expected) > 5
    for backend in BACKENDS:
        # Depthwise networks run in float32, whatever precision is requested.
        fast = Detector(slow.network, names=names, precision="bfloat16", backend=backend)
        assert isinstance(fast.runner, OptimizedNetwork) and fast.runner.precision == "float32"
        for x, image, (raw_maps, found) in zip(inputs, images, expected, strict=True):
            assert difference(fast.raw_maps(x), raw_maps) < 1e-4, backend
            check_same_objects(fast(image), found, 1e-4, 1e-4)


@needs_bfloat16
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "onnxruntime"])
def test_a_trained_model_in_bfloat16(backend: str) -> None:
    """The bundled network, which is not depthwise, finds the same objects in bfloat16."""
    fast = Detector(*default_model(), precision="bfloat16", backend=backend)
    assert isinstance(fast.runner, OptimizedNetwork) and fast.runner.precision == "bfloat16"
    slow = Detector(fast.network, names=fast.names)
    scenes = sorted((Path(__file__).parents[2] / "docs" / "images" / "scenes").glob("*.jpg"))
    assert len(scenes) > 3
    for image in scenes:
        found, expected = fast(image), slow(image)
        assert sorted(found.labels) == sorted(expected.labels)
        fast.nms = slow.nms = 1  # suppression off
        check_among_candidates(found, slow(image), 0.01, 0.03)
        check_among_candidates(expected, fast(image), 0.01, 0.03)
        fast.nms = slow.nms = 0.45


def check_among_candidates(
    found: Detections, candidates: Detections, box_limit: float, score_limit: float
) -> None:
    """Check that each object is among the candidates of NMS, which may choose another of two."""
    size = np.array(found.image_size * 2)
    for box, class_id, value in zip(found.boxes_xyxy, found.class_ids, found.scores, strict=True):
        near = (np.abs(candidates.boxes_xyxy - box) / size).max(1) < box_limit
        assert (
            near
            & (candidates.class_ids == class_id)
            & (np.abs(candidates.scores - value) < score_limit)
        ).any()


@pytest.mark.pack
@needs_bfloat16
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "onnxruntime"])
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny"])
def test_real_networks_in_bfloat16(name: str, backend: str, shared: Path) -> None:
    """Raw maps are within a few rounding steps of bfloat16, 1/256 each."""
    network = make(shared / "cfgs" / "alexeyab" / f"{name}.cfg", width=160, height=128)
    optimized = network.optimized("bfloat16", backend)
    assert optimized.precision == "bfloat16"
    x = torch.rand(2, 3, 128, 160)
    for _ in range(COMPILED_FROM_CALL):
        assert 0 < difference(optimized.outputs(x), network.outputs(x)) < 0.05


# ---- torch.compile -------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_compile(precision: str) -> None:
    """The outputs of the network; in bfloat16 within a few rounding steps."""
    network = make(SMALL.format(activation="mish"))
    optimized = network.optimized(precision, "compile")
    x = torch.rand(2, 3, 24, 32)
    with torch.inference_mode():
        assert difference(optimized.outputs(x), network.outputs(x)) < (
            1e-5 if precision == "float32" else 0.03
        )
    assert optimized.describe() == f"compile (inductor) in {precision}"


def test_compile_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; a compiler that ``CXX`` names must exist too."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        InputError,
        match=r"^backend='compile' needs a C\+\+ compiler \(Debian, Ubuntu: apt-get install "
        r"g\+\+\); backend='torch' needs none$",
    ):
        make(SMALL.format(activation="leaky")).optimized(backend="compile")


def test_compile_where_the_compiler_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line."""

    def fail(*args: object) -> None:
        raise import_module("torch._dynamo.exc").TorchDynamoException(
            "g++ ended with 1\nand a long list"
        )

    monkeypatch.setattr(torch, "compile", lambda module, **options: fail)
    optimized = make(SMALL.format(activation="leaky")).optimized(backend="compile")
    with pytest.raises(
        InputError, match=r"^backend='compile' cannot run this network: g\+\+ ended with 1$"
    ):
        optimized.outputs(torch.rand(1, 3, 24, 32))


def test_the_least_memory() -> None:
    """A chain needs the input and output of a layer; a sum and a route need no more."""
    head = "[net]\nwidth=8\nheight=8\nchannels=1\n"
    convolution = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
    chain = head + convolution.format(2) + convolution.format(4) + convolution.format(3)
    assert least_values(make(chain)) == 64 * (4 + 3)
    assert least_values(make(chain + "[route]\nlayers=-1,-2\n")) == 64 * 7
    assert least_values(make(chain + convolution.format(3) + "[shortcut]\nfrom=-2\n")) == 64 * 7
