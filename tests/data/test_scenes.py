"""Scenes that the package draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder.data import scenes
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.scenes import MAX_OBJECTS, SCENE_NAMES, Scene, draw_scene, write_scenes
from darknet_builder.errors import DataError
from darknet_builder.images.files import read_image

SCENES = [draw_scene(seed) for seed in range(60)]


def test_a_seed_gives_one_scene() -> None:
    """The same picture and boxes every time; other seeds and splits give others."""
    again = draw_scene(3)
    assert np.array_equal(again.image, SCENES[3].image) and np.array_equal(
        again.boxes, SCENES[3].boxes
    )
    assert not np.array_equal(again.image, SCENES[4].image)
    assert not np.array_equal(again.image, draw_scene(3, split="train").image)


def test_what_is_in_them() -> None:
    """1 to 10 objects, all kinds, boxes within the picture and not tiny."""
    counts = [len(scene.boxes) for scene in SCENES]
    assert min(counts) >= 1 and max(counts) <= MAX_OBJECTS and max(counts) >= 8
    boxes = np.concatenate([scene.boxes for scene in SCENES])
    assert set(boxes[:, 4].astype(int)) == set(range(len(SCENE_NAMES))) and len(SCENE_NAMES) >= 6
    low, high = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
    assert (low >= -1e-6).all() and (high <= 1 + 1e-6).all()
    assert (boxes[:, 2:4] * 224).min() > 6


def test_sizes_follow() -> None:
    """Another size gives another picture with objects in proportion."""
    small = draw_scene(0, size=96)
    assert small.image.shape == (96, 96, 3) and small.image.dtype == np.uint8


def test_label_text() -> None:
    """Darknet's: the class first."""
    scene = Scene(
        np.zeros((4, 4, 3), np.uint8), np.array([[0.5, 0.25, 0.125, 0.0625, 3]], np.float32)
    )
    assert scene.label_text() == "3 0.500000 0.250000 0.125000 0.062500\n"


def test_a_whole_data_set(tmp_path: Path) -> None:
    """What is written is read back by the package's own reader, box for box."""
    data = DataFile.read(write_scenes(tmp_path / "set", {"train": 3, "valid": 2}, seed=7, size=96))
    assert data.classes == len(SCENE_NAMES) and data.names == SCENE_NAMES
    train, valid = data.load("train"), data.load("valid")
    assert (len(train), len(valid)) == (3, 2)
    expected = draw_scene(7, split="train", size=96)
    assert np.allclose(train[0].boxes, expected.boxes, atol=1e-6)
    assert np.abs(read_image(train[0].path).astype(int) - expected.image).mean() < 12  # JPEG


def test_mistakes(tmp_path: Path) -> None:
    """An unknown split; a folder that cannot be made."""
    with pytest.raises(DataError, match="split='test' is unknown; expected train or valid"):
        draw_scene(0, split="test")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_scenes(tmp_path / "file", {"train": 1})


def test_many_scenes_are_the_same_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn by several processes, in the same order."""
    alone = write_scenes(tmp_path / "alone", {"valid": 10}, size=32)
    monkeypatch.setattr(scenes, "_PARALLEL_FROM", 10)
    together = write_scenes(tmp_path / "together", {"valid": 10}, size=32)
    names = [image.path.name for image in DataFile.read(together).load("valid")]
    assert names == [f"{n:06d}.jpg" for n in range(10)]
    for path in sorted(together.parent.rglob("*.*")):
        assert path.read_bytes() == (alone.parent / path.relative_to(together.parent)).read_bytes()
