"""The loop itself: updates, freezing, averages, what stops it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from darknet_builder.data.sample import Sample
from darknet_builder.data.scenes import draw_scene
from darknet_builder.errors import DataError, ImageError, InputError
from darknet_builder.evaluation.score import Score
from darknet_builder.losses.whole_network import LossMaps, Targets, loss_inputs, network_loss
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.support import devices
from darknet_builder.support.devices import computes_bfloat16
from darknet_builder.support.distributed import ProcessGroup
from darknet_builder.training.ema import WeightEma
from darknet_builder.training.log.run_log import read_log
from darknet_builder.training.optimizer import RatePattern
from darknet_builder.training.settings import TrainSettings
from darknet_builder.training.trainer import Trainer
from darknet_builder.training.validation import Validation
from tests.helpers.training_folder import TINY_CFG

STILL_CFG = (
    TINY_CFG.replace("jitter=.1", "jitter=0")
    .replace("saturation=1.5\nexposure=1.5\nhue=.1", "flip=0")
    .replace("[dropout]\nprobability=.3\n", "")
)


class Scenes:
    """A data set that is drawn when it is asked for."""

    def __len__(self) -> int:
        return 6

    def sample(self, index: int) -> Sample:
        """A scene of the network's own size."""
        scene = draw_scene(index, split="train", size=64)
        return Sample(scene.image, scene.boxes)

    def path(self, index: int) -> str:
        """A name."""
        return f"scene {index}"


def _train(folder: Path, text: str, steps: int = 2, **settings: object) -> tuple[Network, str]:
    torch.manual_seed(0)
    network = build_network(text.replace("max_batches=20", f"max_batches={steps}"))
    out = io.StringIO()
    Trainer(network, Scenes(), TrainSettings(folder, name="t", **settings), out=out).run()  # type: ignore[arg-type]
    return network, out.getvalue()


def test_two_steps_by_hand(tmp_path: Path) -> None:
    """The loop is this: gradients of both parts added, one update of SGD with the schedule's
    rate."""
    network, _ = _train(tmp_path, STILL_CFG)
    torch.manual_seed(0)
    expected = build_network(STILL_CFG)
    trainer = Trainer(
        build_network(STILL_CFG), Scenes(), TrainSettings(tmp_path / "plan"), out=io.StringIO()
    )
    batches = list(trainer._batches())
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in expected.parameters() if p.dim() > 1], "weight_decay": 5e-4},
            {"params": [p for p in expected.parameters() if p.dim() == 1]},
        ],
        lr=1,
        momentum=0.9,
    )
    expected.train()
    for step in range(2):
        for group in optimizer.param_groups:
            group["lr"] = 0.001 * ((step + 1) / 4) ** 4
        optimizer.zero_grad()
        for part in range(2):
            batch = batches[2 * step + part]
            x = batch.images.permute(0, 3, 1, 2).flip(1).float() / 255
            loss = network_loss(
                expected, loss_inputs(expected, x), Targets.of_boxes(batch.boxes), seen=4 * step
            )
            (loss.total / 4).backward()
        optimizer.step()
    for (name, ours), theirs in zip(network.named_parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-8), name


def test_frozen_layers_stay(tmp_path: Path) -> None:
    """stopbackward holds layer 0; a factor of 0 holds layer 1; the last one learns."""
    text = STILL_CFG.replace("filters=8\n", "filters=8\nstopbackward=1\n")
    torch.manual_seed(0)
    before = build_network(text)
    network, _ = _train(tmp_path, text, rates=(RatePattern("layers.1.*", 0.0),))
    changed = {
        name
        for (name, ours), old in zip(network.named_parameters(), before.parameters(), strict=True)
        if not torch.equal(ours, old)
    }
    assert changed == {"layers.2.conv.weight", "layers.2.conv.bias"}


def test_multi_scale_runs(tmp_path: Path) -> None:
    """Other sizes than the network's own, which it has again at the end."""
    network, _ = _train(tmp_path, STILL_CFG.replace("classes=8", "classes=8\nrandom=1"), steps=3)
    assert network.input_size == (64, 64)


def test_a_batch_of_another_size_leaves_the_network_as_it_is() -> None:
    """The walk takes the batch's size, also when it fails; ``loss_inputs`` still checks the
    network's own."""
    network = build_network(STILL_CFG).train()
    options, x = network.options, torch.rand(1, 3, 96, 128)
    maps = LossMaps(network)(x)
    assert maps[0].shape == (1, 39, 12, 16) and network.options is options
    with pytest.raises(
        InputError, match=r"expected an input of shape \(B, 3, 64, 64\), got \(1, 3, 96, 128\)"
    ):
        loss_inputs(network, x)
    with pytest.raises(
        InputError, match=r"expected an input of shape \(B, 3, 96, 128\), got \(1, 1, 96, 128\)"
    ):
        LossMaps(network)(x[:, :1])
    assert network.options is options


@pytest.mark.skipif(
    not computes_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16 arithmetic"
)
def test_bf16(tmp_path: Path) -> None:
    """Weights and losses stay float32, and the numbers stay near."""
    exact, _ = _train(tmp_path / "fp32", STILL_CFG)
    near, _ = _train(tmp_path / "bf16", STILL_CFG, precision="bf16")
    assert near.state_dict()["layers.0.conv.weight"].dtype == torch.float32
    losses = []
    for name in ("fp32", "bf16"):
        losses.append([record["loss"] for record in read_log(tmp_path / name / "log.jsonl")])
    assert losses[0] == pytest.approx(losses[1], rel=0.05) and losses[0] != losses[1]
    assert not torch.equal(
        exact.state_dict()["layers.0.conv.weight"], near.state_dict()["layers.0.conv.weight"]
    )


def test_numbers_that_are_none_stop_it(tmp_path: Path) -> None:
    """Before they reach the weights, naming the batch; the last checkpoint is finite."""
    text = STILL_CFG.replace("learning_rate=0.001", "learning_rate=1e30").replace("burn_in=4\n", "")
    with pytest.raises(
        InputError,
        match=r"step \d+: (the loss|a gradient) is not finite, with the batch of scene \d",
    ):
        _train(tmp_path, text, steps=9, save_every=1)
    state = torch.load(sorted(tmp_path.glob("checkpoint_*.pt"))[0], weights_only=True)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state["network"].values())


def test_best_is_kept(tmp_path: Path) -> None:
    """The weights of the highest mAP, not of the last."""
    scores = iter([0.2, 0.6, 0.4])
    torch.manual_seed(0)
    network = build_network(STILL_CFG.replace("max_batches=20", "max_batches=3"))
    out = io.StringIO()
    outcome = Trainer(
        network,
        Scenes(),
        TrainSettings(tmp_path, name="t", eval_every=1),
        out=out,
        validate=lambda _: Score(next(scores), numbers={"map75": 0.1}),
    ).run()
    assert (outcome.best, outcome.last, outcome.finished, outcome.interrupted) == (
        0.6,
        0.4,
        3,
        False,
    )
    assert (
        "2/3: mAP 0.6000, best 0.6000" in out.getvalue()
        and "3/3: mAP 0.4000, best 0.6000" in out.getvalue()
    )
    assert (tmp_path / "t_best.weights").read_bytes() != (tmp_path / "t_last.weights").read_bytes()
    assert torch.load(tmp_path / "best.pt", weights_only=True)["finished"] == 2


def test_a_validation_that_fails_loses_nothing(tmp_path: Path) -> None:
    """The step is saved, and --resume begins with the validation; what comes out is what comes
    without the failure."""
    files: list[list[object]] = []
    for name, failing in (("whole", 0), ("due", 4), ("between", 2)):
        fail_at, calls = failing, 0

        def validate(network: Network) -> Score:
            nonlocal fail_at, calls
            # It is called while the trainer of its own round runs.
            finished = trainer.finished  # noqa: B023
            if finished == fail_at:
                fail_at = 0
                raise ImageError("cannot be read")
            calls += 1
            return Score(1 / finished)

        torch.manual_seed(0)
        settings = TrainSettings(tmp_path / name, name="t", eval_every=2, save_every=4)
        for resume in (False, True)[: 2 if failing else 1]:
            network = build_network(STILL_CFG.replace("max_batches=20", "max_batches=6"))
            trainer = Trainer(
                network,
                Scenes(),
                replace(settings, resume=resume),
                out=io.StringIO(),
                validate=validate,
            )
            if failing and not resume:
                with pytest.raises(ImageError):
                    trainer.run()
            else:
                assert trainer.run().best == 0.5
        assert calls == 3
        files.append(
            [
                (tmp_path / name / file).read_bytes()
                for file in ("t_final.weights", "t_best.weights")
            ]
        )
        files[-1] += [
            contents(torch.load(tmp_path / name / file, weights_only=True))
            for file in ("best.pt", "checkpoint_0000004.pt", "checkpoint_0000006.pt")
        ]
    assert files[0] == files[1] == files[2]


def contents(state: object) -> object:
    """A checkpoint as plain values that can be compared; its file has the same strings written once
    or twice."""
    if isinstance(state, torch.Tensor):
        return state.dtype, state.tolist()
    if isinstance(state, Mapping):
        return [(key, contents(value)) for key, value in state.items()]
    return [contents(value) for value in state] if isinstance(state, (list, tuple)) else state


def test_nothing_left_to_do(tmp_path: Path) -> None:
    """A training that is longer than max_batches: a line says so, and no file is written."""
    _train(tmp_path, STILL_CFG, steps=6)
    before = {
        path.name: path.stat().st_mtime_ns
        for path in tmp_path.iterdir()
        if path.suffix in (".weights", ".pt")
    }
    _, said = _train(tmp_path, STILL_CFG, steps=3, resume=True)
    assert said == "nothing to do: 6 steps are finished, and max_batches=3\n"
    assert before == {
        path.name: path.stat().st_mtime_ns
        for path in tmp_path.iterdir()
        if path.suffix in (".weights", ".pt")
    }
    _, said = _train(tmp_path, STILL_CFG, steps=8, resume=True)
    assert said.startswith("resuming after step 6\n") and "\n8/8: " in said


def test_frozen_norms_are_a_fact_of_the_training(tmp_path: Path) -> None:
    """Stored statistics stay unchanged, and a training without freeze_norms cannot resume it."""
    network, _ = _train(tmp_path, STILL_CFG, freeze_norms=True)
    assert float(network.state_dict()["layers.0.norm.running_mean"].abs().max()) == 0
    with pytest.raises(InputError, match="was made with norms frozen, this training has learning"):
        _train(tmp_path, STILL_CFG, steps=3, resume=True)


def test_numbered_weights(tmp_path: Path) -> None:
    """Every 1000 steps; those of long trainings every 10000 (detector.c:372)."""
    network = build_network(STILL_CFG.replace("max_batches=20", "max_batches=3000"))
    trainer = Trainer(
        network, Scenes(), TrainSettings(tmp_path, name="t", save_every=7), out=io.StringIO()
    )
    trainer.finished = 1000
    trainer._after_step()
    assert (tmp_path / "t_1000.weights").exists()
    trainer.total, trainer.finished = 20000, 2000
    trainer._after_step()
    assert not (tmp_path / "t_2000.weights").exists()


@pytest.mark.parametrize(
    "every, due",
    [
        (None, [100, 200, 250]),
        (0, [250]),
        (60, [60, 120, 180, 240, 250]),
    ],
)
def test_when_validation_is_due(every: int | None, due: list[int]) -> None:
    """By default every four epochs, but not below 100 steps nor before the rate has risen; always
    at the end."""
    network = build_network(STILL_CFG)
    validation = Validation(network, lambda _: Score(0.5), num_images=6, every=every)
    assert [step for step in range(1, 251) if validation.is_due(step, 250)] == due
    validation.score(due[0])
    assert not validation.is_due(due[0], 250) and validation.best == 0.5 and network.training
    assert not Validation(network, None, num_images=6, every=every).is_due(250, 250)


def test_no_validation_while_the_rate_rises() -> None:
    """As in Darknet, unless ``every`` says otherwise."""
    network = build_network(STILL_CFG.replace("burn_in=4", "burn_in=150"))
    for every, due in ((None, [200, 250]), (100, [100, 200, 250])):
        validation = Validation(network, lambda _: Score(0.5), num_images=6, every=every)
        assert [step for step in range(1, 251) if validation.is_due(step, 250)] == due


def test_the_old_spelling_of_the_process_group(tmp_path: Path) -> None:
    """``crew`` still works, and says what to write instead."""
    group = ProcessGroup()
    with pytest.warns(DeprecationWarning, match="use group="):
        trainer = Trainer(
            build_network(STILL_CFG),
            Scenes(),
            TrainSettings(tmp_path),
            out=io.StringIO(),
            crew=group,
        )
    with pytest.warns(DeprecationWarning, match="use group"):
        assert trainer.crew is trainer.group is group


def test_average_of_weights() -> None:
    """From half of max_batches on; it takes the weights' place 1000 steps before the end, once."""
    network = build_network(STILL_CFG)
    weight = network.get_parameter("layers.0.conv.weight")
    average = WeightEma(network, 0.75, 4000)
    with torch.no_grad():
        for value, step in ((8.0, 1999), (4.0, 2000), (8.0, 2001)):
            weight.fill_(value)
            assert not average.update(step)
        copy = WeightEma(network, 0.75, 4000)
        copy.load_state_dict(average.state_dict())
        weight.fill_(100.0)
        assert copy.update(3000) and not copy.update(3001)
    assert torch.allclose(weight, torch.tensor(0.75 * 4 + 0.25 * 8))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"precision": "fp8"}, "precision='fp8': expected float32 or bfloat16"),
        ({"workers": -1}, "workers=-1: expected 0 or more"),
        ({"seed": -1}, "seed=-1: expected 0 or more"),
        ({"eval_every": -5}, "eval_every=-5: expected 0 or more"),
        ({"keep": 0}, "keep=0: expected 1 or more"),
        ({"resume": True, "overwrite": True}, "resume and overwrite exclude each other"),
    ],
)
def test_settings_that_make_no_sense(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    """Each is named."""
    with pytest.raises(InputError, match=message):
        _train(tmp_path, STILL_CFG, **settings)


def test_bf16_on_a_processor_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would seem to hang."""
    monkeypatch.setattr(devices, "computes_bfloat16", lambda device: False)
    with pytest.raises(
        InputError,
        match="^precision='bfloat16': this processor has no bfloat16 .*; use precision='float32'$",
    ):
        _train(tmp_path, STILL_CFG, precision="bf16")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file stands there."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot create the folder"):
        _train(tmp_path / "file", STILL_CFG)
