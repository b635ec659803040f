"""``darknet-builder detect --track``: identities, trails and crossings of lines, in every output."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from darknet_builder.cli.program import main
from darknet_builder.images.video import open_video, write_video
from tests.helpers.camera import run_camera
from tests.helpers.moving_scenes import FPS, MovingScene, line_counts
from tests.helpers.toy_command import Run, toy_command
from tests.helpers.toy_detector import BLUE, RED, squares

PREFIX = "darknet-builder: error: "
SEED, FRAMES, OBJECTS = 4, 60, 5


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, with a video in which a red square stays and a blue one comes and goes."""
    both = [(RED, 0, 1), (BLUE, 3, 2)]
    frames = [both[: 1 + has_blue] for has_blue in (True, True, False, True, True, True)]
    return toy_command(capsys, monkeypatch, tmp_path, frames)


@pytest.fixture
def extra() -> None:
    """Only where it is installed."""
    pytest.importorskip("trackers", reason="the extra 'track' is not installed")


def tracks(path: str) -> list[list[tuple[str, int | None]]]:
    """(name, identity) of the objects of each line."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [[(row["name"], row["track"]) for row in one["detections"]] for one in records]


# ---- a video of moving shapes --------------------------------------------------------------------


@dataclass(frozen=True)
class Tracked:
    """What the bundled detector wrote about a drawn video."""

    counts: dict[str, int]
    """The true crossings of the middle line."""
    folder: Path
    out: str


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """One run with every output."""
    pytest.importorskip("trackers", reason="the extra 'track' is not installed")
    folder = tmp_path_factory.mktemp("tracked")
    scene = MovingScene(SEED, FRAMES, OBJECTS)
    frames = list(scene.frames())
    (folder / "in").mkdir()
    clip = folder / "in" / "clip.mp4"
    with write_video(clip, FPS) as append:
        for frame in frames:
            append(frame.image)
    line = f"{scene.size // 2},0,{scene.size // 2},{scene.size}"
    words = ["--track", "--line", line, "--output", str(folder), "--batch", "8"]
    files = ["--count", "--save-csv", "--save-jsonl", "--json", str(folder / "all.json")]
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(sys.stdout, "write", said.append)
        assert main(["detect", str(clip), *words, *files]) == 0
    return Tracked(line_counts(scene, frames, scene.size / 2), folder, "".join(said))


def test_crossings(tracked: Tracked) -> None:
    """The true ones, in the text, in lines.csv and in the JSON document."""
    assert tracked.counts == {"in": 2, "out": 2}
    with (tracked.folder / "lines.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["line"] for row in rows} == {"112,0,112,224"}
    assert {row["file"] for row in rows} == {str(tracked.folder / "in" / "clip.mp4")}
    for direction, count in tracked.counts.items():
        assert sum(int(row[direction]) for row in rows) == count
    (line,) = json.loads((tracked.folder / "all.json").read_text())["lines"]
    assert line["line"] == [112, 0, 112, 224]
    assert {key: sum(line[key].values()) for key in ("in", "out")} == tracked.counts
    first, summary = tracked.out.splitlines()[-2:]
    assert " identities; line 112,0,112,224: in " in first
    assert first.partition("; line")[2] in summary


def test_identities_in_files(tracked: Tracked) -> None:
    """The same everywhere, about one for each object."""
    lines = tracks(str(tracked.folder / "detections.jsonl"))
    assert len(lines) == FRAMES and all(track is None for _, track in lines[0])
    found = {track for line in lines for _, track in line if track is not None}
    assert OBJECTS <= len(found) <= OBJECTS + 2
    with (tracked.folder / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {int(row["track"]) for row in rows if row["track"]} == found
    document = json.loads((tracked.folder / "all.json").read_text())
    written = [[row["track"] for row in one["detections"]] for one in document["images"]]
    assert written == [[track for _, track in line] for line in lines]


def test_the_annotated_video(tracked: Tracked) -> None:
    """It has the line: white in the middle of every frame."""
    with open_video(tracked.folder / "clip.mp4") as video:
        frames = list(video.frames())
    assert len(frames) == FRAMES
    middle = np.stack([frame[:, 112] for frame in frames]).min(2)
    assert (middle > 150).mean() > 0.5


# ---- what goes with it ---------------------------------------------------------------------------


def test_objects_that_stay(run: Run, extra: None) -> None:
    """The blue one is missed in a frame; every second frame gives the same identities."""
    status, out, err = run("clip.mp4", "--track", "--save-jsonl", "--count")
    assert (status, err) == (0, [])
    assert out[0] == "clip.mp4: 6 frames: 6 red, 5 blue; 2 identities"
    assert dict(tracks("output/detections.jsonl")[3]) == {"red": 1, "blue": 2}
    assert not Path("output/lines.csv").exists()
    run("clip.mp4", "--track", "--every", "3", "--save-jsonl", "--no-images")
    assert [dict(line) for line in tracks("output/detections.jsonl")] == [
        {"red": None, "blue": None},
        {"red": 1, "blue": 2},
    ]


def test_only_what_is_kept_is_tracked(run: Run, extra: None) -> None:
    """Identities follow the selection of classes."""
    run("clip.mp4", "--track", "--classes", "blue", "--save-jsonl", "--trail", "0")
    assert tracks("output/detections.jsonl")[-1] == [("blue", 1)]


def test_a_threshold_of_its_own(run: Run, extra: None) -> None:
    """Above every score, nothing has an identity."""
    _, out, _ = run("clip.mp4", "--track", "--track-threshold", "1", "--no-images")
    assert out[0] == "clip.mp4: 6 frames: 6 red, 5 blue; 0 identities"


def test_a_stream(run: Run, extra: None) -> None:
    """Which ends after some frames; a line that nothing crosses has a row."""
    with run_camera([squares((RED, 0, 0), size=(160, 160))]) as camera:
        words = ["--track", "--line", "80,0,80,160", "--max-frames", "4", "--save-jsonl"]
        status, out, err = run(camera.url, *words, "--count", "--no-images")
    assert (status, err) == (0, [])
    assert out[0].endswith(": 4 red; 1 identity; line 80,0,80,160: in nothing, out nothing")
    assert tracks("output/detections.jsonl")[1:] == [[("red", 1)]] * 3
    assert Path("output/lines.csv").read_text().splitlines()[1].endswith('"80,0,80,160",,,0,0')


def test_videos_of_several_sizes(run: Run, extra: None) -> None:
    """A line outside one of them skips it; the others are counted together."""
    with write_video("wide.mp4", 10) as append:
        append(squares((RED, 0, 0), size=(320, 160)))
    words = ["--track", "--line", "200,0,200,160", *["--line=-5,80,400,80"] * 2, "--count"]
    status, out, err = run("clip.mp4", "wide.mp4", *words)
    assert status == 1
    line = "--line 200,0,200,160: lies outside the image of 160x160 pixels"
    assert err == [f"skipped: clip.mp4: {line}"]
    assert out[0].startswith("wide.mp4: 1 frame: 1 red; 0 identities; line 200,0,200,160: in ")
    assert len(Path("output/lines.csv").read_text().splitlines()) == 3
    assert not Path("output/clip.mp4").exists() and Path("output/wide.mp4").exists()


def test_a_network_with_memory(run: Run, extra: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames come one by one and in order, as a tracker needs them."""
    from darknet_builder.prediction.detector import Detector

    monkeypatch.setattr(Detector, "has_memory", True)
    _, out, _ = run("clip.mp4", "--track", "--no-images", "--batch", "4")
    assert out[0] == "clip.mp4: 6 frames: 6 red, 5 blue; 2 identities"


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--line", "1,2,3,4"], "--line needs --track"),
        (["--trail", "5"], "--trail needs --track"),
        (["--track-threshold", "0.5"], "--track-threshold needs --track"),
        (["--track", "--line", "5,5,5,5"], "--line 5,5,5,5: expected two different points"),
        (
            ["--track", "two.png"],
            "--track: two.png is an image; expected only videos, webcams and streams",
        ),
    ],
)
def test_mistakes(run: Run, extra: None, words: list[str], text: str) -> None:
    """One line, and nothing is written."""
    assert run("clip.mp4", *words) == (2, [], [PREFIX + text])
    assert not Path("output").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--line", "1,2,3"],
            "--line: 1,2,3: expected four numbers of pixels, as in 0,240,640,240",
        ),
        (["--line", "a,2,3,4"], "--line: a,2,3,4: expected four numbers of pixels, as in "),
        (["--line", "1,2,3,nan"], "--line: 1,2,3,nan: expected four numbers of pixels, as in "),
        (["--line", "1,2,3,1e9"], "--line: 1,2,3,1e9: expected four numbers of pixels, as in "),
        (["--trail", "-1"], "--trail: -1: expected a whole number, 0 to 10000"),
        (["--track-threshold", "2"], "--track-threshold: 2: expected a number from 0 to 1"),
    ],
)
def test_values_that_cannot_be(run: Run, words: list[str], text: str) -> None:
    """One line says what is expected."""
    status, out, err = run("clip.mp4", "--track", *words)
    assert (status, out, len(err)) == (2, [], 1)
    assert f"argument {text}" in err[0]


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install, before the network is built."""
    monkeypatch.setitem(sys.modules, "supervision", None)  # type: ignore[arg-type]
    message = "supervision is not installed: pip install 'darknet-builder[track]'"
    assert run("clip.mp4", "--track") == (2, [], [PREFIX + message])
