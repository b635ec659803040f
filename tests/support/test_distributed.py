"""Two processes give the results of one: they train the same network, and share long lists."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from darknet_builder.data.scenes import write_scenes
from darknet_builder.images.files import write_image
from darknet_builder.support.distributed import ProcessGroup, init_processes
from darknet_builder.training.checkpoints.checkpoint_file import list_checkpoints, load_checkpoint
from darknet_builder.training.log.run_log import read_log
from tests.helpers.commands import run_program
from tests.helpers.toy_detector import RED, squares, toy_files
from tests.helpers.training_folder import TINY_CFG, make_folder, train

ROOT = Path(__file__).parents[2]
MODEL = [
    "--cfg",
    str(ROOT / "cfg" / "shapes.cfg"),
    "--weights",
    str(ROOT / "weights" / "shapes.weights"),
]
TRAINING = ["--max-batches", "12", "--save-every", "2"]


def start_two(script: str, *words: str) -> subprocess.Popen[str]:
    """Start a script in two processes under ``torchrun``, over loopback."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(ROOT / "scripts" / script),
        *words,
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def run_two(script: str, *words: str) -> tuple[int, str, str]:
    """Run a script in two processes; return exit status, stdout and stderr."""
    process = start_two(script, *words)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


# ---- training ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a cfg, initial weights, and the training of one process to compare with.

    The cfg has no dropout, whose masks would differ between the processes, and has depthwise
    kernels. The batch norms are frozen, because each process would see other parts of a batch.
    A head and a layer have ``onlyforward=1``: no process may wait for their gradients.
    """
    folder = tmp_path_factory.mktemp("processes")
    make_folder(folder)
    text = TINY_CFG.replace("[dropout]\nprobability=.3\n", "").replace(
        "filters=16\n", "filters=16\ngroups=8\n"
    )
    last = text[text.index("[convolutional]\nfilters=39") :]
    branch = "[route]\nlayers=-3\n\n[convolutional]\nfilters=8\nsize=1\nonlyforward=1\n\n"
    text += "\n[route]\nlayers=-3\n\n" + last + "onlyforward=1\n\n" + branch + last
    (folder / "tiny.cfg").write_text(text)
    status, _, err = train(folder, "--max-batches", "12", "--output", str(folder / "before"))
    assert status == 0, err
    status, _, err = train(folder, *TRAINING, *frozen(folder), "--output", str(folder / "one"))
    assert status == 0, err
    return folder


def frozen(folder: Path) -> list[str]:
    """Return options that start from trained batch norms and freeze their statistics."""
    return ["--freeze-norms", "--weights", str(folder / "before" / "tiny_final.weights")]


def words_for(folder: Path, name: str) -> list[str]:
    """Return the options of a training in two processes."""
    return [
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(folder / "tiny.cfg"),
        "--workers",
        "0",
        "--output",
        str(folder / name),
        *TRAINING,
        *frozen(folder),
    ]


def assert_same_training(folder: Path, name: str) -> None:
    """Check that losses and weights are equal, except for the order in which floats are added.

    Sums in float32 round by about 1e-7 (at most 2e-7 was measured), and 12 steps accumulate that.
    Nothing else may differ: no batch norm uses a batch, and means over the positives are means over
    those of all processes.
    """
    two, one = read_steps(folder / name), read_steps(folder / "one")
    assert list(two) == list(one) == [*range(1, 13)]
    for ours, theirs in zip(two.values(), one.values(), strict=True):
        for key in ("loss", "average", "iou", "objectness", "classes", "box", "count", "rate"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-6), (ours["iteration"], key)
    first, second = (
        load_checkpoint(list_checkpoints(folder / run)[-1])["network"] for run in ("one", name)
    )
    for key, tensor in first.items():
        assert torch.allclose(tensor, second[key], rtol=1e-5, atol=1e-7), key


def read_steps(run: Path) -> dict[int, dict[str, Any]]:
    """Return the log record of each step."""
    records = [record for record in read_log(run / "log.jsonl") if "loss" in record]
    return {record["iteration"]: record for record in records}


def wait_for_step(process: subprocess.Popen[str], output: Path, step: int) -> None:
    """Wait until a checkpoint of this step or a later one exists."""
    deadline = time.monotonic() + 300
    while not any(int(path.stem.split("_")[1]) >= step for path in list_checkpoints(output)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that a process has started."""
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    return [int(number) for number in found.stdout.split()]


@pytest.mark.pack  # half a minute of processor time
@pytest.mark.slow
def test_two_processes_killed_and_resumed(folder: Path) -> None:
    """SIGKILL for one process ends both, and --resume leads to the numbers of one process."""
    process = start_two("train.py", *words_for(folder, "killed"))
    wait_for_step(process, folder / "killed", 4)
    os.kill(children_of(process)[-1], signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode != 0 and not (folder / "killed" / "tiny_final.weights").exists()
    status, out, err = run_two("train.py", *words_for(folder, "killed"), "--resume")
    assert status == 0, err
    assert out.count("resuming after step") == 1 and "resuming after step 0" not in out
    assert out.count("12 steps done") == 1 and "Grad strides" not in err
    assert_same_training(folder, "killed")


# ---- two machines ------------------------------------------------------------------------------

NODES = {"10.77.0.1": "darknet-node-1", "10.77.0.2": "darknet-node-2"}
"""The address of each network namespace, which stands for a machine."""


@pytest.fixture
def nodes() -> Iterator[None]:
    """Two network namespaces that see nothing but each other, through a pair of devices."""
    if getattr(os, "geteuid", lambda: 1)() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command ip")
    first, second = NODES.values()
    commands = [f"ip netns add {first}", f"ip netns add {second}"]
    commands.append(f"ip link add node0 netns {first} type veth peer name node0 netns {second}")
    for address, name in NODES.items():
        commands.append(f"ip -n {name} address add {address}/24 dev node0")
        commands += [f"ip -n {name} link set {device} up" for device in ("node0", "lo")]
    try:
        for command in commands:
            made = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"this kernel refuses {command}: {made.stderr.strip()}")
        yield
    finally:
        for name in NODES.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def start_node(address: str, *words: str) -> subprocess.Popen[str]:
    """Start one process of a training on a node, as the page about scale says."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    torchrun += ["--nproc-per-node", "1", "--max-restarts", "2", "--rdzv-backend", "c10d"]
    torchrun += ["--rdzv-id", "1", "--rdzv-endpoint", "10.77.0.1:29500", "--local-addr", address]
    # A namespace has no name of its own, by which torchrun would find out who is the host.
    torchrun += ["--rdzv-conf", f"is_host={int(address == '10.77.0.1')}"]
    return subprocess.Popen(
        ["ip", "netns", "exec", NODES[address], *torchrun, str(ROOT / "scripts/train.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "node0",
            # Without it, workers that start again find the addresses of those that are gone.
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        },
    )


@pytest.mark.pack
def test_two_nodes_of_which_one_fails(nodes: None, folder: Path) -> None:
    """A killed worker makes both nodes go on from the last checkpoint; the numbers are of one."""
    words = [*words_for(folder, "nodes"), "--resume"]
    started = [start_node(address, *words) for address in NODES]
    wait_for_step(started[0], folder / "nodes", 4)
    os.kill(children_of(started[1])[-1], signal.SIGKILL)
    (out, err), (other, _) = (process.communicate(timeout=300) for process in started)
    assert [process.returncode for process in started] == [0, 0], err
    assert out.count("12 steps done") == 1 and "steps done" not in other
    assert "resuming after step" in out
    assert_same_training(folder, "nodes")


# ---- lists ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_evaluate_as_one(tmp_path: Path) -> None:
    """With an odd number of images, JSON and table are the same, and are written once."""
    data = str(write_scenes(tmp_path / "scenes", {"valid": 7}))
    answers = []
    for name, run in (("one", run_one), ("two", run_two)):
        status, out, err = run(
            "evaluate.py", "--data", data, *MODEL, "--json", str(tmp_path / f"{name}.json")
        )
        assert status == 0, err
        table = out.split(" images/s")[0].rpartition("; ")[0]
        answers.append((json.loads((tmp_path / f"{name}.json").read_text()), table))
    assert answers[0] == answers[1]
    assert answers[0][0]["darknet"]["mean_average_precision"] > 0.3


@pytest.mark.slow
def test_two_processes_detect_as_one(tmp_path: Path) -> None:
    """Files, objects and lines are the same, in the list's order and without repetition.

    A file that cannot be read is reported once. Scores and corners may differ in the last digits,
    because the first calls of an engine compute differently from later ones.
    """
    source = tmp_path / "shots"
    shutil.copytree(ROOT / "docs" / "images" / "scenes", source)
    (source / "scene-3.jpg").write_text("no picture")
    lines, tables, pages = [], [], []
    for name, run in (("one", run_one), ("two", run_two)):
        folder = tmp_path / name
        status, out, err = run(
            "detect.py",
            str(source),
            *MODEL,
            "--output",
            str(folder),
            "--save-json",
            "--save-csv",
            "--save-txt",
            "--report",
            str(folder / "page.html"),
        )
        assert status == 1 and err.count("skipped: ") == 1
        lines.append([line.split("; ")[0] for line in out.splitlines()])
        tables.append(read_csv(folder / "detections.csv"))
        pages.append((folder / "page.html").read_text().count("<figure "))
        document = json.loads((folder / "detections.json").read_text())
        names = [image["file_name"] for image in document["images"]]
        assert names == sorted(names)
        assert len(document["images"]) == 6 and len(document["annotations"]) == len(tables[-1][0])
    assert lines[0] == lines[1] and len(lines[0]) == 7 and "scene-0.jpg: " in lines[0][0]
    assert tables[0][0] == tables[1][0]
    assert tables[0][1] == pytest.approx(tables[1][1], abs=0.02) and len(tables[0][1]) > 10
    assert pages == [6, 6]
    one, two = files_in(tmp_path / "one"), files_in(tmp_path / "two")
    assert one == two and len(one) == 6 + 6 + 3


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files, relative to the folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in paths)


def read_csv(path: Path) -> tuple[list[tuple[str, ...]], list[float]]:
    """Return (file, frame, size and class of every object, in order; their scores and corners)."""
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    numbers = [float(value) for row in rows for value in row[6:]]
    return [tuple(row[:6]) for row in rows], numbers


def run_one(script: str, *words: str) -> tuple[int, str, str]:
    """Run the same in this process alone."""
    return run_program(script.removesuffix(".py"), *words)


def test_shares_come_back_in_order() -> None:
    """Strided shards, the first of which may be longer by one, are merged in the list's order."""
    whole = list(range(7))
    shares = [ProcessGroup(rank, 3).shard(whole) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert ProcessGroup().gather(whole) == whole and ProcessGroup().broadcast(lambda: 5) == 5


def test_one_alone() -> None:
    """A group of one does not communicate."""
    with init_processes("cpu") as group:
        assert group == ProcessGroup() and group.is_main
        assert group.any(True) and not group.any(False)
        assert group.sum(torch.tensor([2.0])).tolist() == [2]
        group.barrier()
        model = torch.nn.Linear(1, 1)
        assert group.wrap(model) is model


def test_a_killed_job_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """``--shards``: each line of the list has one row, whenever two processes were killed."""
    cfg, weights, names = toy_files(tmp_path)
    for index in range(7):
        write_image(tmp_path / f"{index}.png", squares((RED, index % 4, index % 3)))
    lines = [f"{tmp_path / str(number % 8)}.png" for number in range(4500)]  # there is no 7.png
    (tmp_path / "list.txt").write_text("\n".join(lines))
    found = tmp_path / "found"
    words = [f"@{tmp_path / 'list.txt'}", "--shards", str(found), "--resume", "--quiet"]
    words += ["--cfg", cfg, "--weights", weights, "--names", names, "--batch", "8"]
    process = start_two("detect.py", *words)
    while not list(found.glob("part-*")) and process.poll() is None:
        time.sleep(0.02)
    for number in (*children_of(process), process.pid):
        os.kill(number, signal.SIGKILL)
    process.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in found.glob("part-*")}
    assert 1 <= len(before) < 5
    assert run_one("detect.py", *words)[0] == 1
    parts = sorted(found.glob("part-*"))
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in parts}.items()
    rows = [json.loads(row) for part in parts for row in part.read_text().splitlines()]
    assert [row["file"] for row in rows] == lines
    assert [row.get("error") for row in rows[:9]] == [None] * 7 + [
        "No such file or directory",
        None,
    ]
    assert len(rows[0]["detections"]) == 1 and not list(found.glob(".part-*"))
