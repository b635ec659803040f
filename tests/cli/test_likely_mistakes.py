"""Mistakes that users of other detection programs make, and what the commands answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from darknet_builder import CfgError, InputError, build_network
from darknet_builder.cli.program import main
from darknet_builder.compat import opencv as dnn
from darknet_builder.support.bundled import default_model

CFG, WEIGHTS, NAMES = default_model()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the bundled detector's files, and one image."""
    for path in (CFG, WEIGHTS, NAMES, ROOT / "docs/images/scenes/scene-0.jpg"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail with status 2, and return its line without the prefix."""
    try:
        status = main(words)
    except SystemExit as error:
        status = int(error.code or 0)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert (status, captured.out, len(lines)) == (2, "", 1), lines
    return lines[0].partition("error: ")[2]


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (["detect", "a.jpg", "--conf", "0.5"], "--threshold"),
        (["detect", "a.jpg", "--confidence", "0.5"], "--threshold"),
        (["detect", "a.jpg", "-thresh", "0.5"], "--threshold"),
        (["detect", "a.jpg", "-o", "out"], "--output"),
        (["detect", "a.jpg", "--gpu", "0"], "--device"),
        (["detect", "a.jpg", "--iou_thresh", "0.5"], "--nms"),
        (["evaluate", "--iou_thresh", "0.5"], "--iou"),
        (["detect", "a.jpg", "--imgsz", "416"], "--width"),
        (["detect", "a.jpg", "--batch_size", "4"], "--batch"),
        (["classify", "a.jpg", "--classes", "2"], None),
        (["classify", "a.jpg", "--show"], None),
        (["evaluate", "--map"], None),
        (["detect", "a.jpg", "--treshold", "0.5"], "--threshold"),
    ],
)
def test_options_of_other_programs(
    words: list[str], guess: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Are answered with the option of that meaning; without one, nothing is guessed."""
    line = mistake(capsys, *words)
    assert line.startswith("unrecognized arguments: ")
    assert ("did you mean" in line) == (guess is not None)
    assert guess is None or f"; did you mean '{guess}'? (see " in line


def test_numbers_are_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, "evaluate", "--points", "10")
    assert "choose from" in line and "did you mean" not in line


@pytest.mark.parametrize("command", ["detect", "classify"])
@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("shapes.cfg", "give it with --cfg"),
        ("none.cfg", "give it with --cfg"),
        ("net.pt", "give it with --cfg"),
        ("net.safetensors", "give it with --cfg"),
        ("shapes.weights", "give it with --weights"),
        ("shapes.names", "give it with --names"),
    ],
)
def test_a_network_among_the_images(
    command: str, word: str, cure: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is an error: otherwise the default network would run, not the given one."""
    line = mistake(capsys, command, word, "shapes.weights", "scene-0.jpg")
    assert line == f"{word}: is not an image or a video; {cure}"
    assert not (folder / "output").exists()


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("scenes.data", "is not an image or a video, and not a network to run"),
        ("net.onnx", "is not an image or a video; give it with --model"),
    ],
)
def test_files_that_are_no_cfg(
    word: str, cure: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistake(capsys, "detect", word, "scene-0.jpg") == f"{word}: {cure}"


def test_a_folder_may_have_any_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shots.data").mkdir()
    shutil.move("scene-0.jpg", "shots.data")
    assert main(["detect", "shots.data", "--no-images", "--quiet"]) == 0


@pytest.mark.parametrize("words", [["detect", "scene-0.jpg"], ["evaluate", "--data", "a.data"]])
@pytest.mark.parametrize(
    ("cfg", "line"),
    [
        ("nope.cfg", "nope.cfg: no such cfg file"),
        ("nope.pt", "nope.pt: no such model file"),
        ("net.onnx", "net.onnx: no such model file"),
    ],
)
def test_a_cfg_that_does_not_exist(
    words: list[str], cfg: str, line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is named before its weights are asked for."""
    assert mistake(capsys, *words, "--cfg", cfg) == line


def test_weights_without_their_cfg(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(capsys, "detect", "scene-0.jpg", "--weights", "shapes.weights") == (
        "shapes.weights: no network given for these weights; give --cfg FILE (the bundled detector"
        " is used only without --cfg and --weights)"
    )


def test_an_empty_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(capsys, "detect", "") == (
        "a source is empty; expected an image, a video, a folder or a glob"
    )


def test_names_of_another_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names file is the subject, for every command that takes ``--names``."""
    Path("two.names").write_text("a\nb\n")
    Path("list.txt").write_text("scene-0.jpg\n")
    Path("scenes.data").write_text("classes=8\nvalid=list.txt\n")
    count, network = "two.names: has 2 names, but ", "the network has 8 classes"
    line = mistake(capsys, "detect", "scene-0.jpg", "--names", "two.names")
    assert line.startswith(count + network)
    model = ["--cfg", "shapes.cfg", "--weights", "shapes.weights", "--names", "two.names"]
    assert mistake(capsys, "export", *model).startswith(count + network)
    line = mistake(capsys, "evaluate", "--data", "scenes.data", *model)
    assert line == f"{folder}/two.names: has 2 names, but scenes.data:1 has classes=8"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--layout", "yolov8", "--level", "raw"],
            "--layout yolov8: arranges decoded boxes, so it needs the level 'decoded', not 'raw'",
        ),
        (
            ["--level", "nms", "--format", "pt2"],
            "--level nms: the format pt2 has no operator for non-maximum suppression; use the"
            " format onnx",
        ),
    ],
)
def test_levels_that_do_not_fit(
    options: list[str], line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Are named as the options that were typed."""
    assert mistake(capsys, "export", "shapes.cfg", "shapes.weights", *options) == line


def test_files_that_are_not_data_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.txt").write_text("scene-0.jpg\n")
    model = ["--cfg", "shapes.cfg", "--weights", "shapes.weights"]
    assert mistake(capsys, "evaluate", *model, "--data", "list.txt") == (
        "list.txt:1: cannot parse 'scene-0.jpg'; expected key = value; this looks like a list of"
        " images; give the .data file that names it (valid=)"
    )
    assert mistake(capsys, "evaluate", *model, "--data", ".").endswith("; expected a .data file")


def test_a_width_that_does_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says which sizes do: the section in which the maps meet is not the cause."""
    line = mistake(capsys, "detect", "scene-0.jpg", "--width", "200")
    assert line.startswith("shapes.cfg:") or "shapes.cfg:" in line
    assert line.endswith(
        "a route needs equal width and height; the input is 200 x 192; width and height must be"
        " multiples of 32, such as 192 x 192 or 224 x 192"
    )


def test_a_wrong_section_is_not_blamed_on_the_size(folder: Path) -> None:
    """No size is suggested if none helps."""
    text = "[net]\nwidth=50\nheight=50\nchannels=3\n[maxpool]\n[route]\nlayers=-1,7\n"
    with pytest.raises(CfgError, match="layer 7 does not exist") as caught:
        build_network(text)
    assert "multiples" not in str(caught.value)


def test_check_names_what_a_file_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "shapes.cfg", "shapes.names"]) == 1
    assert "shapes.names: is text, not weights" in capsys.readouterr().out
    assert main(["check", "shapes.names"]) == 1
    out = capsys.readouterr().out
    assert out.count("before the first section") == 1 and "1 error," in out
    assert main(["check", "shapes.weights"]) == 1
    assert "give the cfg first, and this file as its weights" in capsys.readouterr().out


def test_opencv_names_its_own_argument() -> None:
    with pytest.raises(InputError, match=r"^darknetModel: expected the \.weights file"):
        dnn.readNetFromDarknet(str(CFG))


def test_raw_maps_that_nobody_chose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report of a detector names the level that most callers need."""
    words = ["export", "shapes.cfg", "shapes.weights", "--output", "a.torchscript"]
    for options, count in (([], 1), (["--level", "raw"], 0), (["--level", "decoded"], 0)):
        assert main([*words, *options]) == 0
        assert capsys.readouterr().out.count("note: the outputs are raw maps") == count
