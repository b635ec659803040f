"""``detect --shards``: one row for each line of a list, in parts that are whole or not there."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.cli.detection import shards
from darknet_builder.cli.detection.shard_folder import ShardFolder
from darknet_builder.images.files import write_image
from darknet_builder.prediction.detector import Detector
from tests.helpers.toy_command import Run, toy_command
from tests.helpers.toy_detector import BLUE, RED, squares

PREFIX = "darknet-builder: error: "
COUNT = 11


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, with a list of eleven lines, of which two cannot be read, and small parts."""
    command = toy_command(capsys, monkeypatch, tmp_path, [[]])
    monkeypatch.setattr(shards, "PART_LINES", 4)
    for index in range(COUNT):
        write_image(f"{index}.png", squares((RED, index % 4, 0), (BLUE, 0, 3), size=(160, 160)))
    Path("3.png").write_bytes(b"not an image")
    Path("8.png").unlink()
    Path("list.txt").write_text("".join(f"{index}.png\n\n" for index in range(COUNT)))
    return command


def rows(folder: str = "found") -> list[dict[str, Any]]:
    """All rows, part by part."""
    parts = sorted(Path(folder).glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def files(folder: str = "found") -> list[str]:
    """All files of a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_row_for_each_line(run: Run) -> None:
    """The records of ``--save-jsonl`` in the order of the list; errors stand in their place."""
    status, out, err = run("@list.txt", "--shards", "found", "--batch", "3")
    assert (status, err) == (1, [])
    assert out[-1].startswith("9 images, 18 objects: 9 red, 9 blue; ")
    assert out[-1].endswith("; 2 sources could not be read; saved in found")
    assert files() == [
        ".lock", "part-0000000.jsonl", "part-0000001.jsonl", "part-0000002.jsonl", "run.json",
    ]  # fmt: skip
    found = rows()
    assert [row["file"] for row in found] == [f"{index}.png" for index in range(COUNT)]
    assert {row["file"]: row["error"] for row in found if "error" in row} == {
        "3.png": "not an image that OpenCV can read",
        "8.png": "No such file or directory",
    }
    run("@list.txt", "--no-images", "--save-jsonl", "--batch", "3")
    lines = Path("output/detections.jsonl").read_text().splitlines()
    assert [row for row in found if "error" not in row] == [json.loads(line) for line in lines]


def test_options_about_objects(run: Run) -> None:
    """They apply, and belong to what must not change."""
    words = ["@list.txt", "--shards", "found", "--classes", "blue"]
    assert run(*words)[1][-1].startswith("9 images, 9 objects: 9 blue; ")
    assert run("@list.txt", "--shards", "found", "--resume")[2] == [
        f"{PREFIX}found: was made with classes ['blue'], not None; give another folder, or the same"
        " arguments"
    ]


def test_resume(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole parts stay, everything else is done again: no line twice, none lost."""
    prepare, seen = Detector.prepare, []

    def stop(self: Detector, image: Any, channels: str = "bgr") -> Any:
        seen.append(str(image))
        if str(image) == "6.png":
            raise KeyboardInterrupt
        return prepare(self, image, channels)

    words = ["@list.txt", "--shards", "found", "--resume"]
    monkeypatch.setattr(Detector, "prepare", stop)
    assert run(*words)[0] == 130
    assert files() == [".lock", "part-0000000.jsonl", "run.json"]
    (Path("found") / ".part-0000001-abc.jsonl").write_text("{")  # as kill -9 leaves it
    monkeypatch.setattr(Detector, "prepare", prepare)
    first = Path("found/part-0000000.jsonl").stat().st_mtime_ns
    status, out, _ = run(*words)
    assert status == 1 and out[-1].startswith("6 images, 12 objects")
    assert [row["file"] for row in rows()] == [f"{index}.png" for index in range(COUNT)]
    assert Path("found/part-0000000.jsonl").stat().st_mtime_ns == first
    assert len(files()) == 5
    # Nothing is left to do.
    assert run(*words)[:2] == (0, ["0 images, 0 objects; 0.0 images/s; saved in found"])
    assert len(rows()) == COUNT


def test_another_job_in_the_folder(run: Run, tmp_path: Path) -> None:
    """Refused in one line, and nothing changes."""
    words = ["@list.txt", "--shards", "found"]
    assert run(*words)[0] == 1
    before = {name: Path("found", name).read_bytes() for name in files()}
    advice = "; give another folder, or the same arguments"
    assert run(*words)[2] == [
        f"{PREFIX}found: has results of an earlier run; --resume goes on with them"
    ]
    assert run(*words, "--resume", "--threshold", "0.5")[2] == [
        f"{PREFIX}found: was made with threshold 0.25, not 0.5{advice}"
    ]
    Path("list.txt").write_text(Path("list.txt").read_text() + "12.png\n")
    assert run(*words, "--resume")[2] == [f"{PREFIX}found: was made with another list{advice}"]
    Path("list.txt").write_text("".join(f"{index}.png\n\n" for index in range(COUNT)))
    weights = (tmp_path / "toy.weights").read_bytes()
    (tmp_path / "toy.weights").write_bytes(weights[:-4] + b"\0\0\0\0")
    assert run(*words, "--resume")[2] == [f"{PREFIX}found: was made with other weights{advice}"]
    (tmp_path / "toy.weights").write_bytes(weights)
    assert {name: Path("found", name).read_bytes() for name in files()} == before
    described = json.loads(Path("found/run.json").read_text())
    Path("found/run.json").write_text(json.dumps({**described, "format": 0}))
    assert run(*words, "--resume")[2] == [f"{PREFIX}found: was made with format 0, not 1{advice}"]
    Path("found/run.json").write_text("{")
    assert run(*words, "--resume")[2] == [f"{PREFIX}found/run.json: is not JSON"]
    Path("found/run.json").unlink()
    assert run(*words, "--resume")[2] == [
        f"{PREFIX}found: has part-0000000.jsonl, but no run.json; give another folder"
    ]


def test_two_jobs_at_once(run: Run) -> None:
    """The second one is refused while the first one works."""
    Path("found").mkdir()
    with ShardFolder(Path("found")).locked():
        assert run("@list.txt", "--shards", "found", "--resume")[2] == [
            f"{PREFIX}found: another job is writing there"
        ]
    assert files() == [".lock"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["two.png"], "--shards: expected one list as the only source, @FILE"),
        (["@list.txt", "two.png"], "--shards: expected one list as the only source, @FILE"),
        (["-"], "--shards: expected one list as the only source, @FILE"),
        (["@list.txt", "--save-json"], "--save-json: not possible with --shards"),
        (["@list.txt", "--heatmap"], "--heatmap: not possible with --shards"),
        (["@list.txt", "--blur", "red"], "--blur: not possible with --shards"),
        (["@none.txt"], "none.txt: No such file or directory"),
        (["@two.png"], "two.png: is not UTF-8 text; expected a list of images"),
        (["@blank.txt"], "blank.txt: names no images; expected one path a line"),
    ],
)
def test_mistakes(run: Run, words: list[str], text: str) -> None:
    """One line, and no folder."""
    Path("blank.txt").write_text("\n")
    assert run(*words, "--shards", "found") == (2, [], [PREFIX + text])
    assert not os.path.exists("found")


def test_resume_needs_shards(run: Run) -> None:
    """Other results are not resumed."""
    assert run("@list.txt", "--resume")[2] == [f"{PREFIX}--resume needs --shards DIR"]


def test_truncated_images_are_counted(run: Run) -> None:
    """Each time, and without a line for each."""
    broken = (Path(__file__).parents[1] / "data" / "truncated.jpg").read_bytes()
    for index in range(5):
        Path(f"{index}.jpg").write_bytes(broken)
    Path("list.txt").write_text("".join(f"{index}.jpg\n" for index in range(5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, out, err = run("@list.txt", "--shards", "found")
    assert (status, err) == (0, []) and "; 5 images end too early; " in out[-1]
