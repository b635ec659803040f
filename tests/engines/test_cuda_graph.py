"""CUDA graphs of the ``torch`` engine, with a stand-in for the GPU (see ``recorded_calls``)."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from darknet_builder import build_network
from darknet_builder.engines import cuda_graph, torch_engine
from darknet_builder.engines.base import COMPILED_FROM_CALL
from darknet_builder.engines.choice import make_engine
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.engines.torch_engine import RecurrentEngine, TorchEngine
from darknet_builder.errors import CfgWarning
from darknet_builder.network.network import Network
from tests.helpers.recorded_calls import FakeCuda, FakeGraph, FakeStream
from tests.helpers.unit_networks import UNIT_CFGS

CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\nactivation={}\n"
HEAD = """[convolutional]
filters=6
size=1
activation=linear
[yolo]
mask=0
anchors=4,4
num=1
classes=1
"""
CFG = f"""[net]
width=12
height=8
channels=3
{CONVOLUTION.format("mish")}{CONVOLUTION.format("leaky")}[shortcut]
from=-2
activation=linear
[maxpool]
size=2
stride=2
{HEAD}[route]
layers=-3
{HEAD}"""
RECURRENT = "[net]\nwidth=8\nheight=8\nchannels=3\n[crnn]\noutput=4\nhidden=4\nsize=3\npad=1\n"
ENOUGH = COMPILED_FROM_CALL + 1


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Let ``torch.cuda`` record on the CPU."""
    return FakeCuda(monkeypatch)


@pytest.fixture
def network() -> Network:
    """Two heads, one of which reads what other layers read as well."""
    torch.manual_seed(0)
    return build_network(CFG).eval()


def on_gpu(
    network: Network,
    make: Callable[[Network], TorchEngine] = lambda network: TorchEngine(network, "float32"),
) -> TorchEngine:
    """Return an engine that takes its network for one on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "device", torch.device("cuda", 0))
        return make(network)


def photos(network: Network, batch: int = 1) -> Tensor:
    """Return a random input."""
    return torch.rand(network.input_shape.batched(batch))


@torch.no_grad()
def assert_right(engine: TorchEngine, network: Network, x: Tensor) -> list[Tensor]:
    """Compare outputs with those of the network."""
    outputs, expected = engine(x), network.outputs(x.float())
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, wanted, rtol=1e-5, atol=1e-6)
    return outputs


def test_the_third_call_records(cuda: FakeCuda, network: Network) -> None:
    """Once for each shape; all recordings share a pool and a stream."""
    engine = on_gpu(network)
    assert engine.compiles and engine.detail == "CUDA graph"
    for batch in (1, 3):
        for call in range(1, ENOUGH + 1):
            assert_right(engine, network, photos(network, batch))
            assert len(cuda.recorded) == (call >= COMPILED_FROM_CALL) + (batch == 3)
    first, second = cuda.recorded
    assert first["pool"] is second["pool"] and first["stream"] is second["stream"]
    assert first["capture_error_mode"] == "thread_local"
    assert isinstance(first["stream"], FakeStream)


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_every_section(name: str, cuda: FakeCuda) -> None:
    """No layer of the package waits for the device, and replays give the network's outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CfgWarning)
        network = build_network(UNIT_CFGS[name]).eval()
    if network.is_recurrent:
        pytest.skip("a network with memory runs itself")
    engine = on_gpu(network)
    for _ in range(ENOUGH):
        assert_right(engine, network, photos(network, 2))
    assert engine.compiles and len(cuda.recorded) == 1


def test_the_warm_up_is_on_a_side_stream(cuda: FakeCuda, network: Network) -> None:
    """It waits for the caller's stream, and is not the stream of the recording."""
    engine, streams = on_gpu(network), list[FakeStream]()
    engine._fused.register_forward_hook(lambda *_: streams.append(cuda.current_stream()))
    here = cuda.current_stream()
    for _ in range(ENOUGH):
        engine(photos(network))
    plain, (side, *others), recording = streams[:2], streams[2:-1], streams[-1]
    assert all(stream is here for stream in plain) and here in side.waited_for
    assert len(others) >= 2 and all(stream is side for stream in others)
    assert len({id(stream) for stream in (here, side, recording)}) == 3
    assert cuda.current_stream() is here


def test_earlier_outputs_stay_as_they_are(cuda: FakeCuda, network: Network) -> None:
    """Outputs are copied out of the memory that the next call overwrites."""
    engine = on_gpu(network)
    for _ in range(ENOUGH):
        first = assert_right(engine, network, photos(network))
    kept = [output.clone() for output in first]
    second = assert_right(engine, network, photos(network))
    assert all(map(torch.equal, first, kept))
    assert not any(map(torch.equal, first, second))
    assert cuda.recorded


def test_recordings_of_several_shapes_alternate(cuda: FakeCuda, network: Network) -> None:
    """More shapes than are kept: the least recently used one is recorded again."""
    engine = on_gpu(network)
    sizes = range(1, torch_engine._MAX_LAYOUTS + 2)
    for size in (*sizes, *sizes):
        for _ in range(COMPILED_FROM_CALL):
            assert_right(engine, network, photos(network, size))
    assert len(engine._compiled) == torch_engine._MAX_LAYOUTS
    assert len(cuda.recorded) == 2 * len(sizes)


def test_other_types_and_orders(cuda: FakeCuda, network: Network) -> None:
    """They are copied into the same recording."""
    engine = on_gpu(network)
    for _ in range(ENOUGH):
        assert_right(engine, network, photos(network, 2))
    x = photos(network, 2)
    assert_right(engine, network, x.contiguous(memory_format=torch.channels_last))
    assert_right(engine, network, torch.rand(2, 3, 8, 24)[..., ::2])
    assert_right(engine, network, x.double())
    assert_right(engine, network, x.requires_grad_())
    assert len(cuda.recorded) == 1


def test_float16_and_bfloat16(cuda: FakeCuda, network: Network) -> None:
    """The recorded input has the type of the activations; raw maps are float32."""
    for precision in ("float16", "bfloat16"):
        engine = on_gpu(network, lambda network: TorchEngine(network, precision))  # noqa: B023
        plain = TorchEngine(network, precision, "plain")
        for _ in range(ENOUGH):
            x = photos(network)
            outputs = engine(x)
            assert all(output.dtype == torch.float32 for output in outputs)
            assert all(map(torch.equal, outputs, plain(x)))
    assert len(cuda.recorded) == 2


@pytest.mark.parametrize("recorded_in_inference_mode", [True, False])
def test_inference_mode(recorded_in_inference_mode: bool, cuda: FakeCuda, network: Network) -> None:
    """A recording can be replayed in the other mode."""
    engine = on_gpu(network)
    for mode in (recorded_in_inference_mode, not recorded_in_inference_mode):
        with torch.inference_mode(mode):
            for _ in range(ENOUGH):
                outputs = assert_right(engine, network, photos(network))
            assert all(output.is_inference() == mode for output in outputs)
    assert len(cuda.recorded) == 1


def test_warm_up_records(cuda: FakeCuda, network: Network) -> None:
    """In advance, as the oneDNN graph is compiled."""
    fast = OptimizedNetwork(network, on_gpu(network), "torch", "float32")
    assert fast.compiles and fast.warm_up(2).describe() == "torch (CUDA graph) in float32"
    assert len(cuda.recorded) == 1
    fast.outputs(photos(network, 2))
    assert len(cuda.recorded) == 1


def test_replays_of_threads_follow_each_other(cuda: FakeCuda, network: Network) -> None:
    """Each thread's stream waits for the previous replay; each gets its own outputs."""
    engine, errors = on_gpu(network), list[BaseException]()
    together = threading.Barrier(4)
    waited = []

    def work() -> None:
        try:
            together.wait()
            for _ in range(10):
                assert_right(engine, network, photos(network))
                assert_right(engine, network, photos(network, 2))
            waited.append(cuda.current_stream().waited_for[-1])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(cuda.recorded) == 2
    assert engine._cuda_graphs is not None
    finished = engine._cuda_graphs._finished
    assert waited == [finished] * 4


def test_the_order_of_a_replay(
    cuda: FakeCuda, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait for the previous one, copy in, replay, copy out, and only then report the end."""
    engine, events = on_gpu(network), list[str]()
    for _ in range(ENOUGH):
        engine(photos(network))
    assert engine._cuda_graphs is not None
    replay, here = FakeGraph.replay, cuda.current_stream()

    def note(name: str) -> Callable[..., None]:
        return lambda *_: events.append(name)

    def noted_replay(graph: FakeGraph) -> None:
        events.append("replay")
        replay(graph)

    monkeypatch.setattr(FakeStream, "wait_event", note("wait"))
    monkeypatch.setattr(engine._cuda_graphs._finished, "record", note("end"))
    monkeypatch.setattr(FakeGraph, "replay", noted_replay)
    copy, to = Tensor.copy_, Tensor.to
    with monkeypatch.context() as patch:
        patch.setattr(FakeGraph, "replay", note("replay"))
        patch.setattr(Tensor, "copy_", lambda *args: (events.append("in"), copy(*args))[1])
        patch.setattr(
            Tensor, "to", lambda *args, **kwargs: (events.append("out"), to(*args, **kwargs))[1]
        )
        engine(photos(network))
    assert events == ["wait", "in", "replay", "out", "out", "end"]
    assert cuda.current_stream() is here


# ---- without a graph -----------------------------------------------------------------------------


def test_a_network_that_cannot_be_recorded(cuda: FakeCuda, network: Network) -> None:
    """It runs as before, with one warning; the engine says why."""
    cuda.forbidden = {torch.ops.aten.leaky_relu.default, torch.ops.aten.leaky_relu_.default}
    engine, here = on_gpu(network), cuda.current_stream()
    fast = OptimizedNetwork(network, engine, "torch", "float32")
    cause = "operation not permitted when stream is capturing"
    with pytest.warns(RuntimeWarning, match=f"without a CUDA graph, which is slower: {cause}$"):
        try:
            raise RuntimeError("an error that the caller handles, which is not the cause")
        except RuntimeError:
            fast.warm_up()
    assert cuda.current_stream() is here
    assert not fast.compiles and fast.detail.endswith(f"no CUDA graph can be recorded: {cause}")
    assert cuda_graph._FAILED.pop() is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in (1, 2):
            for _ in range(ENOUGH):
                assert_right(engine, network, photos(network, batch))
    assert len(cuda.recorded) == 1


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: [x.nonzero()], "aten.nonzero.default"),
        (lambda x: [x[x > 0]], "aten.index.Tensor"),
        (lambda x: [x.masked_select(x > 0)], "aten.masked_select.default"),
        (lambda x: [x * float(x.sum())], "aten._local_scalar_dense.default"),
        (lambda x: [x if x.any() else -x], "aten._local_scalar_dense.default"),
        (lambda x: [x.to("meta")], "aten._to_copy.default"),
        (lambda x: [x.sum().to("meta")], "aten._to_copy.default"),
    ],
)
def test_a_function_that_waits_is_not_recorded(
    function: Callable[[Tensor], list[Tensor]], operator: str, cuda: FakeCuda
) -> None:
    """PyTorch might not recover from a recording that fails, so it is not begun."""
    here = cuda.current_stream()
    graphs = cuda_graph.CudaGraphs(function, torch.device("cuda", 0))
    with pytest.raises(RuntimeError, match=f"^{operator} waits for the GPU$"):
        graphs.record(torch.ones(2, 3))
    assert not cuda.recorded and not cuda_graph._FAILED
    assert cuda.current_stream() is here


def test_functions_that_do_not_wait(cuda: FakeCuda) -> None:
    """Indices, conditions and random numbers can be recorded."""

    def function(x: Tensor) -> list[Tensor]:
        index = torch.arange(2, device=x.device)
        signs = torch.where(x > 0, 1.0, -1.0) * torch.tensor(2.0)
        return [x[index], signs, x.clone().relu_(), x + torch.rand_like(x)]

    replay = cuda_graph.CudaGraphs(function, torch.device("cuda", 0)).record(torch.zeros(2, 3))
    x = torch.tensor([[-3.0, 1, 2], [4, -5, 6]])
    taken, signs, positive, noisy = replay(x)
    assert torch.equal(taken, x)
    assert torch.equal(signs, 2 * x.sign())
    assert torch.equal(positive, x.clamp(min=0))
    assert not torch.equal(noisy, replay(x)[-1])
    assert len(cuda.recorded) == 1


def test_a_failure_frees_earlier_recordings(cuda: FakeCuda, network: Network) -> None:
    """Memory may be what was missing."""
    engine = on_gpu(network)
    for _ in range(ENOUGH):
        engine(photos(network))
    assert len(engine._compiled) == 1
    cuda.forbidden = {torch.ops.aten.mish.default, torch.ops.aten.mish_.default}
    with pytest.warns(RuntimeWarning):
        for _ in range(ENOUGH):
            assert_right(engine, network, photos(network, 2))
    assert not engine._compiled
    assert_right(engine, network, photos(network))
    cuda_graph._FAILED.clear()


def test_a_failure_while_threads_wait_to_record(
    cuda: FakeCuda, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not try again."""
    cuda.forbidden = {torch.ops.aten.mish.default, torch.ops.aten.mish_.default}
    engine, all_wait = on_gpu(network), threading.Barrier(3)
    for _ in range(COMPILED_FROM_CALL - 1):
        engine(photos(network))

    def usable_now() -> bool:
        all_wait.wait(30)  # after each has seen that the engine has CUDA graphs
        return True

    monkeypatch.setattr(cuda_graph.CudaGraphs, "usable_now", staticmethod(usable_now))
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(3) as threads:
        warnings.simplefilter("always")
        list(threads.map(lambda x: assert_right(engine, network, x), [photos(network)] * 3))
    assert len(caught) == len(cuda.recorded) == 1
    cuda_graph._FAILED.clear()


def test_an_error_of_the_network_itself(cuda: FakeCuda, network: Network) -> None:
    """It is not hidden by a warning."""
    engine = on_gpu(network)
    for _ in range(COMPILED_FROM_CALL - 1):
        engine(photos(network))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._fused, "forward", lambda x: {}[x.shape])
        with pytest.raises(KeyError):
            engine(photos(network))
    assert_right(engine, network, photos(network))
    assert len(cuda.recorded) == 1


def test_when_a_replay_would_differ(cuda: FakeCuda, network: Network) -> None:
    """Autocast, deterministic algorithms, and recordings of the caller run the network itself."""
    engine, calls = on_gpu(network), list[int]()
    for _ in range(ENOUGH):
        engine(photos(network))
    engine._fused.register_forward_hook(lambda *_: calls.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # autocast on CUDA warns on a machine without it
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
            assert_right(engine, network, photos(network))
    assert len(calls) == 1
    torch.use_deterministic_algorithms(True)
    try:
        assert_right(engine, network, photos(network))
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(calls) == 2
    cuda.is_capturing = True
    assert_right(engine, network, photos(network))
    assert len(calls) == 3
    cuda.is_capturing = False
    assert_right(engine, network, photos(network))
    assert len(calls) == 3


def test_what_is_not_recorded(cuda: FakeCuda, network: Network) -> None:
    """A method chosen by name, and a network that remembers frames."""
    engine = on_gpu(network, lambda network: TorchEngine(network, "float32", "plain"))
    assert not engine.compiles and engine.detail == "plain"
    recurrent = build_network(RECURRENT).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "device", torch.device("cuda", 0))
        other = make_engine(recurrent, "torch", "float32")
    assert isinstance(other, RecurrentEngine) and not other.compiles
    for _ in range(ENOUGH):
        assert_right(engine, network, photos(network))
        other(photos(recurrent))
    assert not cuda.recorded
