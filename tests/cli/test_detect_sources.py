"""``darknet-builder detect`` with lists, web addresses and cameras, and what it keeps of them."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darknet_builder.images import window
from darknet_builder.images.files import read_image, write_image
from darknet_builder.images.sources import live
from darknet_builder.images.video import open_video
from darknet_builder.prediction.detector import Detector
from tests.helpers.camera import Camera, run_camera
from tests.helpers.toy_command import Run, toy_command
from tests.helpers.toy_detector import BLUE, RED, squares
from tests.helpers.web_server import serve

PREFIX = "darknet-builder: error: "


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, with a video of a blue square that moves."""
    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    frames = [[(BLUE, column, 1)] for column in (0, 1, 2, 3, 0, 1, 2)]
    return toy_command(capsys, monkeypatch, tmp_path, frames)


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A camera in front of which a red square moves."""
    with run_camera([squares((RED, column, 0), size=(160, 160)) for column in range(4)]) as running:
        yield running


def lines(path: str) -> list[dict[str, object]]:
    """The documents in a file with one a line."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# ---- lists ---------------------------------------------------------------------------------------


def test_a_list(run: Run) -> None:
    """One path a line, blank lines left out; what is missing is reported, counted, and passed."""
    Path("list.txt").write_text("\n  two.png\nnone.png\n\nnone.mp4\nclip.mp4\n./two.png\n")
    status, out, err = run("@list.txt", "--no-images")
    assert status == 1
    assert err == [
        "skipped: none.png: No such file or directory",
        "skipped: none.mp4: No such file or directory",
    ]
    assert out[:2] == ["two.png: 1 red, 1 blue", "clip.mp4: 7 frames: 7 blue"]
    assert out[2].endswith("; 2 sources could not be read")


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, among other sources."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("two.png\n\nclip.mp4"))
    status, out, err = run("-", "two.png", "--no-images", "--max-frames", "2")
    assert (status, err) == (0, [])
    assert [line.split(":")[0] for line in out[:-1]] == ["two.png", "clip.mp4"]


def test_names_that_are_not_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of a name arrive."""
    stream = io.TextIOWrapper(io.BytesIO(b"a\xe9.png\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    assert run("-", "--no-images")[2] == [r"skipped: a\udce9.png: No such file or directory"]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("@none.txt", "none.txt: No such file or directory"),
        ("@blank.txt", "blank.txt: names no images; expected one path a line"),
        ("@two.png", "two.png: is not UTF-8 text; expected a list of images"),
        ("-", "standard input: names no images; expected one path a line"),
        ("nowhere", "nowhere: no such file or folder"),
        ("ftp://a.org/b.jpg", "ftp://a.org/b.jpg: no such file or folder"),
    ],
)
def test_lists_that_cannot_be_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, word: str, text: str
) -> None:
    """One line, and nothing is processed."""
    Path("blank.txt").write_text("\n \n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert run(word, "two.png") == (2, [], [PREFIX + text])


def test_a_closed_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line."""
    monkeypatch.setattr(sys, "stdin", None)
    assert run("-") == (2, [], [PREFIX + "standard input is closed"])


def test_a_file_of_such_a_name(run: Run) -> None:
    """A file comes before a webcam and a list."""
    for name in ("0", "@two.png"):
        Path(name).write_bytes(Path("two.png").read_bytes())
    assert run("0", "@two.png", "--no-images")[1][:2] == [
        "0: 1 red, 1 blue",
        "@two.png: 1 red, 1 blue",
    ]


# ---- web addresses -------------------------------------------------------------------------------


def test_web_images(run: Run) -> None:
    """Named by their last part; one that cannot be had is passed by, and a password is not shown."""
    with serve() as site:
        site.files["/a/two.png?x=1"] = site.files["/b/two.png"] = Path("two.png").read_bytes()
        site.files["/page.jpg"] = b"<html>"
        secret = site.url.replace("://", "://ann:secret@")
        words = [f"{site.url}/a/two.png?x=1", f"{secret}/b/two.png", f"{site.url}/none.jpg"]
        status, out, err = run(*words, f"{site.url}/page.jpg", "--save-txt", "--save-csv")
    assert status == 1
    assert out[:2] == [
        f"{site.url}/a/two.png?x=1: 1 red, 1 blue",
        f"{site.url}/b/two.png: 1 red, 1 blue",
    ]
    assert err == [
        f"skipped: {site.url}/none.jpg: HTTP 404 Not Found",
        f"skipped: {site.url}/page.jpg: not an image that OpenCV can read",
    ]
    assert sorted(path.name for path in Path("output").rglob("two*")) == [
        "two-2.png", "two-2.txt", "two.png", "two.txt",
    ]  # fmt: skip
    assert "secret" not in Path("output/detections.csv").read_text()


# ---- cameras -------------------------------------------------------------------------------------


def test_a_stream(run: Run, camera: Camera) -> None:
    """Ends after a number of frames; the video, the lines and the labels are whole."""
    status, out, err = run(camera.url, "--max-frames", "5", "--save-jsonl", "--save-txt")
    assert (status, err) == (0, [])
    assert out[0].startswith(f"{camera.url}: 5 frames, ") and out[0].endswith(" dropped: 5 red")
    found = lines("output/detections.jsonl")
    numbers = [int(str(record["frame"])) for record in found]
    assert len(numbers) == 5 and numbers == sorted(set(numbers))
    assert [record["file"] for record in found] == [camera.url] * 5
    times = [float(str(record["time"])) for record in found]
    assert times == sorted(times) and times[0] >= 0
    assert sorted(path.name for path in Path("output/labels").iterdir()) == [
        f"stream_{number:06d}.txt" for number in numbers
    ]
    with open_video("output/stream.mp4") as video:
        # A frame stands for those that were dropped before it.
        assert (video.fps, len(list(video.frames()))) == (25, numbers[-1] + 1)


def test_a_stream_that_ends(run: Run, camera: Camera) -> None:
    """With nothing to connect to again, its end is the end; the next source follows."""
    camera.lengths = [8]
    status, out, err = run(camera.url, "two.png", "--reconnect", "0", "--no-images")
    assert (status, err) == (0, [])
    assert out[0].startswith(f"{camera.url}: ") and out[1] == "two.png: 1 red, 1 blue"


@pytest.mark.parametrize("stalls", [False, True])
def test_a_stream_that_is_lost(run: Run, camera: Camera, stalls: bool) -> None:
    """One line; what was found is kept, the next source follows, and the status tells."""
    camera.lengths, camera.stalls = [8, 8], stalls
    words = ["--reconnect", "1", "--timeout", "1", "--save-json"]
    status, out, err = run(camera.url, "two.png", *words)
    reason = "no frame for 1 second" if stalls else "the stream ended"
    lost = "the stream was lost after 16 frames, and not restored in 1 attempt"
    assert (status, err) == (1, [f"{camera.url}: {lost}: {reason}"])
    assert out[1] == "two.png: 1 red, 1 blue"
    found = json.loads(Path("output/detections.json").read_text())["images"]
    assert {image["file_name"] for image in found} == {camera.url, "two.png"}
    with open_video("output/stream.mp4") as video:
        assert len(list(video.frames())) == 16


def test_cameras_that_are_not_there(run: Run, camera: Camera) -> None:
    """One line each, and the rest goes on."""
    camera.status = 404
    status, out, err = run("61", camera.url, "two.png", "--no-images")
    assert status == 1
    assert err == [
        "skipped: webcam 61: no such camera, or it cannot be opened; check that it is connected and"
        " that no other program uses it",
        f"skipped: {camera.url}: HTTP 404 Not Found",
    ]
    assert out[0] == "two.png: 1 red, 1 blue"


def test_ctrl_c_ends_a_stream(run: Run, camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished is saved."""
    original, calls = Detector.raw_maps, []

    def call(self: Detector, *arguments: object) -> object:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "raw_maps", call)
    status, out, err = run(camera.url, "two.png", "--save-jsonl", "--save-csv")
    assert (status, err) == (130, ["darknet-builder: interrupted"])
    assert out[0].startswith(f"{camera.url}: 3 frames, ") and len(out) == 2
    assert len(lines("output/detections.jsonl")) == 3
    assert len(Path("output/detections.csv").read_text().splitlines()) == 4
    with open_video("output/stream.mp4") as video:
        assert len(list(video.frames())) >= 3


# ---- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "frames"),
    [(["--every", "3"], [0, 3, 6]), (["--every", "2", "--max-frames", "2"], [0, 2])],
)
def test_some_frames_of_a_video(run: Run, words: list[str], frames: list[int]) -> None:
    """By their own numbers; the annotated video is as fast as the original."""
    status, out, _ = run("clip.mp4", *words, "--save-jsonl", "--batch", "2", "--json", "a.json")
    assert (status, out[0]) == (0, f"clip.mp4: {len(frames)} frames: {len(frames)} blue")
    found = lines("output/detections.jsonl")
    assert [record["frame"] for record in found] == frames
    assert [record["time"] for record in found] == [frame / 10 for frame in frames]
    assert found == json.loads(Path("a.json").read_text())["images"]
    with open_video("output/clip.mp4") as video:
        assert video.fps == pytest.approx(10 / int(words[1]), abs=0.01)
        assert len(list(video.frames())) == len(frames)


def test_lines_of_images(run: Run) -> None:
    """The records of ``--json``; an earlier file stays if nothing could be read."""
    assert run("two.png", "--save-jsonl", "--no-images", "--json", "a.json")[0] == 0
    found = lines("output/detections.jsonl")
    assert found == json.loads(Path("a.json").read_text())["images"]
    Path("bad.png").write_bytes(b"no image")
    assert run("bad.png", "--save-jsonl", "--no-images")[0] == 1
    assert lines("output/detections.jsonl") == found


# ---- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--classes", "blue"], "1 blue"),
        (["--classes", "1"], "1 blue"),
        (["--classes", " red , 1"], "1 red, 1 blue"),
        (["--min-size", "30"], "1 red, 1 blue"),
        (["--min-size", "1000"], "no objects"),
    ],
)
def test_classes_and_sizes(run: Run, words: list[str], text: str) -> None:
    """In every result."""
    status, out, _ = run("two.png", *words, "--save-txt")
    assert (status, out[0]) == (0, f"two.png: {text}")
    count = 0 if text == "no objects" else text.count(",") + 1
    assert len(Path("output/labels/two.txt").read_text().splitlines()) == count
    is_drawn = not np.array_equal(read_image("output/two.png"), read_image("two.png"))
    assert is_drawn == (count > 0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--classes", "blu"], "--classes blu: no class has this name; the classes have the numbers 0"
         " to 1; did you mean 'blue'?"),
        (["--blur", "2"], "--blur 2: no class has this name; the classes have the numbers 0 to 1"),
        (["--pixelate", "face"], "--pixelate face: no class has this name; the classes have the"
         " numbers 0 to 1"),
    ],
)  # fmt: skip
def test_classes_that_do_not_exist(run: Run, words: list[str], text: str) -> None:
    """One line before the first image."""
    assert run("two.png", *words) == (2, [], [PREFIX + text])
    assert not Path("output").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--every", "0"], "argument --every: 0: expected a whole number above 0"),
        (["--max-frames", "x"], "argument --max-frames: x: expected a whole number above 0"),
        (["--min-size", "-1"], "argument --min-size: -1: expected a number of pixels, 0 or more"),
        (["--min-size", "nan"], "argument --min-size: nan: expected a number of pixels, 0 or more"),
        (["--reconnect", "-1"], "argument --reconnect: -1: expected a whole number, 0 or more"),
        (["--timeout", "0"], "argument --timeout: 0: expected a number of seconds above 0"),
        (["--classes", "a,,b"], "argument --classes: 'a,,b': expected names or numbers with a comma"
         " between two of them"),
    ],
)  # fmt: skip
def test_values_out_of_range(run: Run, words: list[str], text: str) -> None:
    """One line that names the option."""
    status, out, err = run("two.png", *words)
    assert (status, out, len(err)) == (2, [], 1)
    assert text in err[0]


def test_crops(run: Run) -> None:
    """A picture of each object, of an image and of a frame, as it was read."""
    run("two.png", "clip.mp4", "--save-crops", "a/crops", "--max-frames", "1", "--blur", "red,blue")
    assert sorted(path.name for path in Path("a/crops").iterdir()) == [
        "clip_000000_blue_0.jpg",
        "two_blue_1.png",
        "two_red_0.png",
    ]
    red = read_image("a/crops/two_red_0.png")
    assert red.shape[:2] == pytest.approx((40, 40), abs=1)
    assert red[5:-5, 5:-5].reshape(-1, 3).tolist() == [list(RED)] * (red.shape[0] - 10) * (
        red.shape[1] - 10
    )


def test_crops_that_cannot_be_written(run: Run) -> None:
    """One line."""
    Path("crops").touch()
    status, _, err = run("two.png", "--save-crops", "crops")
    assert (status, err) == (
        2,
        [PREFIX + "--save-crops crops: the folder cannot be created: File exists"],
    )


@pytest.mark.parametrize("option", ["--blur", "--pixelate"])
def test_hidden_objects(run: Run, option: str) -> None:
    """They are hidden in the picture and in the report, also where they are not among the objects to
    keep; the source is unchanged."""
    stripes = squares((RED, 0, 0), (BLUE, 3, 3), size=(160, 160))
    stripes[122:160:4, 122:160] = 0  # the blue square gets stripes
    write_image("two.png", stripes)
    before = Path("two.png").read_bytes()
    run("two.png", option, "blue", "--classes", "red", "--report", "--threshold", "0.05")
    picture = read_image("output/two.png")
    inside = (slice(130, 150), slice(130, 150), 0)
    assert np.ptp(picture[inside].astype(int), axis=0).max() < 120 < np.ptp(stripes[inside])
    assert Path("two.png").read_bytes() == before
    # Elsewhere the picture is the source, without a box of the other class.
    assert np.array_equal(picture[60:110], stripes[60:110])


def test_counts(run: Run) -> None:
    """A row for each image or frame and class, and for an image without objects."""
    write_image("none.png", squares())
    status, out, _ = run(
        "two.png", "none.png", "clip.mp4", "--count", "--no-images", "--every", "6"
    )
    assert status == 0 and out[-1].endswith("; saved in output")
    rows = list(csv.reader(Path("output/counts.csv").read_text().splitlines()))
    assert rows == [
        ["file", "frame", "class_id", "name", "count"],
        ["two.png", "", "0", "red", "1"],
        ["two.png", "", "1", "blue", "1"],
        ["none.png", "", "", "", "0"],
        ["clip.mp4", "0", "1", "blue", "1"],
        ["clip.mp4", "6", "1", "blue", "1"],
    ]


# ---- a window ------------------------------------------------------------------------------------


class Screen:
    """A stand-in for OpenCV's window: notes what is shown, and has some keys pressed."""

    def __init__(self, keys: list[int]) -> None:
        self.keys, self.shown = keys, 0

    def show(self, image: np.ndarray, *, wait: bool = False) -> bool:
        """Count an image, and press the next key."""
        assert image.shape == (160, 160, 3) and image.any()
        self.shown += 1
        return self.keys.pop(0) != ord("q") if self.keys else True

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("keys", "shown", "read"), [([], 9, 3), ([0, 0, ord("q")], 3, 2), ([ord("q")], 1, 1)]
)
def test_show(
    run: Run, monkeypatch: pytest.MonkeyPatch, keys: list[int], shown: int, read: int
) -> None:
    """Each picture in turn; q ends the command well."""
    screen = Screen(keys)
    monkeypatch.setattr(window, "check_window", lambda: None)
    monkeypatch.setattr(window, "Window", lambda title: screen)
    write_image("one.png", squares((RED, 1, 1), size=(160, 160)))
    status, out, err = run("two.png", "clip.mp4", "one.png", "--show", "--no-images")
    assert (status, err) == (0, [])
    assert (screen.shown, len(out) - 1) == (shown, read)


def test_no_screen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before the network is built."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Detector, "__init__", lambda *words: pytest.fail("built"))
    assert run("two.png", "--show") == (
        2,
        [],
        [
            PREFIX + "no window can be opened: there is no screen: DISPLAY and WAYLAND_DISPLAY are"
            " not set (--show)"
        ],
    )
