"""``darknet-builder detect`` from outside: what it writes, what it says, and what a user may get
wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from darknet_builder.boxes.detections import Detections
from darknet_builder.cli.detection import detector, job
from darknet_builder.cli.program import main
from darknet_builder.images import opencv
from darknet_builder.images.files import read_image, write_image
from darknet_builder.images.video import Video, open_video, write_video
from darknet_builder.prediction.detector import Detector
from tests.helpers.toy_detector import BLUE, RED, squares, toy_files

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def model(tmp_path: Path) -> list[str]:
    """The options that name the toy network."""
    cfg, weights, names = toy_files(tmp_path)
    return ["--cfg", cfg, "--weights", weights, "--names", names]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model: list[str],
) -> Run:
    """Runs the command in a folder with photographs and a video; gives status, lines of stdout,
    lines of stderr."""
    folder = tmp_path / "work"
    (folder / "shots" / "more").mkdir(parents=True)
    write_image(folder / "shots" / "red.png", squares((RED, 1, 2)))
    write_image(folder / "shots" / "two.JPG", squares((RED, 0, 0), (BLUE, 3, 3), size=(160, 160)))
    write_image(folder / "shots" / "none.png", squares())
    write_image(folder / "shots" / "more" / "red.jpg", squares((RED, 2, 2), size=(320, 320)))
    (folder / "shots" / "notes.txt").write_text("no image")
    (folder / "shots" / ".hidden.png").write_bytes(b"no image")
    with write_video(folder / "clip.mp4", 10) as append:
        for column in range(4):
            append(squares((BLUE, column, 1), size=(160, 160)))
    monkeypatch.chdir(folder)

    def command(*words: str, own: bool = False) -> tuple[int, list[str], list[str]]:
        try:
            status = main(["detect", *words, *([] if own else model)])
        except SystemExit as stop:  # argparse
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return command


def tree(folder: str) -> list[str]:
    """The files below a folder."""
    return sorted(
        str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("target", ["-", "found.json"])
def test_json(run: Run, model: list[str], target: str) -> None:
    """Of every image and frame what the detector itself says; files that cannot be read are
    counted."""
    Path("bad.png").write_bytes(b"no image")
    status, out, err = run("shots", "clip.mp4", "bad.png", "--no-images", "--json", target)
    assert status == 1 and len(err) == 1 and tree(".").count("output") == 0
    assert (out[0] == "{") == (target == "-")
    data = json.loads("\n".join(out) if target == "-" else Path(target).read_text())
    assert (data["cfg"], data["threshold"], data["nms"], data["not_readable"]) == (
        model[1],
        0.25,
        0.45,
        1,
    )
    files = [(image["file"], image.get("frame")) for image in data["images"]]
    assert files == [
        ("shots/none.png", None),
        ("shots/red.png", None),
        ("shots/two.JPG", None),
        *(("clip.mp4", frame) for frame in range(4)),
    ]
    found = Detector(model[1], model[3], model[5])("shots/two.JPG")
    assert data["images"][2] == {"file": "shots/two.JPG", **found.to_dict()} and len(found) == 2


# ---- what it writes ------------------------------------------------------------------------------


def test_a_folder(run: Run) -> None:
    """Its images without subfolders, texts and hidden files; one line each and a summary."""
    status, out, err = run("shots", "--save-json", "--save-txt", "--save-csv")
    assert (status, err) == (0, [])
    assert out[:3] == [
        "shots/none.png: no objects",
        "shots/red.png: 1 red",
        "shots/two.JPG: 1 red, 1 blue",
    ]
    assert out[3].startswith("3 images, 3 objects: 2 red, 1 blue; ")
    assert out[3].endswith(" images/s; saved in output")
    assert tree("output") == [
        "detections.csv",
        "detections.json",
        "labels/none.txt",
        "labels/red.txt",
        "labels/two.txt",
        "none.png",
        "red.png",
        "two.jpg",
    ]


def test_the_pictures(run: Run) -> None:
    """Drawn on, at their own size; untouched where nothing was found."""
    run("shots")
    assert np.array_equal(read_image("output/none.png"), squares())
    assert read_image("output/two.jpg").shape == (160, 160, 3)
    assert not np.array_equal(read_image("output/red.png"), squares((RED, 1, 2)))
    assert tree("output") == ["none.png", "red.png", "two.jpg"]


def test_the_results_agree(run: Run, model: list[str]) -> None:
    """JSON, CSV and labels all say what the detector says."""
    run("shots/two.JPG", "--save-json", "--save-txt", "--save-csv", "--no-images")
    assert tree("output") == ["detections.csv", "detections.json", "labels/two.txt"]
    expected = Detector(model[1], model[3], model[5])("shots/two.JPG")
    document = json.loads(Path("output/detections.json").read_text())
    assert document["images"] == [
        {"id": 1, "file_name": "shots/two.JPG", "width": 160, "height": 160}
    ]
    assert [item["category_id"] for item in document["annotations"]] == expected.class_ids.tolist()
    assert [item["score"] for item in document["annotations"]] == pytest.approx(
        expected.scores.tolist(), abs=1e-5
    )
    left, top, right, bottom = expected[0].box_xyxy
    assert document["annotations"][0]["bbox"] == pytest.approx(
        [left, top, right - left, bottom - top], abs=0.01
    )
    rows = list(csv.DictReader(Path("output/detections.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == expected.labels
    assert float(rows[1]["x2"]) == pytest.approx(float(expected.boxes_xyxy[1, 2]), abs=0.01)
    labels = np.loadtxt("output/labels/two.txt")
    assert labels[:, 0].tolist() == expected.class_ids.tolist()
    assert labels[:, 1:] == pytest.approx(expected.boxes_cxcywh, abs=1e-6)


def test_a_video(run: Run) -> None:
    """An annotated video, and rows and labels a frame."""
    status, out, err = run("clip.mp4", "--save-json", "--save-csv", "--save-txt", "--batch", "3")
    assert (status, err) == (0, [])
    assert out[0] == "clip.mp4: 4 frames: 4 blue"
    assert out[1].startswith("4 images, 4 objects: 4 blue; ")
    assert tree("output") == [
        "clip.mp4",
        "detections.csv",
        "detections.json",
        *(f"labels/clip_00000{frame}.txt" for frame in range(4)),
    ]
    with open_video("output/clip.mp4") as video:
        assert (video.fps, [frame.shape for frame in video.frames()]) == (10, [(160, 160, 3)] * 4)
    document = json.loads(Path("output/detections.json").read_text())
    assert [(image["file_name"], image["frame"]) for image in document["images"]] == [
        ("clip.mp4", frame) for frame in range(4)
    ]
    rows = list(csv.DictReader(Path("output/detections.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row["x1"]) for row in rows] == pytest.approx([0, 40, 80, 120], abs=1)


def test_a_video_is_drawn_while_the_network_works(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are decoded in one other thread, drawn and encoded in a second, each in their
    order."""
    threads: dict[str, set[threading.Thread]] = {"decode": set(), "draw": set()}
    frames, draw = Video.frames, job.draw_detections

    def decode(self: Video) -> Iterator[np.ndarray]:
        for frame in frames(self):
            threads["decode"].add(threading.current_thread())
            yield frame

    def watch(image: np.ndarray, found: Detections) -> np.ndarray:
        threads["draw"].add(threading.current_thread())
        return draw(image, found)

    monkeypatch.setattr(Video, "frames", decode)
    monkeypatch.setattr(job, "draw_detections", watch)
    assert run("clip.mp4")[0] == 0
    assert [len(some) for some in threads.values()] == [1, 1]
    assert len({threading.current_thread(), *threads["decode"], *threads["draw"]}) == 3
    with open_video("output/clip.mp4") as video:
        left = [int(np.argmax(frame[60, :, 0] > 128)) for frame in frames(video)]
    assert left == pytest.approx([0, 40, 80, 120], abs=3)


def test_a_video_without_pictures(run: Run) -> None:
    """--no-images holds for videos too, and no folder is made for nothing."""
    status, out, _ = run("clip.mp4", "--no-images")
    assert status == 0
    assert out[1].endswith(" images/s")
    assert not Path("output").exists()


def test_globs_order_and_repetition(run: Run) -> None:
    """As given; each file once; two of one name get two names."""
    status, out, _ = run(
        "clip.mp4",
        "shots/**/red.*",
        "shots/red.png",
        "shots",
        "--output",
        "there/new",
        "--save-txt",
    )
    assert status == 0
    assert [line.split(":")[0] for line in out[:-1]] == [
        "clip.mp4",
        "shots/more/red.jpg",
        "shots/red.png",
        "shots/none.png",
        "shots/two.JPG",
    ]
    assert [name for name in tree("there/new") if "red" in name] == [
        "labels/red-2.txt",
        "labels/red.txt",
        "red-2.png",
        "red.jpg",
    ]


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (["shots/red.png", "--report"], "output/report.html"),
        (["--report", "--output", "new/folder", "shots/red.png"], "new/folder/report.html"),
        (["shots/red.png", "--report", "page.html"], "page.html"),
    ],
)
def test_report(run: Run, words: list[str], page: str) -> None:
    """Without a name, the page is in the output folder."""
    status, out, err = run(*words, "--no-images")
    assert (status, err) == (0, [])
    assert out[-1].endswith(f"; report: {page}")
    assert "shots/red.png" in Path(page).read_text()


def test_the_report_replaces_no_source(run: Run) -> None:
    """Whatever its name."""
    Path("output").mkdir()
    write_image(Path("output/photo.png"), squares())
    Path("output/photo.png").rename("output/report.html")
    status, _, err = run("output/report.html", "--report")
    assert status == 2
    assert err == [
        "darknet-builder: error: output/report.html: would be overwritten; choose another file for"
        " --report"
    ]


def test_batches_change_nothing(run: Run) -> None:
    """Images of different sizes go together, around a video."""
    words = ("shots", "clip.mp4", "shots/more", "--no-images", "--save-json")
    run(*words, "--output", "one")
    run(*words, "--output", "many", "--batch", "4")
    assert Path("one/detections.json").read_text() == Path("many/detections.json").read_text()


def test_quiet(run: Run) -> None:
    """Not a word."""
    assert run("shots", "clip.mp4", "--quiet") == (0, [], [])
    assert len(tree("output")) == 4


def test_rules(run: Run) -> None:
    """--threshold, --nms and --resize reach the detector."""
    image = squares((RED, 1, 1))
    image[8:16, 8:16] //= 2
    write_image("dim.png", image)
    assert run("dim.png", "--no-images")[1][0] == "dim.png: 1 red"
    assert run("dim.png", "--no-images", "--threshold", ".6")[1][0] == "dim.png: no objects"
    run(
        "shots/more",
        "--no-images",
        "--save-csv",
        "--resize",
        "letterbox",
        "--width",
        "64",
        "--height",
        "32",
        "--output",
        "a",
    )
    run(
        "shots/more",
        "--no-images",
        "--save-csv",
        "--width",
        "64",
        "--height",
        "32",
        "--output",
        "b",
    )
    assert Path("a/detections.csv").read_text() != Path("b/detections.csv").read_text()


def test_without_names(run: Run, model: list[str]) -> None:
    """Numbers stand for them."""
    assert (
        run("shots/red.png", "--no-images", *model[:4], own=True)[1][0]
        == "shots/red.png: 1 class 0"
    )


def test_the_bundled_model(run: Run, model: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Is taken where no other is named, with its own names."""
    for name, path in zip(("CFG", "WEIGHTS", "NAMES"), model[1::2], strict=True):
        monkeypatch.setattr(detector, f"DEFAULT_{name}", Path(path))
    assert run("shots/red.png", "--no-images", own=True)[1][0] == "shots/red.png: 1 red"


# ---- what cannot be read -------------------------------------------------------------------------


def test_unreadable_files_are_told_and_passed_by(run: Run) -> None:
    """The other files are processed; the status is 1."""
    Path("shots/cut.jpg").write_bytes(Path("shots/two.JPG").read_bytes()[:200])
    Path("shots/empty.png").touch()
    Path("shots/text.mp4").write_text("no video")
    status, out, err = run("shots", "shots/notes.txt", "--save-json", "--batch", "2")
    assert status == 1
    assert err == [
        "skipped: shots/cut.jpg: not an image that OpenCV can read",
        "skipped: shots/empty.png: the file is empty",
        "skipped: shots/text.mp4: not a video that OpenCV can read",
        "skipped: shots/notes.txt: not an image that OpenCV can read",
    ]
    assert out[-1].startswith("3 images, 3 objects: ")
    assert out[-1].endswith("; 4 sources could not be read; saved in output")
    assert tree("output") == ["detections.json", "none.png", "red.png", "two.jpg"]
    assert len(json.loads(Path("output/detections.json").read_text())["images"]) == 3


def test_unreadable_files_are_told_when_quiet(run: Run) -> None:
    """Quiet is about what went well."""
    assert run("shots/notes.txt", "--quiet") == (
        1,
        [],
        ["skipped: shots/notes.txt: not an image that OpenCV can read"],
    )


def test_a_video_without_frames(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error: no frame can be read."""
    monkeypatch.setattr(Video, "frames", lambda self: iter(()))
    status, _, err = run("clip.mp4")
    assert (status, err) == (1, ["skipped: clip.mp4: no frame can be read"])
    assert tree("output") == []


# ---- mistakes ------------------------------------------------------------------------------------

PREFIX = "darknet-builder: error: "


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["none.jpg"], "none.jpg: no such file or folder"),
        (["shots/*.gif"], "shots/*.gif: matches no image or video"),
        (["empty"], "empty: no image or video in this folder"),
        (["shots", "none.jpg"], "none.jpg: no such file or folder"),
        (
            ["shots", "--output", "shots"],
            "--output shots: would overwrite the source shots/none.png; choose another folder",
        ),
        (
            ["photo.html", "--report", "photo.html"],
            "photo.html: would be overwritten; choose another file for --report",
        ),
        (
            ["lab/images/red.png", "--output", "lab", "--save-txt"],
            (
                "lab/labels/red.txt: would be overwritten; it contains the labels of"
                " lab/images/red.png; choose another --output folder"
            ),
        ),
        (
            ["shots", "--output", "clip.mp4"],
            "--output clip.mp4: the folder cannot be created: File exists",
        ),
        (["shots", "--threshold", "2"], "--threshold 2.0: expected a number from 0 to 1"),
        (["shots", "--batch", "0"], "--batch 0: expected 1 or more images"),
        (
            ["shots", "--names", "shots/notes.txt"],
            "shots/notes.txt: has 1 names, but the network has 2 classes (classes= in the cfg)",
        ),
        (["shots", "--width", "0"], "--width 0: expected 1 or more pixels"),
    ],
)
def test_mistakes(run: Run, words: list[str], text: str, model: list[str]) -> None:
    """One line, status 2, nothing written."""
    Path("empty").mkdir()
    write_image(Path("photo.html.png"), squares())
    Path("photo.html.png").rename("photo.html")
    for folder in ("images", "labels"):
        (Path("lab") / folder).mkdir(parents=True)
    write_image(Path("lab/images/red.png"), squares((RED, 1, 2)))
    Path("lab/labels/red.txt").write_text("by hand")
    before = {name: Path(name).read_bytes() for name in tree(".")}
    assert run(*model, *words, own=True) == (2, [], [PREFIX + text])
    assert {name: Path(name).read_bytes() for name in tree(".")} == before
    assert not Path("output").exists()


def test_labels_beside_images(run: Run) -> None:
    """Where a data set has no labels yet, they are written; a second run does not replace what was
    mended by hand."""
    Path("lab/images").mkdir(parents=True)
    write_image(Path("lab/images/red.png"), squares((RED, 1, 2)))
    words = ("lab/images", "--output", "lab", "--save-txt", "--no-images")
    assert run(*words)[0] == 0 and Path("lab/labels/red.txt").read_text()
    assert run(*words)[0] == 2


def test_no_model(
    run: Run, model: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which option to give."""
    monkeypatch.setattr(detector, "DEFAULT_CFG", tmp_path / "none.cfg")
    assert run("shots", own=True) == (
        2,
        [],
        [
            PREFIX
            + "no network given; give --cfg FILE and --weights FILE, and --names FILE for class names"
        ],
    )
    assert run("shots", *model[:2], own=True) == (
        2,
        [],
        [PREFIX + f"{model[1]}: no weights given for this network; give --weights FILE"],
    )


def test_one_file_for_the_model(run: Run, model: list[str]) -> None:
    """What export writes needs neither --weights nor --names."""
    assert main(["export", model[1], model[3], "--names", model[5], "--output", "toy.pt"]) == 0
    status, out, _ = run("shots", "--cfg", "toy.pt", "--no-images", own=True)
    assert (status, out[-4:-1]) == (0, run("shots", "--no-images")[1][:-1])


def test_an_option_that_is_no_choice(run: Run) -> None:
    """argparse's own word, in one line."""
    status, _, err = run("shots", "--resize", "crop")
    assert (status, len(err)) == (2, 1)
    assert "argument --resize: invalid choice: 'crop'" in err[0]


def test_a_folder_that_cannot_be_written(run: Run) -> None:
    """Told as the user's mistake, not as an unreadable image."""
    Path("output").mkdir()
    Path("output/red.png").mkdir()
    status, _, err = run("shots/red.png")
    assert status == 2
    assert err == [PREFIX + "output/red.png: cannot be written: Is a directory"]


def test_a_machine_without_opencv(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything else."""

    def fail(name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(opencv, "import_module", fail)
    status, out, err = run("shots")
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith(PREFIX + "OpenCV cannot be loaded: libGL.so.1: ")


# ---- interrupted ---------------------------------------------------------------------------------


def interrupt_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Ctrl-C during a later call of the detector."""
    original, count = Detector.raw_maps, [0]

    def call(self: Detector, *arguments: object, **options: object) -> object:
        count[0] += 1
        if count[0] > calls:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "raw_maps", call)


def test_ctrl_c_among_images(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is whole, and written down."""
    interrupt_after(monkeypatch, 2)
    status, out, err = run("shots", "--save-json", "--save-csv")
    assert (status, err) == (130, ["darknet-builder: interrupted"])
    assert out[-1].startswith("2 images, 1 object: 1 red; ")
    assert tree("output") == ["detections.csv", "detections.json", "none.png", "red.png"]
    assert len(json.loads(Path("output/detections.json").read_text())["images"]) == 2


def test_ctrl_c_in_a_video(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotated video ends there and can be played."""
    interrupt_after(monkeypatch, 3)
    status, out, err = run("clip.mp4", "shots", "--save-json")
    assert (status, err) == (130, ["darknet-builder: interrupted"])
    assert out[0] == "clip.mp4: 3 frames: 3 blue"
    assert out[1].startswith("3 images, ")
    assert tree("output") == ["clip.mp4", "detections.json"]
    with open_video("output/clip.mp4") as video:
        assert len(list(video.frames())) == 3
    assert len(json.loads(Path("output/detections.json").read_text())["images"]) == 3


def test_ctrl_c_before_the_first_frame(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No video then."""
    interrupt_after(monkeypatch, 0)
    assert run("clip.mp4")[0] == 130
    assert tree("output") == []


def test_a_frame_with_memory_comes_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recurrent network sees the frames of a video one by one, and remembers within it."""
    seen = []
    original = Detector.__call__

    def call(self: Detector, frame: np.ndarray, keep_state: bool = False) -> object:
        seen.append((frame.shape, keep_state))
        return original(self, frame, keep_state=keep_state)

    monkeypatch.setattr(Detector, "__call__", call)
    monkeypatch.setattr(Detector, "has_memory", True)
    run("clip.mp4", "--batch", "3")
    assert seen == [((160, 160, 3), number > 0) for number in range(4)]


# ---- the script ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_script(run: Run, model: list[str]) -> None:
    """From outside: stdout, stderr and status of the real process; no bar in a pipe."""
    Path("shots/bad.png").write_text("no image")
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "detect.py"), "shots", *model],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "skipped: shots/bad.png: not an image that OpenCV can read\n"
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.slow
def test_a_real_ctrl_c(run: Run, model: list[str]) -> None:
    """SIGINT while it works."""
    Path("many").mkdir()
    write_image("many/000.png", cv2.resize(squares((RED, 1, 2)), (1000, 1000)))
    for number in range(1, 400):
        os.link("many/000.png", f"many/{number:03}.png")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "detect.py"), "many", *model, "--save-json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "darknet-builder: interrupted\n"
    done = [path for path in Path("output").iterdir() if path.suffix == ".png"]
    assert 0 < len(done) < 400
    assert all(read_image(path).shape == (1000, 1000, 3) for path in done[:20])
    assert len(json.loads(Path("output/detections.json").read_text())["images"]) in (
        len(done),
        len(done) - 1,
    )
    assert not [path for path in Path("output").iterdir() if path.name.startswith(".")]


def test_dont_show(run: Run, tmp_path: Path) -> None:
    """A class that is called dont_show is in the label files, and nowhere else."""
    names = tmp_path / "hidden.names"
    cfg, weights, own_names = toy_files(tmp_path)
    hidden = Path(own_names).read_text().split()
    names.write_text("".join(name + "\n" for name in ["dont_show", *hidden[1:]]))
    options = [
        "--cfg",
        cfg,
        "--weights",
        weights,
        "--names",
        str(names),
        "--save-txt",
        "--json",
        "found.json",
    ]
    status, out, _ = run("shots/two.JPG", *options, own=True)
    assert (
        status == 0
        and out[0].endswith(f"two.JPG: 1 {hidden[1]}")
        and f"1 object: 1 {hidden[1]}" in out[-1]
    )
    assert [
        row["name"] for row in json.loads(Path("found.json").read_text())["images"][0]["detections"]
    ] == [hidden[1]]
    assert len(Path("output/labels/two.txt").read_text().splitlines()) == 2
