"""The comparisons of scripts/why_modulelist.py: measured numbers, and what they must show."""

from __future__ import annotations

import functools
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from darknet_builder import build_network
from darknet_builder.lessons.measurement import Lesson, Reach, Variant, measure
from darknet_builder.lessons.plain_list import (
    PlainListNetwork,
    containers_of_parameters,
    kinds_of_tensors,
    why_modulelist,
)
from tests.helpers.unit_networks import UNIT_CFGS

ROOT = Path(__file__).parents[2]
CFG = ROOT / "cfg" / "lesson.cfg"


@functools.cache
def lessons() -> list[Lesson]:
    return why_modulelist(CFG)


def test_the_same_network_in_a_list_and_in_a_module_list() -> None:
    plain, registered = lessons()[0].measured
    assert (plain.parameters, registered.parameters) == (Reach(0, 29), Reach(29, 29))
    assert (plain.values, registered.values) == (Reach(0, 28868), Reach(28868, 28868))
    assert (plain.buffers, registered.buffers) == (Reach(0, 24), Reach(24, 24))
    assert (plain.saved, registered.saved) == (Reach(0, 53), Reach(53, 53))
    assert (plain.modules, registered.modules) == (Reach(0, 49), Reach(49, 49))
    assert (plain.to_double, registered.to_double) == (Reach(0, 45), Reach(45, 45))
    assert (plain.to_eval, registered.to_eval) == (Reach(0, 49), Reach(49, 49))
    assert (plain.learning_in_eval, registered.learning_in_eval) == (Reach(8, 8), Reach(0, 8))
    assert (plain.stepped, registered.stepped) == (Reach(0, 29), Reach(29, 29))
    assert (plain.optimiser_says, registered.optimiser_says) == ("ValueError", "nothing")
    assert (plain.stepped_beside, registered.stepped_beside) == (Reach(0, 29), Reach(29, 29))
    assert plain.optimiser_says_beside == registered.optimiser_says_beside == "nothing"
    assert (plain.unregistered, registered.unregistered) == (20, 0)


def test_the_numbers_are_those_of_the_network() -> None:
    network = build_network(CFG)
    measured = lessons()[0].measured[1]
    assert measured.parameters.total == len(list(network.parameters()))
    assert measured.saved.total == len(network.state_dict())
    assert measured.modules.total == len(list(network.layers.modules())) - 1


def test_the_two_networks_compute_the_same() -> None:
    assert "their outputs differ by 0:" in lessons()[0].remark
    torch.manual_seed(0)
    plain = PlainListNetwork(build_network(CFG))
    torch.manual_seed(0)
    registered = build_network(CFG)
    x = torch.rand(2, 3, 64, 64)
    assert all(torch.equal(one, other) for one, other in zip(plain(x), registered(x), strict=True))


def test_parameters_in_a_list_and_in_a_parameter_list() -> None:
    plain, registered = containers_of_parameters().measured
    for name in ("parameters", "values", "saved", "to_double", "stepped", "stepped_beside"):
        assert (getattr(plain, name), getattr(registered, name)) == (Reach(0, 3), Reach(3, 3)), name
    assert (plain.optimiser_says, registered.optimiser_says) == ("ValueError", "nothing")
    assert (plain.unregistered, registered.unregistered) == (3, 0)


def test_tensor_parameter_and_buffer() -> None:
    def reached(name: str) -> list[int]:
        return [getattr(measured, name).reached for measured in kinds_of_tensors().measured]

    assert reached("parameters") == [0, 1, 0]
    assert reached("buffers") == [0, 0, 1]
    assert reached("saved") == [0, 1, 1]
    assert reached("to_double") == [0, 1, 1]
    assert reached("stepped") == reached("stepped_beside") == [0, 1, 0]
    assert [measured.unregistered for measured in kinds_of_tensors().measured] == [1, 0, 0]


def test_measure_sees_what_is_registered_in_part() -> None:
    """Not only all or nothing: a list beside a registered layer."""

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.BatchNorm1d(2)
            self.others = [nn.BatchNorm1d(2), nn.Linear(2, 2)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.others[1](self.others[0](self.first(x)))

    x = torch.tensor([[0.0, 1.0], [2.0, 5.0], [3.0, 1.0]])

    def loss(module: nn.Module) -> torch.Tensor:
        return module(x).square().sum()

    measured = measure(Variant("half", Half, loss, lambda half: [half.first, *half.others]))
    assert measured.parameters == Reach(2, 6)
    assert measured.values == Reach(4, 4 + 4 + 6)
    assert measured.buffers == Reach(3, 6)
    assert measured.saved == Reach(5, 12)
    assert measured.modules == measured.to_eval == Reach(1, 3)
    assert measured.to_double == Reach(4, 10)
    assert measured.learning_in_eval == Reach(1, 2)
    assert measured.stepped.total == 6 and 1 <= measured.stepped.reached <= 2
    assert (measured.optimiser_says, measured.unregistered) == ("nothing", 2)


@pytest.mark.parametrize("name", ["conv-antialiasing", "conv-share", "recurrent", "dropout-crop"])
def test_any_network_will_do(name: str) -> None:
    lesson = why_modulelist(UNIT_CFGS[name])[0]
    plain, registered = lesson.measured
    assert "their outputs differ by 0:" in lesson.remark
    assert plain.parameters.reached == plain.stepped.reached == plain.to_eval.reached == 0
    assert registered.parameters.reached == registered.parameters.total > 0
    assert registered.to_double.reached == registered.to_double.total


def test_only_buffers_that_are_saved_are_in_the_state_dict() -> None:
    saved = why_modulelist(UNIT_CFGS["conv-antialiasing"])[0].measured[1].saved
    assert saved.total - saved.reached == 3  # the fixed kernels of three blurs


def test_the_random_generator_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    kinds_of_tensors()
    why_modulelist(UNIT_CFGS["route"])
    assert torch.equal(torch.rand(3), expected)


def test_the_text_leaves_out_what_reaches_nothing() -> None:
    labels = [row[0] for row in containers_of_parameters().rows()]
    assert "parameters() finds" in labels
    assert ".eval() reaches" not in labels and "buffers() finds" not in labels


def run_script(*words: str) -> int:
    """Return the exit status of ``python scripts/why_modulelist.py``."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(sys, "argv", ["why_modulelist.py", *words])
        runpy.run_path(str(ROOT / "scripts" / "why_modulelist.py"), run_name="__main__")
    return int(left.value.code or 0)


def test_the_script_prints_all_three(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script() == 0
    printed = capsys.readouterr().out
    assert printed == "\n".join(map(str, lessons()))
    assert "parameters() finds                        0 of 29          29 of 29\n" in printed


def test_the_script_says_what_is_wrong_with_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("no.cfg") == 2
    assert capsys.readouterr().err == "why_modulelist.py: error: no.cfg: no such cfg file\n"
