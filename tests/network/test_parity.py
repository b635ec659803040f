"""Every layer of every recorded network against Darknet's own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import GOLDEN, read_fixture
from tests.helpers.parity import Fixture, check_outputs, check_structure, check_weights_file
from tests.helpers.unit_networks import UNIT_CFGS

pytestmark = pytest.mark.filterwarnings(
    "ignore::darknet_builder.errors.CfgWarning"
)  # real cfgs have their oddities

FOLDERS = {"networks": "alexeyab", "networks-pjreddie": "pjreddie", "layers": "alexeyab"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a fixture of the pack."""
    if "pack_fixture" in metafunc.fixturenames:
        pack = metafunc.config.getoption("--pack")
        paths = [path for folder in FOLDERS for path in sorted((pack / folder).glob("*.npz"))]
        metafunc.parametrize(
            "pack_fixture", paths, ids=[f"{path.parent.name}/{path.stem}" for path in paths]
        )


def check(fixture: Fixture, folder: Path) -> None:
    """Structure, the weights file, and the outputs."""
    network = fixture.build()
    check_structure(fixture, network)
    check_weights_file(fixture, network, folder)
    check_outputs(fixture, network)


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_unit_network(name: str, tmp_path: Path) -> None:
    """The small networks that the project carries itself."""
    meta, arrays = read_fixture(GOLDEN / "layers" / f"{name}.npz")
    check(Fixture(meta, arrays, UNIT_CFGS[name], "alexeyab"), tmp_path)


@pytest.mark.pack
def test_pack_network(pack_fixture: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Everything in the pack."""
    meta, arrays = read_fixture(pack_fixture)
    folder = pack_fixture.parent.name
    cfg = pack_fixture.with_suffix(".cfg")
    if folder != "layers":
        cfgs = request.config.getoption("--pack-cfgs") or pack_fixture.parents[2] / "cfgs"
        cfg = cfgs / FOLDERS[folder] / f"{meta['name']}.cfg"
    check(Fixture(meta, arrays, cfg, FOLDERS[folder]), tmp_path)


def test_every_unit_fixture_is_used() -> None:
    """No recorded number lies unused."""
    assert sorted(path.stem for path in (GOLDEN / "layers").glob("*.npz")) == sorted(UNIT_CFGS)
