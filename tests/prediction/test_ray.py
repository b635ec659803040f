"""The script for Ray finds what ``Detector`` finds, once an image, also if a worker is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darknet_builder import BatchDetector
from darknet_builder.data.scenes import draw_scene
from darknet_builder.images.files import write_image
from darknet_builder.prediction.batch_detector import arrow_table
from tests.helpers.toy_detector import toy_files

SCRIPTS = Path(__file__).parents[2] / "scripts"
DRAWN, COPIES = 100, 20


class Fragile(BatchDetector):
    """A worker that is killed once, in the middle of its work; the marker file says that it was."""

    def __call__(self, columns: Any) -> Any:
        """Return the rows of a batch."""
        marker = Path(os.environ["KILLED_MARKER"])
        if any("scene-050" in path for path in columns["path"]) and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return arrow_table(super().__call__(columns))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A Ray of this machine with room for two workers and a reader, which reports to nobody."""
    ray = pytest.importorskip("ray")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    variables = {"KILLED_MARKER": str(tmp_path / "killed"), "RAY_USAGE_STATS_ENABLED": "0"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.mark.extras
def test_two_workers_of_which_one_is_killed(
    cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """2,000 files of drawn scenes and two others; in any order."""
    parquet = pytest.importorskip("pyarrow.parquet")
    import detect_ray

    images, model = tmp_path / "images", tmp_path / "toy"
    images.mkdir()
    model.mkdir()
    toy_files(model)
    for number in range(DRAWN):
        first = images / f"scene-{number:03d}-0.png"
        write_image(first, draw_scene(number, size=96).image)
        for copy in range(1, COPIES):
            shutil.copy(first, images / f"scene-{number:03d}-{copy}.png")
    (images / "broken.png").write_bytes(b"not an image")
    (images / "empty.png").write_bytes(b"")
    monkeypatch.setattr(detect_ray, "Finder", Fragile)
    words = [str(images), str(tmp_path / "found"), "--model", str(model), "--workers", "2"]
    monkeypatch.setattr(sys, "argv", ["detect_ray.py", *words])
    detect_ray.main()
    assert (tmp_path / "killed").exists()
    found = parquet.read_table(tmp_path / "found").to_pylist()
    expected = BatchDetector(model, batch=8)({"path": sorted(map(str, images.iterdir()))})
    assert len(found) == DRAWN * COPIES + 2
    found.sort(key=lambda row: row["path"])
    for name in ("path", "width", "height", "error", "class_id", "class_name"):
        assert [row[name] for row in found] == expected[name].tolist(), name
    for name in ("score", "box"):
        theirs = np.array(sum(expected[name].tolist(), []))
        assert np.array(sum((row[name] for row in found), [])) == pytest.approx(theirs, abs=1e-3)
        assert len(theirs) > 2000
