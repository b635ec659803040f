"""Learning rates against Darknet's own, and as PyTorch's schedulers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

from darknet_builder.cfg.net_options import POLICIES, Schedule
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import InputError
from darknet_builder.training.schedules import DarknetLR, make_scheduler, rate_at
from tests.conftest import GOLDEN

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (GOLDEN / "training" / "learning_rates.json").read_text()
)


def schedule_of(text: str) -> Schedule:
    """From a [net] section."""
    return Schedule.from_block(parse_cfg(text)[0])


def optimizer(rate: float = 0.1, *scales: float) -> SGD:
    """One group, or one a scale."""
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "rate_scale": scale, "lr": rate * scale}
        for scale in scales or (1.0,)
    ]
    return SGD(groups, lr=rate)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_rates(name: str) -> None:
    """26 updates of each policy, from Darknet itself."""
    schedule = schedule_of(RECORDED[name]["net"])
    for number, rate in RECORDED[name]["rate_at_iteration"].items():
        assert rate_at(schedule, int(number)) == pytest.approx(rate, rel=1e-6, abs=1e-12), number


@pytest.mark.parametrize("name", RECORDED)
def test_schedulers_step_through_the_recorded_rates(name: str) -> None:
    """The rate that stands in the optimiser before update n is Darknet's for n."""
    schedule = schedule_of(RECORDED[name]["net"])
    ours = optimizer(schedule.learning_rate, 1.0, 0.25)
    scheduler = make_scheduler(ours, schedule)
    for number in range(1, 1001):
        wanted = RECORDED[name]["rate_at_iteration"].get(str(number))
        if wanted is not None:
            assert [group["lr"] for group in ours.param_groups] == pytest.approx(
                [wanted, wanted / 4], rel=1e-6, abs=1e-12
            ), number
        ours.step()
        scheduler.step()


def test_every_policy_is_recorded_but_random() -> None:
    """The pack has them all; a random rate cannot be compared."""
    assert {schedule_of(entry["net"]).policy for entry in RECORDED.values()} == set(POLICIES) - {
        "random"
    }


@pytest.mark.pack
def test_the_recorded_rates_are_the_packs(pack: Any) -> None:
    """Our copy is the pack's file."""
    assert json.loads((pack / "training" / "learning_rates.json").read_text()) == RECORDED


def test_random_rates() -> None:
    """rate * U^power with U in [0, 1), the same for the same seed and number, whoever asks
    first."""
    schedule = Schedule(learning_rate=0.5, policy="random", power=2.0, burn_in=2)
    rates = [rate_at(schedule, number, seed=3) for number in range(2, 400)]
    assert rates == [rate_at(schedule, number, seed=3) for number in range(2, 400)]
    assert rates != [rate_at(schedule, number, seed=4) for number in range(2, 400)]
    assert all(0 <= rate < 0.5 for rate in rates)
    assert sum(math.sqrt(rate / 0.5) for rate in rates) / len(rates) == pytest.approx(0.5, abs=0.05)
    assert rate_at(schedule, 1, seed=3) == 0.5 / 4


@pytest.mark.parametrize(
    ("options", "multi_step"),
    [
        ("policy=steps\nsteps=4,6\nscales=.1,.1", True),
        ("policy=steps\nsteps=4\nscales=.1", True),
        ("policy=steps\nsteps=4,6\nscales=.1,.1,.5", True),  # the third scale has no step
        ("policy=steps\nsteps=4,6\nscales=.1,.2", False),
        ("policy=steps\nsteps=6,4\nscales=.1,.1", False),
        ("policy=steps\nsteps=4,6\nscales=.1,.1\nburn_in=3", False),
        ("policy=constant", False),
    ],
)
@pytest.mark.parametrize("finished", [0, 3, 4, 8])
def test_multi_step_where_the_cfg_is_one(options: str, multi_step: bool, finished: int) -> None:
    """``MultiStepLR`` or ours, the rates are the same, also when a training is taken up again."""
    schedule = schedule_of(f"[net]\nwidth=1\nheight=1\nchannels=3\nlearning_rate=.1\n{options}\n")
    ours = optimizer(0.1, 0.5)
    scheduler = make_scheduler(ours, schedule, finished=finished)
    assert isinstance(scheduler, MultiStepLR) == multi_step
    for number in range(finished + 1, 12):
        assert ours.param_groups[0]["lr"] == pytest.approx(0.5 * rate_at(schedule, number)), number
        ours.step()
        scheduler.step()


@pytest.mark.parametrize(
    "options", ["policy=poly\nmax_batches=30\nburn_in=4", "policy=steps\nsteps=7\nscales=.1"]
)
def test_state_survives_a_checkpoint(options: str, tmp_path: Any) -> None:
    """Saved and loaded with ``weights_only=True``; the next rate is the unbroken one."""
    schedule = schedule_of(f"[net]\nwidth=1\nheight=1\nchannels=3\nlearning_rate=.1\n{options}\n")
    first = optimizer()
    scheduler = make_scheduler(first, schedule)
    for _ in range(9):
        first.step()
        scheduler.step()
    torch.save(
        {"optimizer": first.state_dict(), "scheduler": scheduler.state_dict()},
        tmp_path / "state.pt",
    )
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    second = optimizer()
    resumed = make_scheduler(second, schedule)
    second.load_state_dict(state["optimizer"])
    resumed.load_state_dict(state["scheduler"])
    second.step()
    resumed.step()
    assert second.param_groups[0]["lr"] == pytest.approx(rate_at(schedule, 11))


def test_any_optimizer_will_do() -> None:
    """Without ``rate_scale`` the rate is the schedule's."""
    ours = SGD([torch.nn.Parameter(torch.zeros(1))], lr=7.0)
    DarknetLR(ours, Schedule(learning_rate=0.3))
    assert ours.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule(policy="poly"), "policy=poly needs max_batches= above 0, got 0"),
        (Schedule(policy="step", step=0), "policy=step needs step= above 0, got 0"),
        (Schedule(policy="sgdr"), "policy=sgdr needs max_batches= or sgdr_cycle= above 0, got 0"),
        (
            Schedule(policy="sgdr", sgdr_cycle=5, sgdr_mult=0),
            "policy=sgdr needs sgdr_mult= above 0, got 0",
        ),
    ],
)
def test_schedules_that_cannot_be(schedule: Schedule, message: str) -> None:
    """Where Darknet divides by zero or never comes back."""
    with pytest.raises(InputError) as error:
        make_scheduler(optimizer(), schedule)
    assert str(error.value) == message


def test_after_the_end() -> None:
    """A rate past ``max_batches`` is a number, where C gives NaN; so is one whose exponential
    overflows."""
    assert rate_at(Schedule(policy="poly", power=1.5, max_batches=10), 11) == 0
    assert rate_at(
        Schedule(policy="poly", power=2.0, max_batches=10, learning_rate=1.0), 11
    ) == pytest.approx(0.01)
    assert rate_at(Schedule(policy="sigmoid", gamma=10.0, step=1), 1000) == 0
