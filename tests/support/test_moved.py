"""Old addresses of modules: they work, say where their names are now, and hide nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import ModuleType

import pytest

import darknet_builder
from darknet_builder.support.moved import MOVED, install

DOCUMENTED = {
    "anchors": ("find_anchors", "Anchors"),
    "augmentation": ("AugmentRule", "make_sample", "Sample"),
    "average_precision": ("mean_average_precision", "MapResult", "ImageBoxes"),
    "averaging": ("WeightEma",),
    "cfg_editing": ("adapt_cfg", "Adaptation"),
    "checkpoints": ("load_checkpoint", "save_checkpoint"),
    "classifier_data": ("ClassedImages", "load_classed_images", "ClassifierRule"),
    "darknet_files": ("write_darknet", "portable_blocks"),
    "datasets": ("DataFile", "ImageSet", "load_images", "read_labels", "list_images"),
    "detection_report": ("DetectionReport",),
    "detections": ("Detection", "Detections", "Record", "csv_text", "coco_document", "read_names"),
    "dialects": ("DIALECTS", "Dialect", "get_dialect"),
    "drawing": ("draw_detections",),
    "evaluation_coco": ("CocoResult", "coco_average_precision"),
    "evaluation_plot": ("plot_curves",),
    "folding": ("fold_batch_norm",),
    "inference": ("OptimizedNetwork", "optimize"),
    "initialization": ("InitRule", "initialize"),
    "model_files": ("read_model_file", "write_model_file", "ModelMetadata", "is_model_file"),
    "network_page": ("save_network_picture",),
    "options": ("NetOptions", "Schedule"),
    "parameter_groups": ("RatePattern", "make_optimizer", "parameter_groups"),
    "parser": ("parse_cfg", "format_cfg", "Block"),
    "postprocess": ("postprocess", "nms_rule"),
    "scenes": ("draw_scene", "write_scenes", "SCENE_NAMES"),
    "schedules": ("make_scheduler", "rate_at", "check_burn_in"),
    "summary": ("Summary", "LayerSummary", "summarize"),
    "training_data": ("StepPlan", "load_batches"),
    "training_settings": ("TrainSettings",),
}
"""Names that the pages told to import from an old address."""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """No stand-in stays behind for other tests."""
    yield
    for name in MOVED:
        stand_in = sys.modules.pop(f"darknet_builder.{name}", None)
        if stand_in is not None and vars(darknet_builder).get(name) is stand_in:
            delattr(darknet_builder, name)


def import_old(name: str) -> tuple[ModuleType, list[str]]:
    """A module by its old address as at the first import, and what it warns of."""
    sys.modules.pop(f"darknet_builder.{name}", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        module = import_module(f"darknet_builder.{name}")
    return module, [str(one.message) for one in caught if one.category is DeprecationWarning]


def new_homes(name: str) -> list[ModuleType]:
    """The modules that have its names now."""
    return [import_module(f"darknet_builder.{home}") for home in MOVED[name]]


def test_every_old_address_is_tested() -> None:
    """The table above and the package's own have the same addresses."""
    assert DOCUMENTED.keys() == MOVED.keys()


@pytest.mark.parametrize("name", MOVED)
def test_an_old_address_gives_the_same_objects(name: str) -> None:
    """With one warning, which names the new addresses."""
    module, messages = import_old(name)
    assert messages == [
        f"darknet_builder.{name} is now "
        f"{' and '.join(f'darknet_builder.{home}' for home in MOVED[name])}; "
        "from darknet_builder import ... has the public names"
    ]
    for word in DOCUMENTED[name]:
        found = [getattr(home, word) for home in new_homes(name) if hasattr(home, word)]
        assert found and getattr(module, word) is found[0], word


@pytest.mark.parametrize("name", MOVED)
def test_new_addresses_exist(name: str) -> None:
    """Each is a file of a room, and each old one is free."""
    assert all(find_spec(f"darknet_builder.{home}") for home in MOVED[name])
    taken = PathFinder.find_spec(f"darknet_builder.{name}", darknet_builder.__path__)
    assert taken is None, "a new module would be hidden by the old address"


def test_a_public_function_of_that_name_can_still_be_called() -> None:
    """The import puts the stand-in in the place of the function."""
    network = darknet_builder.build_network("[net]\ninputs=2\n[connected]\noutput=2\n")
    groups = darknet_builder.parameter_groups(network)
    module, _ = import_old("parameter_groups")
    assert darknet_builder.parameter_groups is module
    assert module(network) == groups and groups
    with pytest.raises(TypeError, match=r"^parameter_groups\(\) missing 1 required positional"):
        module()


def test_the_warning_points_at_the_import() -> None:
    """A script's author sees the line to change."""
    code = "\nfrom darknet_builder.drawing import draw_detections\n"
    result = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr.startswith("<string>:2: DeprecationWarning: darknet_builder.drawing is")


def test_unknown_names_fail_as_usual() -> None:
    """A module that never was, and a name that an old one does not have."""
    with pytest.raises(ModuleNotFoundError, match="^No module named 'darknet_builder.drawings'$"):
        import_module("darknet_builder.drawings")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'darknet_builder.cfg.parsr'$"):
        import_module("darknet_builder.cfg.parsr")
    module, _ = import_old("drawing")
    with pytest.raises(
        AttributeError, match="^module 'darknet_builder.drawing' has no attribute 'paint'$"
    ):
        module.paint  # noqa: B018


def test_installed_once() -> None:
    """However often."""
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before
