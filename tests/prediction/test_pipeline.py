"""Overlapped detection gives the results of one image after the other, in order, in any case."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder import Detector
from darknet_builder.engines import torch_engine
from darknet_builder.engines.fused import FusedNetwork, available_methods
from darknet_builder.errors import InputError
from darknet_builder.images.files import write_image
from darknet_builder.prediction.pipeline import Outcome, Unreadable, frames_ahead, stream
from tests.engines.test_optimized import SMALL, make


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A detector with random weights that reports many objects."""
    return Detector(make(SMALL.format(activation="leaky")), threshold=0.3, batch=3)


def pictures(count: int) -> list[np.ndarray]:
    """Noise of several sizes."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (20 + index, 30, 3), np.uint8) for index in range(count)]


def test_the_same_as_one_by_one(detector: Detector) -> None:
    """The order is kept, and the last batch may be incomplete."""
    images = pictures(8)
    outcomes = list(stream(detector, images))
    assert len(outcomes) == len(images)
    for image, outcome in zip(images, outcomes, strict=True):
        assert isinstance(outcome, Outcome) and outcome.image is image
        expected = detector(image)
        assert outcome.detections.labels == expected.labels and len(expected)
        assert outcome.detections.boxes_xyxy == pytest.approx(expected.boxes_xyxy, abs=1e-2)


def test_files_that_cannot_be_read_stand_in_their_place(detector: Detector, tmp_path: Path) -> None:
    """They are returned in order, not raised."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    write_image(good, pictures(1)[0])
    bad.write_bytes(b"no image")
    outcomes = list(stream(detector, [bad, good, good, bad, good, good, bad]))
    assert [type(outcome) for outcome in outcomes] == [
        Unreadable,
        Outcome,
        Outcome,
        Unreadable,
        Outcome,
        Outcome,
        Unreadable,
    ]
    assert isinstance(outcomes[0], Unreadable) and str(bad) in str(outcomes[0].error)


def test_finish_runs_elsewhere_and_before(detector: Detector) -> None:
    """``finish`` runs in another thread, and an outcome is returned after it."""
    threads, done = set(), []

    def finish(outcome: Outcome) -> None:
        threads.add(threading.current_thread())
        done.append(outcome.source)

    for number, outcome in enumerate(stream(detector, pictures(7), finish)):
        assert any(outcome.source is source for source in done) and len(done) > number
    assert len(done) == 7 and threads and threading.current_thread() not in threads


def test_mistakes_of_finish_and_of_sources_come_out(detector: Detector) -> None:
    """Exceptions in threads are raised in the caller."""

    def fail(outcome: Outcome) -> None:
        raise InputError("no room on the disk")

    with pytest.raises(InputError, match="^no room on the disk$"):
        list(stream(detector, pictures(2), fail))
    with pytest.raises(InputError, match="^expected a path or a NumPy array"):
        list(stream(detector, [np.zeros((4, 4, 3))]))


def test_it_reads_no_further_than_needed(detector: Detector) -> None:
    """An endless source needs little memory."""
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield pictures(1)[0]

    results = stream(detector, endless())  # type: ignore[arg-type]
    for _ in range(3):
        next(results)
    assert taken <= 8 * detector.batch
    results.close()  # type: ignore[attr-defined]


# ---- compiling -----------------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens: the size of each batch that is run, and of each that is compiled for."""
    events: list[str] = []
    run, compile_graph = Detector.raw_maps, torch_engine._compile_graph

    def watch_run(self: Detector, x: torch.Tensor) -> list[torch.Tensor]:
        events.append(f"run {len(x)}")
        return run(self, x)

    def watch_compile(fused: FusedNetwork, x: torch.Tensor) -> object:
        events.append(f"compile {len(x)}")
        return compile_graph(fused, x)

    monkeypatch.setattr(Detector, "raw_maps", watch_run)
    monkeypatch.setattr(torch_engine, "_compile_graph", watch_compile)
    return events


@pytest.mark.skipif(
    available_methods()[0] != "graph", reason="this PyTorch compiles no graphs here"
)
def test_many_images_are_compiled_for_first(compiled: list[str]) -> None:
    """Once for all streams, and not in the middle of one."""
    detector = Detector(
        make(SMALL.format(activation="leaky")), threshold=0.3, batch=2, backend="torch"
    )
    assert len(list(stream(detector, pictures(20)))) == 20
    assert compiled == ["compile 2", *["run 2"] * 10]
    list(stream(detector, iter(pictures(21)), expected=21))
    assert compiled[11:] == [*["run 2"] * 10, "run 1"]


@pytest.mark.parametrize("lazy", [False, True])
def test_few_images_do_not_wait_for_a_compiler(compiled: list[str], lazy: bool) -> None:
    """Nor do images of which nobody knows how many there are."""
    detector = Detector(
        make(SMALL.format(activation="leaky")), threshold=0.3, batch=10, backend="torch"
    )
    list(stream(detector, iter(pictures(20)) if lazy else pictures(20)))
    assert compiled == ["run 10"] * 2


def test_what_does_not_compile_is_not_warmed_up(detector: Detector, compiled: list[str]) -> None:
    """A Network that runs itself."""
    list(stream(detector, pictures(30)))
    assert compiled == ["run 3"] * 10


# ---- videos --------------------------------------------------------------------------------------


def test_frames_are_decoded_elsewhere_in_order_and_not_far_ahead() -> None:
    """By one thread, which stops when nobody wants more."""
    threads, decoded = set(), []

    def decode() -> Iterator[np.ndarray]:
        for number in range(50):
            threads.add(threading.current_thread())
            decoded.append(number)
            yield np.full((2, 2, 3), number, np.uint8)

    frames = frames_ahead(decode(), 3)
    first = [int(next(frames)[0, 0, 0]) for _ in range(4)]
    assert first == [0, 1, 2, 3]
    assert len(decoded) <= 4 + 2 * 3 + 1
    assert [int(frame[0, 0, 0]) for frame in frames] == list(range(4, 50))
    assert len(threads) == 1 and threading.current_thread() not in threads
