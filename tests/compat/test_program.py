"""The lines and files of ``darknet-builder darknet``, against what Darknet's program wrote.

The photographs are files of the same names with the pixels that Darknet's own JPEG decoder gives,
so that nothing but float32's noise is between the two.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from darknet_builder.cli.program import main
from tests.helpers.darknet_images import darknet_image

pytestmark = pytest.mark.pack
PHOTOGRAPHS = ("dog", "person", "horses")
MODEL = ("yolo-fastest-1.1.cfg", "yolo-fastest-1.1.weights")
PREDICTED = re.compile(r"Predicted in \d+\.\d{6} milli-seconds")
Darknet = Callable[..., tuple[str, str]]


def save_as_darknet_sees_it(folder: Path, images: Path, name: str) -> None:
    """Write ``name``.jpg, whose content is a PNG: OpenCV tells the format by the content."""
    _, data = cv2.imencode(".png", darknet_image(images, name))
    (folder / f"{name}.jpg").write_bytes(data.tobytes())


@pytest.fixture
def folder(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which Darknet was run."""
    for file in (*MODEL, "coco.names"):
        shutil.copy(shared / "models" / file, tmp_path)
    for name in PHOTOGRAPHS:
        save_as_darknet_sees_it(tmp_path, shared / "images", name)
        shutil.copy(shared / "parity" / "map" / f"{name}.txt", tmp_path)
    shutil.copy(shared / "parity" / "doors" / "cli" / "coco.data", tmp_path)
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text("".join(f"{name}.jpg\n" for name in PHOTOGRAPHS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def darknet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Darknet:
    """Runs a line on the CPU; gives stdout and stderr."""

    def run(line: str, *, listed: Path | None = None) -> tuple[str, str]:
        with monkeypatch.context() as context:
            if listed is not None:
                context.setattr("sys.stdin", listed.open())
            status = main(["darknet", *line.split(), "-nogpu"])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out, captured.err

    return run


@pytest.fixture
def recorded(pack: Path) -> Callable[[str], str]:
    """Gives a recording, without the lines of the command and its exit status."""

    def read(name: str) -> str:
        with (pack / "doors" / "cli" / name).open(newline="") as file:
            text = file.read()
        return re.sub(r"\A\$ .*\n(exit \d+\n)?", "", text)

    return read


def timeless(text: str) -> str:
    """The text without times."""
    return PREDICTED.sub("Predicted", text)


TEST = f"detector test coco.data {' '.join(MODEL)}"


@pytest.mark.parametrize(
    ("name", "flags"), [("detector-test.txt", ""), ("detector-test-ext.txt", "-ext_output")]
)
def test_an_image(
    name: str, flags: str, folder: Path, darknet: Darknet, recorded: Callable[[str], str]
) -> None:
    out, err = darknet(f"{TEST} dog.jpg -thresh 0.25 -dont_show {flags}")
    assert timeless(out) == timeless(recorded(name)) and err == ""
    assert cv2.imread("predictions.jpg").shape == (576, 768, 3)


def test_photographs_as_opencv_decodes_them(
    shared: Path, folder: Path, darknet: Darknet, recorded: Callable[[str], str]
) -> None:
    """Darknet reads JPEG with stb_image, OpenCV with libjpeg-turbo.

    Pixels differ by up to 3 grey levels, which moves no object of these by more than one percent
    point or one pixel.
    """
    for name in PHOTOGRAPHS:
        shutil.copy(shared / "images" / f"{name}.jpg", folder)
    out, _ = darknet(f"{TEST} -thresh 0.25 -dont_show -ext_output", listed=Path("valid.txt"))
    theirs, number = recorded("detector-test-list.txt"), re.compile(r" +-?\d+")
    assert number.sub("N", timeless(out)) == number.sub("N", timeless(theirs))
    numbers = [list(map(int, number.findall(timeless(text)))) for text in (out, theirs)]
    assert np.abs(np.subtract(*numbers)).max() == 1


def test_a_list_on_standard_input(
    folder: Path, darknet: Darknet, recorded: Callable[[str], str]
) -> None:
    out, _ = darknet(
        f"{TEST} -thresh 0.25 -dont_show -ext_output -out result.json", listed=Path("valid.txt")
    )
    assert timeless(out) == timeless(recorded("detector-test-list.txt"))
    ours, theirs = (folder / "result.json").read_text(), recorded("result.json")
    shape = re.compile(r"\d\.\d{6}")
    assert shape.sub("N", ours) == shape.sub("N", theirs)
    pairs = zip(shape.findall(ours), shape.findall(theirs), strict=True)
    assert (
        max(abs(float(a) - float(b)) for a, b in pairs) <= 1e-5
    )  # sums in another order, through 130 layers


def test_labels(folder: Path, darknet: Darknet, recorded: Callable[[str], str]) -> None:
    (folder / "lab").mkdir()
    (folder / "dog.jpg").rename("lab/dog.jpg")
    Path("one.txt").write_text("lab/dog.jpg\n")
    out, _ = darknet(f"{TEST} -thresh 0.25 -dont_show -save_labels", listed=Path("one.txt"))
    labels = Path("lab/dog.txt").read_text()
    assert timeless(f"{out}--- lab/dog.txt\n{labels}") == timeless(
        recorded("detector-save-labels.txt")
    )


def test_coco_results(folder: Path, darknet: Darknet, recorded: Callable[[str], str]) -> None:
    out, _ = darknet(f"detector valid coco.data {' '.join(MODEL)}")
    assert out == recorded("detector-valid.txt")
    ours, theirs = Path("results/coco_results.json").read_text(), recorded("coco_results.json")
    ours_rows, theirs_rows = (
        np.array([(row["category_id"], *row["bbox"], row["score"]) for row in json.loads(text)])
        for text in (ours, theirs)
    )
    assert len(ours_rows) == len(theirs_rows)
    np.testing.assert_allclose(ours_rows[:, 5], theirs_rows[:, 5], atol=1e-5)
    np.testing.assert_allclose(ours_rows, theirs_rows, atol=5e-3)
    first = ours.splitlines()[1]
    assert re.sub(r"\.\d{6}", "", first) == re.sub(r"\.\d{6}", "", theirs.splitlines()[1])
    assert (ours[:2], ours[-4:]) == (theirs[:2], theirs[-4:])


def test_map(folder: Path, darknet: Darknet, recorded: Callable[[str], str]) -> None:
    with (folder / "out").open("w"):
        out, _ = darknet(f"detector map coco.data {' '.join(MODEL)}")
    assert out == recorded("detector-map.txt")


def test_recall(folder: Path, darknet: Darknet, recorded: Callable[[str], str]) -> None:
    out, err = darknet(f"detector recall coco.data {' '.join(MODEL)}")
    assert f"{out}(standard error, one line an image)\n{err}" == recorded("detector-recall.txt")


def test_partial(folder: Path, darknet: Darknet, recorded: Callable[[str], str]) -> None:
    out, _ = darknet(f"partial {' '.join(MODEL)} cut.conv.20 20")
    assert out == recorded("partial.txt")
    whole, cut = Path(MODEL[1]).read_bytes(), Path("cut.conv.20").read_bytes()
    assert cut[12:20] == bytes(8) and cut[20:] == whole[20 : len(cut)]


def test_anchors(folder: Path, darknet: Darknet, recorded: Callable[[str], str]) -> None:
    """Darknet begins at random boxes; of many starts, the best is the one that it had.

    The average is that of anchors before they are rounded, in float32 there and in float64 here.
    """
    line = "detector calc_anchors coco.data -num_of_clusters 6 -width 320 -height 320"
    out, _ = darknet(line)
    theirs = recorded("detector-anchors.txt").replace("\n iterations = 1 \n", "")
    assert out == theirs
    assert Path("anchors.txt").read_text() == recorded("anchors.txt")
    counters = re.search(r"counters_per_class = .*", theirs)
    assert counters is not None and Path("counters_per_class.txt").read_text() == counters[0]


LINE = re.compile(
    r"^ \d+: \d+\.\d{6}, \d+\.\d{6} avg loss, \d\.\d{6} rate, \d+\.\d{6} seconds, \d+ images,"
    r" -?\d+\.\d{6} hours left$",
    re.MULTILINE,
)


def test_training(
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    darknet: Darknet,
    recorded: Callable[[str], str],
) -> None:
    """Images are drawn and changed at random: the lines have the same form, and the same counts."""
    source = shared / "datasets" / "bccd"
    cfg = (source / "mini" / "mini.cfg").read_text()
    (tmp_path / "mini.cfg").write_text(re.sub(r"max_batches *= *\d+", "max_batches=3", cfg))
    text = (source / "bccd.data").read_text()
    for name in ("train.txt", "test.txt", "bccd.names"):
        text = text.replace(f"={name}", f"={source / name}")
    (tmp_path / "bccd.data").write_text(text)
    monkeypatch.chdir(tmp_path)
    out, _ = darknet(
        f"detector train bccd.data mini.cfg {source}/mini/init.weights -dont_show -clear"
    )
    ours, theirs = LINE.findall(out), LINE.findall(recorded("detector-train.txt"))
    assert len(ours) == 3 and len(theirs) == 2
    assert ours[0].endswith(" 16 images, -1.000000 hours left")
    for mine, other in zip(ours[1:], theirs, strict=True):
        ints = re.compile(r"^ (\d+):|(\d\.\d{6}) rate|(\d+) images")
        assert ints.findall(mine) == ints.findall(other)
        losses = [float(line.split()[1].rstrip(",")) for line in (mine, other)]
        assert abs(losses[0] / losses[1] - 1) < 0.25
    assert Path("backup/mini_final.weights").is_file()
