"""Four threads that share an engine, a detector or a classifier get the outputs of one thread."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from darknet_builder import Classifier, Detector, build_network
from darknet_builder.boxes.detections import Detections
from darknet_builder.data.scenes import draw_scene
from darknet_builder.engines.names import installed_backends
from darknet_builder.network.network import Network
from darknet_builder.prediction.pipeline import Outcome, stream
from darknet_builder.support.bundled import default_model
from tests.helpers.colour_classifier import colour_network, plain

NUM_THREADS = 4
no_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
BACKENDS = [
    pytest.param(name, marks=(no_compiler, pytest.mark.slow) if name == "compile" else ())
    for name in installed_backends()
]
LAST = "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n"
CFG = f"""[net]
width=16
height=16
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=mish
{LAST}[yolo]
mask=0
anchors=4,4
num=1
classes=3
"""


def in_threads(work: Callable[[int], None]) -> None:
    """Call ``work`` with the number of the thread in all threads at once; raise what one raises."""
    errors: list[BaseException] = []
    together = threading.Barrier(NUM_THREADS)

    def run(number: int) -> None:
        try:
            together.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(NUM_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def rotated(items: Sequence[Any], by: int) -> list[Any]:
    """Return the items, beginning at another one for each thread."""
    by %= len(items)
    return [*items[by:], *items[:by]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_engine(backend: str) -> None:
    """Raw maps of a batch, while other threads run other batches and compile for other sizes."""
    torch.manual_seed(0)
    network = build_network(CFG).eval()
    # torch.compile takes seconds for each size.
    sizes = (1, 1, 1) if backend == "compile" else (1, 2, 3)
    inputs = [torch.rand(network.input_shape.batched(size)) for size in sizes]
    with torch.inference_mode():
        expected = [network.outputs(x)[0] for x in inputs]
    engine = network.optimized(backend=backend)
    if backend == "compile":
        engine.warm_up()

    def work(number: int) -> None:
        for _ in range(15):
            for x, output in rotated(list(zip(inputs, expected, strict=True)), number):
                torch.testing.assert_close(engine.outputs(x)[0], output, rtol=1e-4, atol=1e-5)

    in_threads(work)


SCENES = [draw_scene(number).image for number in range(4)]


def assert_same(found: Detections, expected: Detections) -> None:
    """Compare two results on one image."""
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)


def test_detector_and_pipeline() -> None:
    """Two threads call a detector, two stream through it."""
    detector = Detector(*default_model())
    expected = [detector(image) for image in SCENES]
    assert len({len(found) for found in expected}) > 1

    def work(number: int) -> None:
        pairs = rotated(list(zip(SCENES, expected, strict=True)), number)
        if number % 2:
            for image, wanted in pairs * 3:
                assert_same(detector(image), wanted)
            return
        outcomes = stream(detector, [image for image, _ in pairs * 3])
        for outcome, (_, wanted) in zip(outcomes, pairs * 3, strict=True):
            assert isinstance(outcome, Outcome)
            assert_same(outcome.detections, wanted)

    in_threads(work)


def recurrent_detector() -> Network:
    """Return a network that remembers frames, with a head."""
    torch.manual_seed(0)
    recurrent = "[crnn]\noutput=4\nhidden=4\nsize=3\npad=1\nactivation=leaky\n"
    return build_network(CFG.replace("[yolo]", recurrent + LAST + "[yolo]")).eval()


def test_detector_with_memory() -> None:
    """No frame of another thread is remembered."""
    network = recurrent_detector()
    assert network.is_recurrent
    detector = Detector(network, threshold=0.1, nms=1)
    expected = [detector(image) for image in SCENES]
    assert all(len(found) for found in expected)

    def work(number: int) -> None:
        for image, wanted in rotated(list(zip(SCENES, expected, strict=True)), number) * 5:
            assert_same(detector(image), wanted)

    in_threads(work)


def test_classifier() -> None:
    """Each thread gets the scores of its own image."""
    classifier = Classifier(colour_network(), backend="torch")
    images = [plain(200, 0, 0), plain(0, 200, 0), plain(0, 0, 200), plain(90, 60, 30)]
    expected = [[score.score for score in classifier(image)] for image in images]

    def work(number: int) -> None:
        for image, wanted in rotated(list(zip(images, expected, strict=True)), number) * 20:
            assert [score.score for score in classifier(image)] == pytest.approx(wanted, abs=1e-5)

    in_threads(work)
