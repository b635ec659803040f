"""Options and fixtures of the suite: where the parity pack is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
GOLDEN = HERE / "golden"
SLOW_MODULES = frozenset(
    (
        "test_benchmark",
        "test_check_mistakes",
        "test_continuing",
        "test_darknet_training",
        "test_detections_page",
        "test_distributed",
        "test_docs",
        "test_export",
        "test_export_command",
        "test_export_models",
        "test_export_table",
        "test_int8_options",
        "test_lessons",
        "test_long_chains",
        "test_model_files",
        "test_network_page",
        "test_optimized",
        "test_quantized",
        "test_readme",
        "test_train_command",
        "test_trainer",
        "test_training_parity",
        "test_upload_page",
    )
)
"""Tests that run whole commands, trainings, exporters and browsers: not of the unit part."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--pack DIR`` and ``--pack-cfgs DIR``."""
    parser.addoption(
        "--pack",
        type=Path,
        default=SHARED / "parity",
        help="the parity pack: numbers recorded from Darknet (default: ../shared/parity)",
    )
    parser.addoption(
        "--pack-cfgs",
        type=Path,
        default=None,
        help="the pack's cfgs, in alexeyab/ and pjreddie/ (default: cfgs beside the pack)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The mark that keeps ``SLOW_MODULES`` out of the unit part."""
    for item in items:
        if item.path.stem in SLOW_MODULES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def pack(request: pytest.FixtureRequest) -> Path:
    """The folder of the parity pack; tests that need it are skipped, by name, where it is not."""
    folder: Path = request.config.getoption("--pack")
    if not folder.is_dir():
        pytest.skip(f"the parity pack is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def shared(pack: Path) -> Path:
    """The folder around the pack: models, images, data set."""
    folder = pack.resolve().parent
    if not (folder / "models").is_dir():
        pytest.skip(f"no models beside the parity pack: {folder}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The numbers that the project carries itself."""
    return GOLDEN


def read_meta(path: Path) -> dict[str, Any]:
    """Return the metadata of a fixture, without its arrays."""
    with np.load(path) as file:
        return dict(json.loads(bytes(file["meta"])))


def read_fixture(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A fixture's ``meta`` and arrays."""
    with np.load(path) as file:
        return json.loads(bytes(file["meta"])), {
            name: file[name] for name in file.files if name != "meta"
        }


sys.path.insert(0, str(GOLDEN))  # generator.py, which makes the fixtures' weights and inputs
