"""Engines tell nobody, and write nothing into the home folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import socket
import sys

def refuse(*arguments, **options):
    sys.stderr.write(f"looked up {arguments[0]}\\n")
    raise OSError("no network")

socket.getaddrinfo = socket.gethostbyname = socket.gethostbyname_ex = refuse
socket.socket.connect = refuse

import torch
from darknet_builder import build_network
from darknet_builder.engines.names import installed_backends

network = build_network("[net]\\nwidth=8\\nheight=8\\nchannels=3\\n[convolutional]\\n").eval()
for backend in installed_backends(("torch", "onnxruntime", "openvino")):
    network.optimized(backend=backend).outputs(torch.zeros(1, 3, 8, 8))
    print(backend)
"""
_CI = ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
"""Variables with which some packages behave better than on a user's machine."""


@pytest.mark.pack  # takes a quarter of a minute
@pytest.mark.slow
def test_nothing_is_sent_or_kept(tmp_path: Path) -> None:
    """With an empty home folder, and a name resolver that reports every look-up."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in _CI}
    path = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        env={**environment, "HOME": str(home), "PYTHONPATH": path},
    )
    assert result.returncode == 0, result.stderr
    assert "torch" in result.stdout
    assert "looked up" not in result.stderr
    assert list(home.rglob("*")) == []
