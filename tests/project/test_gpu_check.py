"""``scripts/gpu_check.py`` runs all its parts on a machine without a GPU and without OpenCV."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.pack  # takes a quarter of a minute
def test_every_part_runs_on_the_cpu(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    program = (
        "import runpy, sys; sys.modules['cv2'] = None; sys.argv[0] = 'gpu_check.py';"
        "runpy.run_path('scripts/gpu_check.py', run_name='__main__')"
    )
    options = ["--device", "cpu", "--quick", "--minutes", "5", "--output", str(report)]
    done = subprocess.run(
        [sys.executable, "-c", program, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    measured = json.loads(report.read_text())
    names = " ".join(check["check"] for check in measured["checks"])
    assert all(check["good"] for check in measured["checks"])
    for part in (
        "layers, float32",
        "heads, bfloat16",
        "detections",
        "in two threads",
        "loss curve, float32",
    ):
        assert part in names
    assert {"plain", "torch engine"} <= {row["way"] for row in measured["speeds"]}
    assert all(row["ms"] > 0 for row in measured["speeds"])
    assert measured["other"]["upload, network and post-processing, images/s"] > 0


def test_a_machine_without_cuda(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/gpu_check.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr == "no CUDA device is available; try --device cpu --quick\n"
