"""Every example in a docstring of the package prints what it shows."""

from __future__ import annotations

import doctest
from collections import Counter
from importlib import import_module

import pytest

from tests.helpers.opencv_names import keep_opencv_names
from tests.helpers.rooms import SOURCES, module_name, room_of

NOT_RUN = {
    "benchmark.peer_worker": "run by another interpreter, whose OpenCV is timed",
    "evaluation.coco.measure": "its examples need an optional package",
    "prediction.tracking": "its examples need an optional package; its tests run them",
}
MODULES = sorted(
    name for name in map(module_name, SOURCES) if "__init__" not in name and name not in NOT_RUN
)
ROOMS_WITHOUT_EXAMPLES = {"cli"}


def run_examples(module: str) -> doctest.TestResults:
    return doctest.testmod(import_module(f"darknet_builder.{module}"))


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_opencv_names(monkeypatch)
    assert run_examples(module).failed == 0


def test_every_room_has_examples() -> None:
    """So that a room whose examples are not found is noticed."""
    finder, examples = doctest.DocTestFinder(), Counter[str]()
    for module in MODULES:
        tests = finder.find(import_module(f"darknet_builder.{module}"))
        examples[room_of(module)] += sum(len(test.examples) for test in tests)
    without = {room for room, count in examples.items() if not count}
    assert without == ROOMS_WITHOUT_EXAMPLES
