"""Keep old module addresses working, with a deprecation warning.

The modules were once side by side in ``darknet_builder``. A script that imports one of the
documented ones, such as ``darknet_builder.drawing``, gets its names from their current modules.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "darknet_builder"
MOVED = {
    "anchors": ("data.anchors",),
    "augmentation": ("data.detector_augmentation", "data.sample"),
    "average_precision": ("evaluation.darknet_map",),
    "averaging": ("training.ema",),
    "cfg_editing": ("inspection.adapt",),
    "checkpoints": ("training.checkpoints",),
    "classifier_data": ("data.class_lists", "data.classifier_augmentation"),
    "darknet_files": ("export.darknet",),
    "datasets": ("data.data_file", "data.image_set", "data.labels"),
    "detection_report": ("pages.detections_page",),
    "detections": ("boxes.detections", "boxes.records", "cfg.names"),
    "dialects": ("cfg.dialects",),
    "drawing": ("boxes.drawing",),
    "evaluation_coco": ("evaluation.coco",),
    "evaluation_plot": ("evaluation.plot",),
    "folding": ("network.folding",),
    "inference": ("engines.optimized",),
    "initialization": ("training.initialization",),
    "model_files": ("cfg.model_files",),
    "network_page": ("pages.network_page",),
    "options": ("cfg.net_options",),
    "parameter_groups": ("training.optimizer",),
    "parser": ("cfg.parser", "cfg.block"),
    "postprocess": ("prediction.postprocessing",),
    "scenes": ("data.scenes",),
    "schedules": ("training.schedules",),
    "summary": ("inspection.summary",),
    "training_data": ("training.batches",),
    "training_settings": ("training.settings",),
}
"""Old module -> the modules that now define its names, the main one first."""


class MovedModules(MetaPathFinder, Loader):
    """Import a module of ``MOVED`` as a stand-in that looks each name up at its new address."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the names of ``MOVED`` and None for all others.

        See ``importlib.abc.MetaPathFinder``.
        """
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == _PACKAGE and name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and give the stand-in its ``__getattr__``."""
        homes = [f"{_PACKAGE}.{name}" for name in MOVED[module.__name__.partition(".")[2]]]
        public = f"from {_PACKAGE} import ... has the public names"
        warnings.warn(
            f"{module.__name__} is now {' and '.join(homes)}; {public}",
            DeprecationWarning,
            stacklevel=2,
        )

        def get_name(name: str) -> Any:
            for home in homes:
                if hasattr(import_module(home), name):
                    return getattr(import_module(home), name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = get_name  # type: ignore[method-assign]


def install() -> None:
    """Make the old addresses importable; further calls have no effect."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        # Last in the list, so that a module which exists is found first.
        sys.meta_path.append(MovedModules())
