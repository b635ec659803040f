"""Two processes train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from darknet_builder.checkpoints import list_checkpoints, load_checkpoint
from darknet_builder.processes import Crew, crew_of
from darknet_builder.run_log import read_log
from tests.training_folder import TINY_CFG, make_folder, train

SCRIPT = Path(__file__).parent.parent / "scripts" / "train.py"


def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    """Over loopback, without batch norm, which would see other parts of a batch: equal losses and weights."""
    data = make_folder(tmp_path)
    text = TINY_CFG.replace("batch_normalize=1\n", "").replace("[dropout]\nprobability=.3\n", "")
    (tmp_path / "tiny.cfg").write_text(text)
    options = ["--max-batches", "6", "--save-every", "6"]
    status, _, err = train(tmp_path, *options, "--output", str(tmp_path / "one"))
    assert status == 0, err
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT),
               "--data", str(data), "--cfg", str(tmp_path / "tiny.cfg"), "--workers", "0", "--output",
               str(tmp_path / "two"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 steps done") == 1
    one, two = ([record for record in read_log(tmp_path / name / "log.jsonl") if "loss" in record]
                for name in ("one", "two"))
    assert len(one) == len(two) == 6
    for ours, theirs in zip(two, one, strict=True):
        for key in ("iou", "objectness", "classes", "box", "count", "rate"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-5)
        # What Darknet prints has the mean overlap of a part's positives in it, and the parts are others here.
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    first, second = (load_checkpoint(list_checkpoints(tmp_path / name)[-1])["network"] for name in ("one", "two"))
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], rtol=1e-5, atol=1e-7), name


def test_one_alone() -> None:
    """Nothing is communicated."""
    with crew_of("cpu") as crew:
        assert crew == Crew() and crew.leads
        assert crew.any(True) and not crew.any(False)
        assert crew.total(torch.tensor([2.0])).tolist() == [2]
        crew.wait()
        model = torch.nn.Linear(1, 1)
        assert crew.wrap(model) is model
