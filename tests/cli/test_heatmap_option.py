"""``detect --heatmap``: what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder.cli.program import main
from darknet_builder.data.scenes import draw_scene
from darknet_builder.images.files import read_image, write_image
from darknet_builder.images.video import write_video
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.heatmap import draw_heatmap, explain


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_image("scene.png", draw_scene(1).image)
    return Path("scene.png")


@pytest.mark.parametrize(("options", "layer"), [([], None), (["3"], 3)])
def test_a_picture_for_each_image(scene: Path, options: list[str], layer: int | None) -> None:
    """What the library draws."""
    assert main(["detect", str(scene), "--quiet", "--heatmap", *options]) == 0
    written = sorted(str(path) for path in Path("output").rglob("*.png"))
    assert written == ["output/heatmaps/scene.png", "output/scene.png"]
    image = read_image(scene)
    expected = draw_heatmap(image, explain(Detector("shapes"), image, layer=layer))
    drawn = read_image("output/heatmaps/scene.png")
    assert (drawn == expected).mean() > 0.95 and (drawn != image).any(2).mean() > 0.05


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["scene.png", "--heatmap", "99"],
            "--heatmap 99: expected a layer of the network, 0 to 28",
        ),
        (["scene.png", "--heatmap", "20"], "--heatmap 20: no head reads this layer"),
        (
            ["--heatmap", "scene.png"],
            "scene.png: expected the number of a layer; write the sources",
        ),
        (["scene.png", "--tile", "64", "--heatmap"], "--heatmap: not possible with --tile"),
        (["scene.png", "clip.mp4", "--heatmap"], "--heatmap: clip.mp4 is a video; expected images"),
    ],
)
def test_mistakes(
    scene: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and no folder is made."""
    with write_video(Path("clip.mp4"), 10) as append:
        append(draw_scene(1).image)
    try:
        status = main(["detect", *words])
    except SystemExit as error:
        status = int(str(error.code))
    err = capsys.readouterr().err
    assert status == 2 and message in err and err.count("\n") == 1
    assert not Path("output").exists()


def test_a_source_is_not_overwritten(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with the other pictures."""
    Path("heatmaps").mkdir()
    scene.rename("heatmaps/scene.png")
    assert main(["detect", "heatmaps/scene.png", "--heatmap", "--output", "."]) == 2
    assert "would overwrite the source heatmaps/scene.png" in capsys.readouterr().err
