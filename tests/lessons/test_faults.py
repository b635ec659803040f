"""Each broken module fails its check, each solution passes, and half a repair is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from darknet_builder.cli.program import main
from darknet_builder.errors import InputError
from darknet_builder.lessons.faults.exercises import EXERCISES, start_exercises
from darknet_builder.lessons.faults.judging import CHECKS, judge
from tests.helpers.commands import answer, mistake

ROOT = Path(__file__).parents[2]
COMPLAINTS = {
    "never_learns": "hidden[0] is a module that is not registered: use an nn.ModuleList",
    "wrong_after_moving": "mean is a tensor that is not registered: use register_buffer, or an"
    " nn.Parameter if it is to be trained",
    "never_the_same_twice": "two calls in evaluation mode give different answers for one input",
    "head_stays_behind": "head.__closure__[0].cell_contents is a module that is not registered:"
    " assign it to an attribute of the module",
    "too_many_weights": "two branches that share a layer of 12 values: 24 are counted",
    "weak_gradient": "it does not pass through both ways of the block",
    "rate_falls_too_fast": "two epochs of three batches are trained with the rates 0.1 0.05 0.025"
    " 0.0125 0.00625 0.003125; expected 0.1 0.1 0.1 0.05 0.05 0.05",
    "frozen_but_moving": "1.running_mean of the backbone has changed in a training",
    "forgets_its_head": "head.weight is not the saved tensor",
    "best_is_last": "the weight was 2 when the score was highest and 3 in the end; restore() gives"
    " 3",
}


def judged(name: str, source: str, folder: Path) -> list[str]:
    """What is said about a source."""
    path = folder / "reader.py"
    path.write_text(source)
    return judge(name, path)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_broken_module_fails(name: str, tmp_path: Path) -> None:
    complaints = judged(name, EXERCISES[name].broken, tmp_path)
    assert COMPLAINTS[name] in complaints[0]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes(name: str, tmp_path: Path) -> None:
    assert judged(name, EXERCISES[name].solved, tmp_path) == []


def test_every_exercise_has_both_files_and_no_file_is_left_over() -> None:
    rooms = ROOT / "darknet_builder" / "lessons" / "faults"
    for room in ("broken", "solved"):
        stems = {path.stem for path in (rooms / room).glob("*.py")} - {"__init__"}
        assert stems == set(EXERCISES) == set(CHECKS)


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        # The fault is gone, but so is something that the module needs.
        ("never_learns", "torch.relu(layer(x))", "layer(x)", "the output is not that of three"),
        (
            "wrong_after_moving",
            'self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))',
            "self.mean = nn.Parameter(torch.tensor(mean).view(-1, 1, 1))",
            "mean is a parameter, so an optimiser would change it; make it a buffer",
        ),
        (
            "wrong_after_moving",
            "torch.tensor(std).view(-1, 1, 1))",
            "torch.tensor(std).view(-1, 1, 1), persistent=False)",
            "state_dict() has 1 tensors, not 2",
        ),
        (
            "never_the_same_twice",
            "F.dropout(torch.relu(self.hidden(x)), 0.5, self.training)",
            "torch.relu(self.hidden(x))",
            "two calls in training mode give the same answer: nothing is dropped any more",
        ),
        (
            "head_stays_behind",
            "nn.Sequential(layer, nn.Sigmoid())",
            "layer",
            "the output is not between 0 and 1: the sigmoid is missing",
        ),
        (
            "too_many_weights",
            "for parameter in module.parameters())",
            "for part in set(module.modules()) for parameter in part.parameters(recurse=False))",
            "two layers that share a weight of 15 values: 30 are counted",
        ),
        (
            "weak_gradient",
            "saved + torch.relu",
            "torch.relu",
            "the output is not x + relu(conv(x))",
        ),
        (
            "rate_falls_too_fast",
            "            optimizer.zero_grad()\n",
            "",
            "the weights after one epoch differ from those of plain gradient descent",
        ),
        (
            "rate_falls_too_fast",
            "        scheduler.step()\n",
            "",
            "scheduler.step() was called 0 times for two epochs",
        ),
        (
            "frozen_but_moving",
            "        self.backbone.requires_grad_(False)\n",
            "",
            "0.weight of the backbone has changed in a training",
        ),
        (
            "forgets_its_head",
            "network.load_state_dict(state)",
            "pass",
            "stem.weight is not the saved tensor",
        ),
        (
            "best_is_last",
            "if score > self.score:",
            "if True:",
            "restore() gives 3",
        ),
    ],
)
def test_half_a_repair(name: str, old: str, new: str, complaint: str, tmp_path: Path) -> None:
    source = EXERCISES[name].solved
    assert old in source
    complaints = judged(name, source.replace(old, new), tmp_path)
    assert any(complaint in one for one in complaints)


def test_a_file_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "never_learns.py"
    with pytest.raises(InputError, match=r"never_learns.py: cannot be read: No such file"):
        judge("never_learns", path)
    path.write_text("x = 1\ny = (\n")
    with pytest.raises(
        InputError, match=r"never_learns.py:2: cannot be loaded: SyntaxError: '\(' was"
    ):
        judge("never_learns", path)
    path.write_text("x = 1\ny = 1 / 0\n")
    with pytest.raises(
        InputError, match="never_learns.py:2: cannot be loaded: ZeroDivisionError: div"
    ):
        judge("never_learns", path)


def test_code_that_fails_in_the_check_names_the_readers_line(tmp_path: Path) -> None:
    source = EXERCISES["never_learns"].solved.replace("torch.relu(layer(x))", "layer(x) @ x")
    (complaint,) = judged("never_learns", source, tmp_path)
    assert re.search(r"reader\.py:29: RuntimeError: mat1 and mat2", complaint)
    (complaint,) = judged("never_learns", "x = 1\n", tmp_path)
    assert complaint.endswith(
        "AttributeError: module 'darknet_builder_exercise_reader' has no attribute 'Tower'"
    )


def test_start_makes_a_folder_with_the_broken_files(tmp_path: Path) -> None:
    paths = start_exercises(tmp_path / "faults")
    assert [path.stem for path in paths] == list(EXERCISES)
    assert all(path.read_text() == EXERCISES[path.stem].broken for path in paths)
    with pytest.raises(InputError, match="faults: already exists; choose another folder$"):
        start_exercises(tmp_path / "faults")


def test_a_solution_is_an_explanation_and_the_lines_that_differ() -> None:
    text = EXERCISES["never_learns"].solution()
    assert text.startswith("The hidden layers are in an nn.ModuleList.\n")
    assert "-        self.hidden = [nn.Linear(8, 8) for _ in range(depth)]\n" in text
    assert "+        self.hidden = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))\n" in text


def test_lessons_of_the_exercises_exist() -> None:
    page = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    lessons = {int(number) for number in re.findall(r"^## (\d+)\.", page, re.MULTILINE)}
    assert {exercise.lesson for exercise in EXERCISES.values()} <= lessons


# ---- the command ---------------------------------------------------------------------------------


def test_the_list_names_every_exercise(capsys: pytest.CaptureFixture[str]) -> None:
    heading, *lines = answer(capsys, "lesson", "fault", "list").splitlines()
    assert heading.split() == ["name", "lesson", "what", "is", "wrong"]
    assert [line.split()[0] for line in lines] == list(EXERCISES)
    title = "A tower of layers trains without an error, but only its last layer learns."
    assert lines[0].endswith(f"3  {title}")


def test_start_and_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "faults"
    told = answer(capsys, "lesson", "fault", "start", str(folder))
    assert (
        told.splitlines()[0] == f"{folder}: 10 broken modules; read {folder}/never_learns.py first"
    )
    mended = folder / "never_learns.py"
    assert main(["lesson", "fault", "check", str(mended)]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == [
        "never_learns: not yet",
        "  hidden[0] is a module that is not registered: use an nn.ModuleList",
    ]
    mended.write_text(EXERCISES["never_learns"].solved)
    assert answer(capsys, "lesson", "fault", "check", str(mended)) == "never_learns: right\n"
    assert main(["lesson", "fault", "check", str(folder)]) == 1
    assert capsys.readouterr().out.endswith("\n1 of 10 are right\n")
    for name, exercise in EXERCISES.items():
        (folder / f"{name}.py").write_text(exercise.solved)
    assert answer(capsys, "lesson", "fault", "check", str(folder)).endswith(
        "\n10 of 10 are right\n"
    )


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert mistake(capsys, "lesson", "fault", "solution", "best_is_lost") == (
        "unknown exercise 'best_is_lost'; did you mean 'best_is_last'?"
    )
    path = tmp_path / "never_learns.py"
    assert mistake(capsys, "lesson", "fault", "check", str(path)) == (
        f"{path}: cannot be read: No such file or directory"
    )
    path.write_text("def\n")
    assert mistake(capsys, "lesson", "fault", "check", str(path)) == (
        f"{path}:1: cannot be loaded: SyntaxError: invalid syntax"
    )


def test_the_solution_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = answer(capsys, "lesson", "fault", "solution", "weak_gradient")
    assert "-        saved = x.detach().clone()\n+        saved = x.clone()\n" in shown
