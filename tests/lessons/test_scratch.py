"""The reader's folder, stubs, hints and solutions, and the marker's process."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import sys
from pathlib import Path

import generator
import numpy as np
import pytest
import torch

from darknet_builder.cli.program import main
from darknet_builder.errors import InputError
from darknet_builder.lessons.marker import process
from darknet_builder.lessons.marker.child import judge_file
from darknet_builder.lessons.marker.recorded import make_code, solution
from darknet_builder.lessons.scratch.chapters import CHAPTERS
from darknet_builder.lessons.scratch.folder import start_folder
from darknet_builder.lessons.scratch.hints import LEVELS, hint
from darknet_builder.lessons.scratch.stubs import (
    function_names,
    solution_text,
    stub_text,
    whole_solution,
)
from tests.helpers.commands import answer, mistake
from tests.project.test_docs import check_page

ROOT = Path(__file__).parents[2]


def test_start_makes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    text = answer(capsys, "lesson", "start", str(folder))
    assert f"lesson check {folder / 'my_yolo.py'} --chapter 1" in text
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "my_yolo.py", "run.py", "scene.png", "scratch.cfg", "scratch.weights",
        "shapes.cfg", "shapes.names", "shapes.weights",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [folder]
    assert "exists already" in mistake(capsys, "lesson", "start", str(folder))


def test_start_needs_a_parent_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        start_folder(tmp_path / "no" / "mine")
    assert list(tmp_path.iterdir()) == []


def test_stubs_have_every_function_without_its_code() -> None:
    stubs = make_code(stub_text(), "stubs")
    names = [name for chapter in CHAPTERS for name in function_names(chapter)]
    assert len(names) == len(set(names)) == 24
    for name in names:
        assert getattr(stubs, name).__doc__ == getattr(solution(), name).__doc__
    functions = [n for n in ast.parse(stub_text()).body if isinstance(n, ast.FunctionDef)]
    assert [function.name for function in functions] == names
    for function in functions:
        assert ast.unparse(function.body[1:]) == "raise NotImplementedError"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_solutions_import_nothing_of_the_package(chapter: int) -> None:
    assert "darknet_builder" not in solution_text(chapter)
    imports = [line.split()[1] for line in solution_text(chapter).splitlines() if "import" in line]
    assert {name.split(".")[0] for name in imports} <= {
        "__future__", "cv2", "numpy", "struct", "torch"
    }  # fmt: skip


def test_solution_and_hints_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "def parse_cfg(" in answer(capsys, "lesson", "solution", "--chapter", "1")
    texts = {hint(chapter, level) for chapter in CHAPTERS for level in LEVELS}
    assert len(texts) == len(CHAPTERS) * len(LEVELS) and all(len(text) > 150 for text in texts)
    assert answer(capsys, "lesson", "hint", "--chapter", "3", "--level", "2") == hint(3, 2)
    with pytest.raises(SystemExit) as stop:
        main(["lesson", "hint", "--chapter", "8"])
    assert stop.value.code == 2


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_code_of_hints_can_be_pasted(chapter: int) -> None:
    """Each piece has the name of its function above it, and is indented as in that function."""
    body = hint(chapter, 3).split("\n\n", 1)[1]
    before, *rest = re.split(r"^(\w.*):\n", body, flags=re.MULTILINE)
    labels, pieces = rest[::2], rest[1::2]
    assert before == "" and pieces
    assert {re.split(r"\W", label)[0] for label in labels} <= set(function_names(chapter))
    for piece in pieces:
        nodes = ast.walk(ast.parse(f"def function():\n{piece}"))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        assert names & sys.stdlib_module_names <= vars(solution()).keys()  # my_yolo.py imports it


@pytest.mark.parametrize("command", ["start", "check", "hint", "solution"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["lesson", command, "--help"])
    assert stop.value.code == 0
    assert f"darknet-builder lesson {command}" in capsys.readouterr().out


def test_every_function_is_in_its_chapters_page() -> None:
    for chapter in CHAPTERS:
        page = (ROOT / "docs" / "scratch" / f"chapter-{chapter}.md").read_text()
        assert [name for name in function_names(chapter) if name not in page] == []
        assert f"lesson check my_yolo.py --chapter {chapter}" in page


def test_code_of_chapter_4_runs_in_the_readers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "scratch" / "chapter-4.md").read_text()
    text = re.sub(r"<!-- not run: .* -->\n(?=```python)", "", page)
    assert text.count("not run") == page.count("not run") - 2
    monkeypatch.chdir(start_folder(tmp_path / "mine").parent)
    assert check_page("chapter-4.md", text) == 6


# ---- the marker's process ------------------------------------------------------------------------


def test_check_of_a_readers_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own: what the code writes, the error with the reader's line, status 1."""
    path = tmp_path / "my_yolo.py"
    text = stub_text().replace("    raise NotImplementedError", "    print('hello')\n    1 / 0", 1)
    path.write_text(text)
    line = text[: text.index("1 / 0")].count("\n") + 1
    capsys.readouterr()
    assert main(["lesson", "check", str(path), "--chapter", "1"]) == 1
    out, error = capsys.readouterr()
    assert error == ""
    assert out.startswith("your code wrote:\n  hello\n")
    assert f"ZeroDivisionError: division by zero\n    line {line}, in numbers: 1 / 0\n" in out
    assert out.endswith("a hint: darknet-builder lesson hint --chapter 1\n")


def test_check_needs_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "none.py")
    assert mistake(capsys, "lesson", "check", path).startswith(f"{path}: no such file")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import time; time.sleep(60)", "stopped after 2 seconds during this check: forward"),
        ("import os; os._exit(3)", "ended Python (exit status 3) during this check: forward"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
    ],
)
def test_an_endless_loop_and_a_crash_are_answers(
    code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child without PyTorch takes the marker's place."""
    if os.name != "posix" and "signal" in code:
        pytest.skip("signals are POSIX")
    start = (
        "from pathlib import Path; Path({arguments!r}[2], 'progress').write_text('forward')\n"
        + code.replace("{", "{{").replace("}", "}}")
    )
    monkeypatch.setattr(process, "_START", start)
    path = tmp_path / "my_yolo.py"
    path.write_text("")
    found = process.check_file(path, 3, 2.0)
    assert not found.is_right and words in found.text
    assert found.text.count("\n") <= 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def numbers(:\n", "cannot be run: SyntaxError"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys\nsys.exit(0)\n", "cannot be run: SystemExit: 0\n  line 2: sys.exit(0)"),
        ("x = 1\n", "the function numbers is missing in your file"),
    ],
)
def test_a_file_that_cannot_be_judged(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "broken_yolo.py"
    path.write_text(text)
    report, wrong = judge_file(str(path), 1, tmp_path / "progress")
    assert words in report and wrong is not None
    assert "darknet_builder/lessons" not in report


def test_all_chapters_up_to_the_first_wrong_one(tmp_path: Path) -> None:
    path = tmp_path / "half_yolo.py"
    path.write_text(whole_solution().replace("x + outputs[source]", "x - outputs[source]"))
    report, wrong = judge_file(str(path), None, tmp_path / "progress")
    titles = [line.split(":")[0] for line in report.splitlines() if line.startswith("chapter")]
    assert (wrong, len(titles)) == (3, 3)
    assert report.count(": right (") == 2 and "layer 4 [shortcut]" in report


# ---- the solutions on real networks --------------------------------------------------------------


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny"])
def test_solutions_run_recorded_networks(name: str, tmp_path: Path) -> None:
    """Not only the small network: whole networks, against Darknet's recorded numbers."""
    with np.load(ROOT / "tests" / "golden" / "networks" / f"{name}.npz") as file:
        meta = json.loads(bytes(file["meta"]))
        recorded = {key: file[key] for key in file.files}
    generator.write_weights(tmp_path / "a.weights", [s[1:] for s in meta["segments"]], meta["seed"])
    code = solution()
    text = (ROOT / "cfg" / f"{name}.cfg").read_text()
    blocks, modules = code.load_network(text, (tmp_path / "a.weights").read_bytes())
    shape = (1, 3, meta["height"], meta["width"])
    image = torch.from_numpy(generator.input_image(meta["seed"] + 1, shape))
    with torch.no_grad():
        outputs = code.forward(blocks, modules, image)
    for index, output in enumerate(outputs):
        if blocks[index + 1]["type"] == "yolo":
            continue
        flat = output.numpy().ravel()
        positions = generator.sample_positions(
            meta["seed"] + 2 + index, len(flat), 1024 if index == len(outputs) - 1 else 48
        )
        values, norm = recorded[f"0/{index}/values"], float(recorded[f"0/{index}/norm"])
        bound = 1e-3 * norm / len(flat) ** 0.5 + 1e-5
        assert np.abs(flat[positions] - values).max() <= bound, index


def test_run_py_runs_with_the_solution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the chapters' pages show."""
    folder = start_folder(tmp_path / "mine").parent
    monkeypatch.setitem(sys.modules, "my_yolo", solution())
    run = runpy.run_path(str(folder / "run.py"), run_name="run")
    for chapter in CHAPTERS:
        run[f"chapter{chapter}"](str(folder / "scene.png"))
    shown = capsys.readouterr().out
    for chapter in CHAPTERS:
        page = (ROOT / "docs" / "scratch" / f"chapter-{chapter}.md").read_text()
        example = page.split(f"python run.py {chapter}\n```\n\n```text\n")[1].split("```")[0]
        assert [
            line for line in example.splitlines() if line not in ("...", *shown.split("\n"))
        ] == []
    assert (folder / "found.png").is_file()
