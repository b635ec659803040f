"""The worked example of CONTRIBUTING.md does what it says."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from darknet_builder.errors import CfgError, CfgWarning
from darknet_builder.layers import registry
from darknet_builder.network.build import build_network
from darknet_builder.weights.loader import load_weights, save_weights

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
CFG = "[net]\nwidth=4\nheight=4\nchannels=2\n\n[clamp]\nhigh={high}\n"


@pytest.fixture
def _clamp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's file, as if it lay in ``layers/``."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    exec(compile(code.group(1), "clamp.py", "exec"), {"__name__": "clamp"})
    yield


@pytest.mark.usefixtures("_clamp")
def test_the_example_layer_works(tmp_path: Path) -> None:
    """Builds, runs, counts, loads and saves."""
    network = build_network(CFG.format(high=1))
    assert network(torch.full((1, 2, 4, 4), 5.0)).max() == 1
    assert (network.num_stored, network.bflops) == (2, 96e-9)
    assert repr(network.layers[0]) == "Clamp(low=0, high=1)"
    with torch.no_grad():
        network.layers[0].factor.fill_(3)
    save_weights(network, tmp_path / "a.weights")
    again = build_network(CFG.format(high=1))
    load_weights(again, tmp_path / "a.weights")
    assert again.layers[0].factor.tolist() == [3, 3]


@pytest.mark.usefixtures("_clamp")
def test_the_example_reports_mistakes() -> None:
    """With file, line, and the nearest name."""
    with pytest.raises(CfgError, match=r"^<text>:6: \[clamp\]: low=0\.0 must be below high=-1\.0$"):
        build_network(CFG.format(high=-1))
    with pytest.warns(CfgWarning, match=r"^<text>:8: \[clamp\] lo=0: .*did you mean 'low'\?$"):
        build_network(CFG.format(high=1) + "lo=0\n")
    with (
        warnings.catch_warnings(),
        pytest.raises(CfgError, match="the dialect pjreddie does not know this section"),
    ):
        build_network(CFG.format(high=1), dialect="pjreddie")
