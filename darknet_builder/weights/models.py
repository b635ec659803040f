"""Find the cfg, the weights and the class names of a model that is given by one word.

The word is the name of a bundled cfg, whose official weights may have been downloaded, or a folder
with the three files. Nothing here imports PyTorch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.cfg.parser import is_cfg_text
from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.support.bundled import bundled_file, bundled_names, find_by_name
from darknet_builder.weights.downloads import Progress
from darknet_builder.weights.official import OfficialFile, official_files

WEIGHTS_FOLDER = "weights"
"""Name of the folder for downloads: in the current folder, in the project and in the cache."""
_NAMES_NOTE = re.compile(r"^#.*\((\w+)\.names\)", re.MULTILINE)
"""``# ... 80 classes of COCO (coco.names).`` in the comment at the top of a bundled cfg."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model.

    Attributes:
        cfg: path of the cfg.
        weights: path of the ``.weights`` file.
        names: path of the names file; None if it has none.
    """

    cfg: Path
    weights: Path
    names: Path | None


def find_model(
    model: str | Path,
    *,
    needs_names: bool = True,
    download: bool = False,
    progress: Progress | None = None,
) -> ModelFiles:
    """Return the files of a model.

    A name stands for the bundled cfg of that name. Its weights are looked for in ``weights`` in the
    current folder, where ``get-weights`` saves them, in ``weights`` in the project, and in the
    user's cache. Its class names are those that the network was trained on.

    Args:
        model: name of a bundled cfg, such as ``yolov4-tiny``, or path of a folder that contains one
            ``.cfg``, one ``.weights`` and one ``.names`` file. If both exist, it is the name;
            ``./yolov4-tiny`` is the folder.
        needs_names: whether a folder must contain one names file. If not, ``names`` is None for
            a folder with none or several.
        download: download missing official weights into the cache.
        progress: called during a download with the number of bytes so far and in total.

    Raises:
        InputError: if the model is unknown, a folder does not contain one file of each kind, or
            the weights are missing and not to be downloaded.
        DownloadError: if the download fails.

    Example:
        >>> find_model("shapes").weights.name
        'shapes.weights'
        >>> try:
        ...     find_model("yolov4-tny")
        ... except InputError as error:
        ...     print(error)
        yolov4-tny: no model or folder of this name; did you mean 'yolov4-tiny'?
    """
    cfg = _bundled_cfg(model)
    if cfg is not None:
        return ModelFiles(cfg, _find_weights(cfg, download, progress), names_of(cfg))
    folder = Path(model)
    if os.path.isdir(folder):
        return _files_in(folder, needs_names)
    if os.path.exists(folder):
        raise InputError(
            "is a file; expected the name of a model, or a folder",
            path=folder,
            hint="give the cfg and the weights as two files",
            argument=("cfg", "weights"),
        )
    known = model_names()
    hint = did_you_mean(str(model), known) or f"known names are {', '.join(known)}"
    raise InputError("no model or folder of this name", path=model, hint=hint)


def is_model(source: str | Path) -> bool:
    """Return whether ``find_model`` takes a source for a bundled name or a folder.

    Args:
        source: a path or the text of a cfg.

    Example:
        >>> is_model("yolov4-tiny"), is_model("yolov4-tiny.cfg")
        (True, False)
    """
    if is_cfg_text(source):
        return False
    return _bundled_cfg(source) is not None or os.path.isdir(source)


def model_names() -> list[str]:
    """Return the names whose weights are bundled or published, sorted.

    Example:
        >>> "yolov4-tiny" in model_names(), "lesson" in model_names()
        (True, False)
    """
    return [
        name
        for name in bundled_names(".cfg")
        if official_weights(name) or bundled_file("weights", f"{name}.weights").is_file()
    ]


def official_weights(cfg: str | Path) -> OfficialFile | None:
    """Return the official weights of a bundled cfg; None if none are published, or for other cfgs.

    Args:
        cfg: path or name of a bundled cfg.

    Example:
        >>> official_weights("yolov4-tiny").file
        'yolov4-tiny.weights'
        >>> official_weights("my.cfg")
    """
    path = find_by_name(cfg, ".cfg")
    entry = official_files().get(path.stem)
    is_ours = path.resolve() == bundled_file("cfg", path.name).resolve()
    return entry if is_ours and entry is not None and entry.cfg == path.name else None


def names_of(cfg: str | Path) -> Path | None:
    """Return the names of the classes that a bundled cfg was trained on; None if unknown.

    Args:
        cfg: path or name of a bundled cfg.

    Example:
        >>> names_of("yolov4-tiny").name
        'coco.names'
    """
    comment = find_by_name(cfg, ".cfg").read_text(encoding="utf-8").partition("[net]")[0]
    match = _NAMES_NOTE.search(comment)
    return bundled_file("cfg", f"{match[1]}.names") if match else None


def is_found_by_name(path: Path) -> bool:
    """Return whether ``find_model`` looks for weights at a path.

    Args:
        path: path of a downloaded file.
    """
    return any(place.resolve() == path.resolve() for place in _places(path.name))


def cache_folder() -> Path:
    """Return the folder for downloaded weights in the user's cache; it may not exist."""
    from platformdirs import user_cache_path  # here, because only some calls need it

    return user_cache_path("darknet-builder", appauthor=False) / WEIGHTS_FOLDER


# ---- a name --------------------------------------------------------------------------------------


def _bundled_cfg(model: str | Path) -> Path | None:
    """Return the bundled cfg that a name stands for; None for a path and for other names."""
    if os.path.basename(model) != str(model):
        return None  # such as ./shapes, which a Path shortens to shapes
    cfg = find_by_name(model, ".cfg")
    return cfg if cfg != Path(model) else None


def _places(file: str) -> Iterator[Path]:
    """Yield the paths at which weights are looked for, in order."""
    yield Path(WEIGHTS_FOLDER, file)
    yield bundled_file(WEIGHTS_FOLDER, file)
    yield cache_folder() / file


def _find_weights(cfg: Path, download: bool, progress: Progress | None) -> Path:
    official = official_weights(cfg)
    file = f"{cfg.stem}.weights" if official is None else official.file
    for place in _places(file):
        if place.is_file():
            return place
    cache = cache_folder()
    folders = f"{WEIGHTS_FOLDER} or {cache}"
    if official is None:
        raise InputError(
            f"no {file} in {folders}, and none is published",
            path=cfg.stem,
            hint="give the cfg and the weights as two files",
            argument=("cfg", "weights"),
        )
    if download:
        return official.fetch(cache, progress=progress).path
    raise InputError(
        f"no {file} in {folders}",
        path=cfg.stem,
        hint=f"get it with 'darknet-builder get-weights {official.name}'",
        argument="download",
    )


# ---- a folder ------------------------------------------------------------------------------------


def _files_in(folder: Path, needs_names: bool) -> ModelFiles:
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=folder) from None
    names = _of_kind(files, ".names")
    return ModelFiles(
        _only(_of_kind(files, ".cfg"), folder, "cfg"),
        _only(_of_kind(files, ".weights"), folder, "weights"),
        _only(names, folder, "names") if needs_names or len(names) == 1 else None,
    )


def _of_kind(files: list[Path], suffix: str) -> list[Path]:
    return [path for path in files if path.suffix.lower() == suffix and path.is_file()]


def _only(files: list[Path], folder: Path, kind: str) -> Path:
    if len(files) == 1:
        return files[0]
    found = f"found {', '.join(path.name for path in files)}" if files else "found none"
    raise InputError(
        f"expected one .{kind} file in this folder, {found}",
        path=folder,
        hint="give the cfg, the weights and the names as files",
        argument=("cfg", "weights", "names"),
    )
