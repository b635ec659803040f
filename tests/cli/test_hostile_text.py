"""Names that are not UTF-8 or hold control characters, and outputs that cannot be written."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from darknet_builder import build_network, parse_cfg, read_names
from darknet_builder.cli.output import printable_stream
from darknet_builder.cli.program import main
from darknet_builder.errors import CfgError, DataError, nearest
from darknet_builder.images.files import write_image
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.text import printable
from tests.helpers.toy_detector import RED, squares, toy_files

NAME = os.fsdecode(b"caf\xe9\x1b[31m \xc3\xa9.png")
"""In Latin-1, with a control sequence, and then in UTF-8."""
ALL = ("--save-json", "--save-csv", "--save-txt", "--json", "found.json", "--report", "page.html")
ERROR, FOLDER = "darknet-builder: error: ", "cannot be written: Is a directory"
Run = Callable[..., tuple[int, str, list[str]]]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Detect with a standard output in ASCII; return status, standard output, lines of stderr."""
    cfg, weights, names = toy_files(tmp_path)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_image("red.png", squares((RED, 1, 2)))

    def command(*words: str) -> tuple[int, str, list[str]]:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stdout)
        model = ["--cfg", cfg, "--weights", weights, "--names", names]
        status = main(["detect", *model, *words])
        stdout.flush()
        return (
            status,
            stdout.buffer.getvalue().decode("ascii"),
            capsys.readouterr().err.splitlines(),
        )

    return command


@posix
def test_a_name_that_is_not_utf8(run: Run) -> None:
    """Every output has the objects of all images; JSON gives the name back to the byte."""
    write_image(NAME, squares((RED, 0, 0)))
    status, out, err = run("red.png", NAME, *ALL)
    assert (status, err) == (0, [])
    shown = r"caf\udce9\u001b[31m \u00e9.png"
    assert out.startswith(f"red.png: 1 red\n{shown}: 1 red\n2 images, 2 objects: 2 red")
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert [image["file"] for image in found["images"]] == ["red.png", NAME]
    coco = json.loads(Path("output/detections.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in coco["images"]] == ["red.png", NAME]
    with open("output/detections.csv", encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            "red.png",
            "caf\\udce9\x1b[31m \xe9.png",
        ]
    assert Path("page.html").read_text(encoding="utf-8").count("<figure") == 2
    assert Path("output", NAME).is_file()
    assert Path("output/labels", NAME).with_suffix(".txt").is_file()


@posix
def test_json_to_a_stream_in_ascii(run: Run) -> None:
    """It is JSON, and has the name to the byte."""
    write_image(NAME, squares((RED, 0, 0)))
    status, out, err = run(NAME, "--json", "-", "--no-images")
    assert (status, err) == (0, [])
    assert [image["file"] for image in json.loads(out)["images"]] == [NAME]


@posix
def test_a_complaint_about_such_a_file(run: Run) -> None:
    """Without its control characters."""
    Path(NAME).write_bytes(b"no image")
    status, _, err = run(NAME, "--no-images")
    assert (status, err) == (
        1,
        [r"skipped: caf\udce9\u001b[31m é.png: not an image that OpenCV can read"],
    )


def test_one_output_cannot_be_written(run: Run) -> None:
    """The others are; one line says which, and so does the status."""
    Path("output/detections.csv").mkdir(parents=True)
    status, out, err = run("red.png", *ALL)
    assert (status, err) == (2, [f"{ERROR}output/detections.csv: {FOLDER}"])
    assert "1 image, 1 object" in out
    for path in ("found.json", "page.html", "output/detections.json", "output/red.png"):
        assert Path(path).stat().st_size


def test_two_outputs_cannot_be_written(run: Run) -> None:
    """A line for each."""
    Path("output/detections.csv").mkdir(parents=True)
    Path("output/detections.json").mkdir()
    status, _, err = run("red.png", *ALL)
    assert (status, err) == (
        2, [f"output/detections.csv: {FOLDER}", f"{ERROR}output/detections.json: {FOLDER}"]
    )  # fmt: skip
    assert Path("found.json").is_file() and Path("page.html").is_file()


@pytest.mark.parametrize("path", ["found.json", "page.html"])
def test_a_folder_in_place_of_a_file(run: Run, path: str) -> None:
    """It is refused before the work."""
    Path(path).mkdir()
    status, out, err = run("red.png", *ALL)
    assert (status, out, err) == (
        2, "", [f"{ERROR}{path}: is a folder; expected the path of a file"]
    )  # fmt: skip
    assert not Path("output").exists()


def test_no_image_can_be_read(run: Run) -> None:
    """The files of an earlier run stay, too."""
    assert run("red.png", *ALL)[0] == 0
    before = Path("found.json").read_bytes()
    Path("bad.png").write_bytes(b"no image")
    assert run("bad.png", *ALL)[0] == 1
    assert Path("found.json").read_bytes() == before


@pytest.mark.parametrize("mistake", [KeyboardInterrupt, MemoryError])
def test_no_image_was_finished(
    run: Run, monkeypatch: pytest.MonkeyPatch, mistake: type[BaseException]
) -> None:
    """The files of an earlier run stay as they were."""
    assert run("red.png", *ALL)[0] == 0
    files = [path for path in Path().rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}

    def fail(*arguments: object) -> None:
        raise mistake

    monkeypatch.setattr(Detector, "raw_maps", fail)
    assert run("red.png", *ALL)[0] == (130 if mistake is KeyboardInterrupt else 2)
    assert {path: path.read_bytes() for path in before} == before


def test_printable() -> None:
    """Line breaks and tabs stay; JSON gets escapes that it knows, also above 16 bits."""
    assert printable("a\tb\nc\rd\x7f\x9b\u202e") == "a\tb\nc\\u000dd\\u007f\\u009b\\u202e"
    text = json.dumps("\N{GRINNING FACE} \x7f é", ensure_ascii=False)
    assert json.loads(printable(text, "ascii")) == "\N{GRINNING FACE} \x7f é"


def test_own_control_sequences() -> None:
    """A redrawn line and coloured words stay; the same characters elsewhere do not."""
    stream = io.StringIO()
    own = printable_stream(stream)
    own.write("\r\x1b[K3/10: \r\x1b[K\n")
    own.write("\x1b[1;31merror\x1b[0m: \x1b[1;31mred\x1b[0m\n")
    assert stream.getvalue() == (
        "\r\x1b[K3/10: \\u000d\\u001b[K\n"
        "\x1b[1;31merror\x1b[0m: \\u001b[1;31mred\\u001b[0m\n"
    )  # fmt: skip


# ---- long texts ----------------------------------------------------------------------------------

CFG = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n"


def lines_of(capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    """Return the lines on stderr about a cfg, without the program's name."""
    Path("a.cfg").write_text(text)
    main(["dump", "a.cfg"])
    return [line.removeprefix("darknet-builder: ") for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("always")
def test_control_characters_in_a_cfg(capsys: pytest.CaptureFixture[str]) -> None:
    """A title for the terminal's window is not set."""
    (line,) = lines_of(capsys, f"{CFG}\x1b]0;owned\x07\x1b[31m=1\n")
    assert line == (
        r"warning: a.cfg:7: [convolutional] \u001b]0;owned\u0007\u001b[31m=1: unknown option, it has"
        " no effect"
    )


@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    "line",
    ["[" + "a" * 100_000, "a" * 100_000, "size=" + "a" * 100_000, "size=1" + "1" * 100_000,
     "a" * 100_000 + "=1", "activation=" + "a" * 100_000, "[" + "a" * 100_000 + "]",
     "size=1" + "a" * 100_000, "size=" + "1 " * 50_000],
)  # fmt: skip
def test_quotes_are_short(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Of a line of a hundred thousand letters."""
    shown = lines_of(capsys, f"{CFG}{line}\n")
    assert shown and all(len(text) < 400 for text in shown)


@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("always")
def test_many_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """The first hundred, and how many more there are."""
    shown = lines_of(capsys, CFG + "".join(f"x{number}=1\n" for number in range(2000)))
    assert len(shown) == 101
    assert shown[-1] == "warning: ... and 1,900 more of the cfg"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_files_that_never_end(tmp_path: Path) -> None:
    """A cfg, names and a tree are read up to 64 MiB."""
    with pytest.raises(CfgError, match=r"^/dev/zero: cannot be read: larger than 64 MiB$"):
        parse_cfg("/dev/zero")
    with pytest.raises(DataError, match=r"^/dev/zero: larger than 64 MiB$"):
        read_names("/dev/zero")
    head = "[convolutional]\nfilters=7\n[region]\nanchors=1,1\nclasses=2\nnum=1\n"
    with (tmp_path / "a.tree").open("wb") as file:
        file.truncate(2**26 + 1)  # a hole, which takes no room
    with pytest.raises(CfgError, match=r"a\.tree: cannot be read: larger than 64 MiB$"):
        build_network(f"{CFG}{head}tree={tmp_path / 'a.tree'}\n")


def test_hints_take_no_time() -> None:
    """A word is compared with a limited number of others, and a long one with none."""
    words = [f"layers.{number}.conv.weight" for number in range(1_000_000)]
    start = time.perf_counter()
    assert nearest("layers.7.conv.weigth", words) == "layers.7.conv.weight"
    assert nearest("a" * 100_000, words) is None
    assert time.perf_counter() - start < 5
