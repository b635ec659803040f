"""The queue: batches, results, cancelled and unreadable images, without any server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from darknet_builder.errors import ImageError, InputError
from darknet_builder.prediction.detector import Detector
from darknet_builder.serving.detection_queue import DetectionQueue, _batch_sizes
from tests.helpers.toy_detector import BLUE, NAMES, RED, squares, toy_network

IMAGES = [squares((RED, column, row)) for column in range(4) for row in range(4)]


class Held(Detector):
    """A detector whose network waits until it is let go, and notes its batches."""

    def __init__(self, batch: int) -> None:
        super().__init__(toy_network(), names=NAMES, batch=batch)
        self.go = threading.Event()
        self.begun = threading.Event()
        self.sizes: list[int] = []
        self.failure: Exception | None = None

    def raw_maps(self, x: Tensor) -> list[Tensor]:
        self.begun.set()
        assert self.go.wait(20)
        self.sizes.append(len(x))
        if self.failure is not None:
            raise self.failure
        return super().raw_maps(x)


@pytest.fixture
def held() -> Held:
    return Held(batch=4)


@pytest.fixture
def work(held: Held) -> Iterator[DetectionQueue]:
    queue = DetectionQueue(held)
    yield queue
    held.go.set()
    queue.close()


def wait_until_read(work: DetectionQueue, count: int) -> None:
    """Wait until ``count`` images are ready for the network."""
    deadline = threading.Event()
    for _ in range(1000):
        if work._ready.qsize() >= count:
            return
        deadline.wait(0.01)
    raise AssertionError(work._ready.qsize())


def test_results_are_those_of_the_detector() -> None:
    """Whatever images share a batch, each has its own boxes."""
    detector = Detector(toy_network(), names=NAMES, batch=3)
    work = DetectionQueue(detector)
    futures = [work.submit(image) for image in IMAGES]
    found = [future.result(20) for future in futures]
    work.close()
    assert found == [detector(image) for image in IMAGES]
    assert (work.images, work.waiting) == (len(IMAGES), 0)


def test_what_waits_shares_a_call(held: Held, work: DetectionQueue) -> None:
    """At most the detector's batch."""
    first = work.submit(IMAGES[0])
    assert held.begun.wait(20)
    rest = [work.submit(image) for image in IMAGES[1:7]]
    wait_until_read(work, 6)
    held.go.set()
    assert [len(future.result(20)) for future in (first, *rest)] == [1] * 7
    assert (held.sizes, work.batches, work.images) == ([1, 4, 2], 3, 7)


def test_calls_have_few_sizes() -> None:
    """Engines compile for each of them."""
    assert [_batch_sizes(largest) for largest in (1, 2, 4, 8, 32)] == [
        [1], [2, 1], [4, 3, 2, 1], [8, 4, 2, 1], [32, 10, 3, 1]
    ]  # fmt: skip


def test_seven_images_are_three_calls() -> None:
    detector = Held(batch=8)
    detector.go.set()
    work = DetectionQueue(detector)
    detector.go.clear()
    futures = [work.submit(IMAGES[0])]
    assert detector.begun.wait(20)
    futures += [work.submit(image) for image in IMAGES[1:8]]
    wait_until_read(work, 7)
    detector.go.set()
    assert [len(future.result(20)) for future in futures] == [1] * 8
    work.close()
    assert detector.sizes == [1, 4, 2, 1]


def test_who_gave_up_costs_no_work(held: Held, work: DetectionQueue) -> None:
    first = work.submit(IMAGES[0])
    assert held.begun.wait(20)
    rest = [work.submit(image) for image in IMAGES[1:4]]
    wait_until_read(work, 3)
    assert rest[1].cancel() and not first.cancel()
    held.go.set()
    assert len(rest[0].result(20)) == len(rest[2].result(20)) == 1
    assert held.sizes == [1, 2]


def test_an_unreadable_image_fails_alone(held: Held, work: DetectionQueue) -> None:
    held.go.set()
    bad, good = work.submit(b"no image"), work.submit(IMAGES[0])
    assert len(good.result(20)) == 1
    with pytest.raises(ImageError, match="not an image"):
        bad.result(20)
    assert work.waiting == 0


def test_a_failing_network_fails_its_batch_and_goes_on(held: Held, work: DetectionQueue) -> None:
    held.failure = InputError("memory is short")
    first = work.submit(IMAGES[0])
    held.go.set()
    with pytest.raises(InputError, match="memory is short"):
        first.result(20)
    held.failure = None
    assert len(work.submit(IMAGES[0]).result(20)) == 1


def test_a_failure_after_the_network(
    held: Held, work: DetectionQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ValueError("out of range")

    held.go.set()
    monkeypatch.setattr(held, "interpret", fail)
    with pytest.raises(ValueError, match="out of range"):
        work.submit(IMAGES[0]).result(20)


def test_thresholds_of_one_image(held: Held, work: DetectionQueue) -> None:
    """In one batch with others, which keep the detector's."""
    image = squares((RED, 1, 1), (BLUE, 2, 2))
    (score, *_) = held_scores(image)
    default, strict = work.submit(image), work.submit(image, threshold=score, nms=1.0)
    held.go.set()
    assert (len(default.result(20)), len(strict.result(20))) == (2, 0)


def held_scores(image: np.ndarray) -> list[float]:
    """The scores that the toy gives, the highest first."""
    return Detector(toy_network(), names=NAMES)(image).scores.tolist()


def test_closing_finishes_what_was_submitted(held: Held) -> None:
    work = DetectionQueue(held)
    futures = [work.submit(image) for image in IMAGES]
    closing = threading.Thread(target=work.close)
    closing.start()
    held.go.set()
    closing.join(20)
    assert [len(future.result(0)) for future in futures] == [1] * len(IMAGES)
    with pytest.raises(RuntimeError):
        work.submit(IMAGES[0])
    assert work.waiting == 0


def test_tiles_are_refused() -> None:
    with pytest.raises(InputError) as error:
        DetectionQueue(Detector(toy_network(), names=NAMES, tile=64))
    assert str(error.value) == "a detector with tiles takes one image at a time"
