"""Keep old module addresses working, with a deprecation warning.

The modules were once side by side in ``darknet_builder``. A script that imports one of the
documented ones, such as ``darknet_builder.drawing``, gets its names from their current modules.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
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
    "checkpoints": ("training.checkpoints.checkpoint_file",),
    "classifier_data": ("data.class_lists", "data.classifier_augmentation"),
    "darknet_files": ("export.darknet",),
    "datasets": ("data.data_file", "data.image_set", "data.labels", "data.image_list"),
    "detection_report": ("pages.detections_page",),
    "detections": ("boxes.detections", "boxes.records", "cfg.names"),
    "dialects": ("cfg.dialects",),
    "drawing": ("boxes.drawing",),
    "evaluation_coco": ("evaluation.coco",),
    "evaluation_plot": ("evaluation.plot",),
    "folding": ("network.folding",),
    "inference": ("engines.optimized",),
    "initialization": ("training.initialization",),
    "model_files": ("cfg.model_files", "cfg.model_metadata"),
    "network_page": ("pages.network_page",),
    "options": ("cfg.net_options",),
    "parameter_groups": ("training.optimizer",),
    "parser": ("cfg.parser", "cfg.block"),
    "postprocess": ("prediction.postprocessing",),
    "scenes": ("data.scenes",),
    "schedules": ("training.schedules", "cfg.net_options"),
    "summary": ("inspection.summary",),
    "training_data": ("training.batches",),
    "training_settings": ("training.settings",),
}
"""Old module -> the modules that now define its names, the main one first."""


class MovedModule(ModuleType):
    """A stand-in for a module of ``MOVED`` that looks each name up at its new address."""

    def __getattr__(self, name: str) -> Any:
        """Return what a new address has by this name."""
        for home in () if name.startswith("__") else new_addresses(self.__name__):
            if hasattr(import_module(home), name):
                return getattr(import_module(home), name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the public function of the module's own name, such as ``postprocess``.

        Whoever imports ``darknet_builder.postprocess`` makes the stand-in an attribute of the
        package, in place of the function.
        """
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **options)


class MovedModules:
    """Finds and loads stand-ins.

    The methods are those of ``MetaPathFinder`` and ``Loader``. Their classes are left alone: to
    import ``importlib.abc`` takes as long as all the rest of the package's start.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the names of ``MOVED`` and None for all others.

        See ``importlib.abc.MetaPathFinder``.
        """
        package, _, name = fullname.partition(".")
        if package != _PACKAGE or name not in MOVED:
            return None
        return ModuleSpec(fullname, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See ``Loader``."""
        return MovedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Warn whoever imports the module."""
        warnings.warn(
            f"{module.__name__} is now {' and '.join(new_addresses(module.__name__))}; "
            f"from {_PACKAGE} import ... has the public names",
            DeprecationWarning,
            stacklevel=2,
        )


def new_addresses(old: str) -> list[str]:
    """``darknet_builder.drawing`` -> ``["darknet_builder.boxes.drawing"]``."""
    return [f"{_PACKAGE}.{name}" for name in MOVED[old.partition(".")[2]]]


def install() -> None:
    """Make the old addresses importable, once a process.

    This finder is asked first: no module has an old address any more, and one that an earlier
    installation left behind would not fit the others.
    """
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
