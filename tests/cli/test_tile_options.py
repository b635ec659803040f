"""``--tile``, ``--overlap`` and ``--tile-full`` of ``detect`` and ``evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darknet_builder.cli.program import main
from darknet_builder.data.scenes import draw_field
from darknet_builder.images.files import write_image


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture of four scenes, its labels and a .data file."""
    folder = tmp_path_factory.mktemp("field")
    scene = draw_field(2, 2, seed=3)
    write_image(folder / "field.png", scene.image)
    (folder / "field.txt").write_text(scene.label_text())
    (folder / "list.txt").write_text("field.png\n")
    (folder / "field.data").write_text("classes=8\nvalid=list.txt\n")
    return folder


def test_detect(field: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tiles find more."""
    found = []
    for options in ([], ["--tile", "224x230", "--overlap=.3", "--tile-full"]):
        words = ["detect", str(field / "field.png"), "--no-images", "--json", "--batch=4", *options]
        assert main(words) == 0
        found.append(len(json.loads(capsys.readouterr().out)["images"][0]["detections"]))
    assert found[1] >= 1.5 * found[0]


def test_evaluate(field: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recall at the usual threshold is much higher."""
    recalls = []
    for options in ([], ["--tile", "224", "--batch", "4"]):
        words = ["evaluate", "--data", str(field / "field.data"), "--model", "shapes", "--no-coco"]
        assert main([*words, "--json", *options]) == 0
        document = json.loads(capsys.readouterr().out)
        recalls.append(document["darknet"]["recall"])
    assert recalls[1] > 2 * recalls[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tile", "8"], "--tile 8x8: expected 32 or more pixels, the stride of most networks"),
        (["--tile", "64", "--overlap", "1"], "--overlap 1.0: expected a number from 0 to below 1"),
        (["--overlap", "0.1"], "--overlap needs --tile SIZE"),
        (["--tile-full"], "--tile-full needs --tile SIZE"),
        (["--tile", "64x"], "argument --tile: 64x: expected pixels, such as 640 or 640x480"),
        (["--tile", "-5"], "argument --tile: "),
    ],
)
def test_mistakes(
    field: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and nothing is run."""
    try:
        status = main(["detect", str(field / "field.png"), "--no-images", *options])
    except SystemExit as error:
        status = int(str(error.code))
    captured = capsys.readouterr()
    assert status == 2 and captured.out == ""
    assert message in captured.err and captured.err.count("\n") == 1
