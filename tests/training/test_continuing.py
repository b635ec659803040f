"""Continue a training with something changed: what is taken over, what is new, what is listed.

Darknet continues from a ``.weights`` file alone: its step is ``seen / batch`` (network.c:67), and
everything else is what the cfg says at that moment.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from darknet_builder import DarknetError, Network, build_network, load_weights, save_weights
from darknet_builder.cli.program import main
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.training.checkpoints.checkpoint_file import list_checkpoints, load_checkpoint
from darknet_builder.training.checkpoints.output_files import OutputFiles
from darknet_builder.training.log.run_log import read_log
from darknet_builder.training.optimizer import RatePattern
from darknet_builder.training.schedules import rate_at
from darknet_builder.training.settings import TrainSettings
from darknet_builder.training.trainer import Trainer
from tests.helpers.training_folder import TINY_CFG, make_folder
from tests.training.test_trainer import STILL_CFG, Scenes

STEPS = 6
CFG = STILL_CFG.replace("max_batches=20", f"max_batches={STEPS}").replace("steps=15", "steps=5")


class MoreScenes(Scenes):
    """The same with two more images."""

    def __len__(self) -> int:
        return 8


def train(
    folder: Path,
    text: str = CFG,
    *,
    images: Scenes | None = None,
    weights: Path | None = None,
    **settings: object,
) -> tuple[Trainer, list[str]]:
    """Train to the end; the trainer, and the lines before the first step."""
    torch.manual_seed(0)
    network = build_network(text)
    if weights is not None:
        load_weights(network, weights)
    out = io.StringIO()
    told = TrainSettings(folder, name="t", **settings)  # type: ignore[arg-type]
    trainer = Trainer(network, images or Scenes(), told, out=out)
    lines = out.getvalue().splitlines()
    trainer.run()
    return trainer, lines


def logged_rates(folder: Path) -> list[float]:
    """Of every step in the log."""
    return [record["rate"] for record in read_log(folder / "log.jsonl") if "rate" in record]


def changed(*pairs: tuple[str, str]) -> str:
    """The cfg with other values."""
    text = CFG
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("pairs", "lines"),
    [
        ([("max_batches=6", "max_batches=8")], ["max_batches: 6 -> 8"]),
        (
            [
                ("learning_rate=0.001", "learning_rate=0.0001"),
                ("steps=5", "steps=7"),
                ("max_batches=6", "max_batches=9"),
            ],
            ["learning_rate: 0.001 -> 0.0001", "max_batches: 6 -> 9", "steps: 5 -> 7"],
        ),
        (
            [("subdivisions=2", "subdivisions=4"), ("max_batches=6", "max_batches=8")],
            ["subdivisions: 2 -> 4", "max_batches: 6 -> 8"],
        ),
        (
            [("batch=4", "batch=6"), ("max_batches=6", "max_batches=8")],
            ["batch: 4 -> 6", "max_batches: 6 -> 8"],
        ),
        (
            [("max_batches=6", "max_batches=8\nadam=1")],
            ["max_batches: 6 -> 8", "adam: (none) -> 1", "momentum: starts at zero"],
        ),
        (
            [("ignore_thresh=.7", "ignore_thresh=.5"), ("max_batches=6", "max_batches=8")],
            ["max_batches: 6 -> 8", "layer 3 [yolo] ignore_thresh: .7 -> .5"],
        ),
    ],
)
def test_changed_options(
    pairs: Sequence[tuple[str, str]], lines: Sequence[str], tmp_path: Path
) -> None:
    """They are taken as they are from the next step on, and listed."""
    train(tmp_path)
    text = changed(*pairs)
    trainer, said = train(tmp_path, text, continue_run=True)
    path = tmp_path / "checkpoint_0000006.pt"
    assert said == [f"continuing after step 6 of {path}", *lines]
    schedule = trainer.network.options.schedule
    assert trainer.finished == schedule.max_batches
    assert logged_rates(tmp_path)[STEPS:] == pytest.approx(
        [rate_at(schedule, number) for number in range(STEPS + 1, trainer.finished + 1)]
    )
    assert trainer.network.header.seen == trainer.finished * trainer.net_options.batch


def test_the_weights_and_the_momentum_are_taken_over(tmp_path: Path) -> None:
    """With nothing changed but the end, every number is that of the exact way."""
    longer = changed(("max_batches=6", "max_batches=8"))
    for name in ("exact", "continued"):
        train(tmp_path / name)
    exact, _ = train(tmp_path / "exact", longer, resume=True)
    continued, _ = train(tmp_path / "continued", longer, continue_run=True)
    for name, tensor in exact.network.state_dict().items():
        assert torch.equal(tensor, continued.network.state_dict()[name]), name


def test_a_changed_data_set(tmp_path: Path) -> None:
    """Refused by an exact resume, which names the way; continued with a line."""
    train(tmp_path)
    longer = changed(("max_batches=6", "max_batches=8"))
    with pytest.raises(InputError) as caught:
        train(tmp_path, longer, images=MoreScenes(), resume=True)
    assert caught.value.argument == ("skip_bad_images", "continue_run")
    _, said = train(tmp_path, longer, images=MoreScenes(), continue_run=True)
    assert said[1:] == ["max_batches: 6 -> 8", "number of training images: 6 -> 8"]


def test_changed_settings(tmp_path: Path) -> None:
    """Other groups of the optimiser too: momentum is found by the parameters' names."""
    train(tmp_path)
    longer = changed(("max_batches=6", "max_batches=7"))
    rates = (RatePattern("layers.0.*", 0.5), RatePattern("*.norm.*", 0.1))
    before = load_checkpoint(list_checkpoints(tmp_path)[-1])["optimizer"]
    torch.manual_seed(0)
    told = TrainSettings(tmp_path, name="t", continue_run=True, rates=rates, seed=3)
    trainer = Trainer(build_network(longer), Scenes(), told, out=(out := io.StringIO()))
    assert out.getvalue().splitlines()[1:] == [
        "max_batches: 6 -> 7",
        "seed: 0 -> 3",
        "rates: (none) -> layers.0.*=0.5, *.norm.*=0.1",
    ]
    buffers = [
        (name, before["state"][number]["momentum_buffer"])
        for group in before["param_groups"]
        for name, number in zip(group["names"], group["params"], strict=True)
    ]
    named = {
        name: trainer.optimizer.state[parameter]["momentum_buffer"]
        for group in trainer.optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    assert len(named) == len(buffers)
    assert all(torch.equal(named[name], buffer) for name, buffer in buffers)


def weights_file(folder: Path, seen: int) -> Path:
    """Weights of the network as another program left them."""
    network = build_network(CFG)
    network.header = WeightsHeader(0, 2, 5, seen)
    save_weights(network, folder / "theirs.weights")
    return folder / "theirs.weights"


@pytest.mark.parametrize(
    ("seen", "batch", "step"), [(16, 4, 4), (19, 4, 4), (20, 2, 10), (3, 4, 0), (64000, 4, 16000)]
)
def test_weights_that_count(tmp_path: Path, seen: int, batch: int, step: int) -> None:
    """The step is ``seen / batch`` by the cfg's own batch, rounded down, as in Darknet."""
    text = changed(("batch=4", f"batch={batch}"))
    trainer, said = train(
        tmp_path / "run", text, weights=weights_file(tmp_path, seen), continue_run=True
    )
    assert (
        said[0] == f"continuing after step {step}: the weights count {seen} images, batch={batch}"
    )
    if step >= STEPS:
        assert said[1:] == [f"nothing to do: {step} steps are finished, and max_batches=6"]
    else:
        schedule = trainer.network.options.schedule
        assert logged_rates(tmp_path / "run") == pytest.approx(
            [rate_at(schedule, number) for number in range(step + 1, STEPS + 1)]
        )


def test_nothing_to_continue_or_too_much(tmp_path: Path) -> None:
    """One line each."""
    with pytest.raises(InputError, match="contains no checkpoint, and the weights count no images"):
        train(tmp_path / "new", continue_run=True)
    with pytest.raises(InputError, match="the weights count no images"):
        train(tmp_path / "new", weights=weights_file(tmp_path, 0), continue_run=True)
    train(tmp_path / "old")
    with pytest.raises(InputError, match="is a checkpoint to continue from, and the weights count"):
        train(tmp_path / "old", weights=weights_file(tmp_path, 16), continue_run=True)
    for other in ("resume", "overwrite"):
        with pytest.raises(InputError, match=f"continue and {other} exclude each other"):
            train(tmp_path / "old", continue_run=True, **{other: True})


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("filters=16", "filters=24"), "layers.1.conv.weight is 16 x 8 x 3 x 3 there, 24 x 8 x"),
        (
            ("[yolo]", "[dropout]\n[yolo]"),
            "belongs to another network: .*: \\[dropout\\] is \\[yolo\\] there",
        ),
    ],
)
def test_another_network(pair: tuple[str, str], message: str, tmp_path: Path) -> None:
    """Its weights do not fit: the first difference is named, and the cure."""
    train(tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        train(tmp_path, changed(pair), continue_run=True)
    assert caught.value.hint == "train from its weights instead, from step 0"


def test_resuming_says_where_it_starts(tmp_path: Path) -> None:
    """A folder without a training is fine for scripts that always resume; checkpoint 0 is found."""
    _, said = train(tmp_path, resume=True)
    assert said == [f"{tmp_path}: found no checkpoint; starting at step 0"]
    for path in list_checkpoints(tmp_path)[1:]:
        path.unlink()
    _, said = train(tmp_path, resume=True)
    assert said == ["resuming after step 0"]


def test_resuming_keeps_weights_of_another_program(tmp_path: Path) -> None:
    """They would be replaced by weights of a training from step 0."""
    weights = weights_file(tmp_path, 16).rename(tmp_path / "t_last.weights")
    before = weights.read_bytes()
    with pytest.raises(
        InputError, match=r"contains a training \(t_last.weights\), but no"
    ) as caught:
        train(tmp_path, resume=True)
    assert caught.value.argument == ("continue_run", "weights", "overwrite")
    assert weights.read_bytes() == before


def test_killed_before_the_first_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first checkpoint is written before the first weights, so that it can be resumed."""

    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(OutputFiles, "write_weights", kill)
        train(tmp_path)
    trainer, said = train(tmp_path, resume=True)
    assert said == ["resuming after step 0"] and trainer.finished == STEPS


def network_of(folder: Path, name: str) -> Network:
    """With the last weights of a training."""
    network = build_network(folder / "tiny.cfg")
    load_weights(network, folder / name / "tiny_last.weights")
    return network


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--resume`` refuses and names ``--continue``, which does it."""
    make_folder(tmp_path)
    cfg = tmp_path / "tiny.cfg"
    cfg.write_text(TINY_CFG.replace("max_batches=20", "max_batches=5"))
    words = ["train", "--data", str(tmp_path / "scenes" / "scenes.data"), "--cfg", str(cfg)]
    words += ["--workers", "0", "--eval-every", "0", "--output"]
    assert main([*words, str(tmp_path / "run")]) == 0
    cfg.write_text(cfg.read_text().replace("learning_rate=0.001", "learning_rate=0.0001"))
    capsys.readouterr()
    assert main([*words, str(tmp_path / "run"), "--resume"]) == 2
    assert capsys.readouterr().err.endswith(
        "learning_rate=0.001 in the checkpoint; use the cfg that it was made with, continue with"
        " this one, or overwrite the training (--continue, --overwrite)\n"
    )
    assert main([*words, str(tmp_path / "run"), "--continue", "--max-batches", "7"]) == 0
    out = capsys.readouterr().out
    assert "\nlearning_rate: 0.001 -> 0.0001\nmax_batches: 5 -> 7\n" in out
    assert "7 steps done" in out and network_of(tmp_path, "run").header.seen == 28
    weights = str(tmp_path / "run" / "tiny_last.weights")
    last = [str(tmp_path / "other"), "--continue", "--weights", weights, "--max-batches", "9"]
    assert main([*words, *last]) == 0
    assert (
        "continuing after step 7: the weights count 28 images, batch=4" in capsys.readouterr().out
    )
    assert main([*words, *last, "--until", "1"]) == 2
    assert (
        "--until 1: cannot be combined with --continue, which needs all layers"
        in capsys.readouterr().err
    )


def test_errors_are_of_the_user(tmp_path: Path) -> None:
    """A damaged checkpoint is not passed over."""
    train(tmp_path)
    list_checkpoints(tmp_path)[-1].write_bytes(b"damaged")
    with pytest.raises(DarknetError, match="is not a checkpoint, or is damaged"):
        train(tmp_path, continue_run=True)
