"""Run find_unregistered on models of torchvision, timm and transformers, built without weights.

Then write the table of docs/unregistered.md.

    python scripts/unregistered_table.py [--only LIBRARY ...] [--results FILE] [--write-only]

Models are built on PyTorch's meta device, which allocates no memory for their weights; a model
that cannot be built there is built on the CPU. Results are kept in a file, so that a run that was
stopped continues from there.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from darknet_builder.lessons.unregistered import find_unregistered
from darknet_builder.support.files import write_text

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "unregistered.md"
BEGIN, END = "<!-- table: scripts/unregistered_table.py -->\n", "<!-- end of the table -->"
PER_FAMILY = 3
"""Models of one file of timm that are built."""
_DEPTHS = (
    "num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
    "num_encoder_layers", "num_decoder_layers", "num_decoder_blocks",
)  # fmt: skip
"""Names of the option of a transformers config that says how many layers a model has."""
Builder = Callable[[], nn.Module]
Results = dict[str, dict[str, list[str] | str]]
"""Library -> model -> paths, or the reason why it was not built."""


def torchvision_models() -> Iterator[tuple[str, Builder]]:
    """Yield every model of torchvision, without weights."""
    models = import_module("torchvision.models")
    for name in models.list_models():
        function = models.get_model_builder(name)
        names = inspect.signature(function).parameters
        without = {name: None for name in ("weights", "weights_backbone") if name in names}
        yield name, partial(function, **without)


def timm_models() -> Iterator[tuple[str, Builder]]:
    """Yield the first models of each file of timm, which is a family of architectures."""
    timm = import_module("timm")
    for family in timm.list_modules():
        for name in islice(timm.list_models(module=family), PER_FAMILY):
            yield f"{family}: {name}", partial(timm.create_model, name, pretrained=False)


def transformers_models() -> Iterator[tuple[str, Builder]]:
    """Yield the base model of each config of transformers, with two layers of each kind."""
    transformers = import_module("transformers")
    transformers.logging.set_verbosity_error()
    auto = import_module("transformers.models.auto.modeling_auto")
    for kind in sorted(auto.MODEL_MAPPING_NAMES):
        yield kind, partial(shallow, transformers, kind)


def shallow(transformers: Any, kind: str) -> nn.Module:
    """Build the base model of a config with two layers of each kind."""
    config = transformers.AutoConfig.for_model(kind)
    for part in (config, *(value for value in vars(config).values() if hasattr(value, "to_dict"))):
        for name in _DEPTHS:
            if isinstance(getattr(part, name, None), int):
                with suppress(Exception):
                    setattr(part, name, 2)
    try:
        return transformers.AutoModel.from_config(config)
    except Exception:  # two layers are too few: take the config as it is
        config = transformers.AutoConfig.for_model(kind)
        return transformers.AutoModel.from_config(config)


LIBRARIES: dict[str, Callable[[], Iterator[tuple[str, Builder]]]] = {
    "torchvision": torchvision_models,
    "timm": timm_models,
    "transformers": transformers_models,
}


def try_model(build: Builder) -> list[str] | str:
    """Return what is not registered in a model, or why it could not be built."""
    try:
        with torch.device("meta"):
            model = build()
    except Exception:  # some constructors read the values of a tensor
        try:
            model = build()
        except Exception as error:
            return f"{type(error).__name__}: {str(error).strip()[:200]}"
    return find_unregistered(model)


def measure(libraries: list[str], path: Path) -> Results:
    """Try every model that the file of results does not have."""
    results: Results = json.loads(path.read_text()) if path.is_file() else {}
    for library in libraries:
        done = results.setdefault(library, {})
        for name, build in LIBRARIES[library]():
            if name not in done:
                done[name] = try_model(build)
                write_text(path, json.dumps(results, indent=1))
                print(library, name, done[name], flush=True)
    return results


# ---- the table -----------------------------------------------------------------------------------


def table(results: Results) -> str:
    """Return the two tables of the page: models tried, and everything that was found."""
    lines = ["| library | models tried | built | nothing found | something found |"]
    lines.append("|---|---|---|---|---|")
    for library, models in results.items():
        built = [paths for paths in models.values() if not isinstance(paths, str)]
        found = sum(bool(paths) for paths in built)
        row = (f"{library} {version(library)}", len(models), len(built), len(built) - found, found)
        lines.append(f"| {' | '.join(map(str, row))} |")
    lines += ["", "| library | found | models | for example |", "|---|---|---|---|"]
    for library, models in results.items():
        for place, names in places(models).items():
            lines.append(f"| {library} | `{place}` | {len(names)} | {names[0]} |")
    return "\n".join(lines) + "\n"


def places(models: dict[str, list[str] | str]) -> dict[str, list[str]]:
    """Return the models by what was found in them.

    ``anchor_generator.cell_anchors[0]`` and ``rpn.anchor_generator.cell_anchors[1]`` are one place.
    """
    found: dict[str, list[str]] = {}
    for name, paths in sorted(models.items()):
        if not isinstance(paths, str):
            for place in dict.fromkeys(map(_place, paths)):
                found.setdefault(place, []).append(name)
    return dict(sorted(found.items()))


def _place(path: str) -> str:
    """Return the last two names of a path, without indices."""
    names = re.sub(r"\[[^]]*\]", "", path).split(".")
    return ".".join(names[-2:])


def main() -> int:
    """Try the models and write the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="*", choices=list(LIBRARIES), default=list(LIBRARIES))
    parser.add_argument("--results", type=Path, default=ROOT / "output" / "unregistered.json")
    parser.add_argument("--write-only", action="store_true", help="only write the table")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    results = measure([] if args.write_only else args.only, args.results)
    page = PAGE.read_text(encoding="utf-8")
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    write_text(PAGE, page[:begin] + "\n" + table(results) + "\n" + page[end:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
