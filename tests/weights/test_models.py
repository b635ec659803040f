"""Models in one word: a name, with weights from one of three folders, or a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darknet_builder.cfg.names import read_names
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import DownloadError, InputError
from darknet_builder.support import bundled
from darknet_builder.weights import models
from darknet_builder.weights.models import (
    cache_folder,
    find_model,
    is_found_by_name,
    is_model,
    model_names,
    names_of,
    official_weights,
)
from darknet_builder.weights.official import find_official
from tests.helpers.web_server import Site, serve

CFGS = Path(__file__).parents[2] / "cfg"
CONTENT = bytes(20 + 4 * 10)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder and an empty cache; the project's folder has no downloads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(models, "cache_folder", lambda: tmp_path / "cache" / "weights")
    return tmp_path / "cache" / "weights"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that has other weights as those of yolov4-tiny."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as site:
        site.files = {"/yolov4-tiny.weights": CONTENT}
        entry = replace(
            find_official("yolov4-tiny"),
            num_floats=10,
            checksums={},
            urls=(f"{site.url}/yolov4-tiny.weights",),
        )
        monkeypatch.setattr(models, "official_files", lambda: {"yolov4-tiny": entry})
        yield site


def message(model: str | Path, **options: bool) -> str:
    with pytest.raises(InputError) as caught:
        find_model(model, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


# ---- a name --------------------------------------------------------------------------------------


def test_the_bundled_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    cfg, weights, names = bundled.default_model()
    found = find_model("shapes")
    assert (found.cfg, found.weights, found.names) == (cfg, weights, names)
    assert is_model("shapes") and is_model(Path("shapes"))


def test_weights_are_found_in_three_folders(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder of get-weights first, then the project's, then the cache."""
    project = tmp_path / "project"
    monkeypatch.setattr(
        models,
        "bundled_file",
        lambda folder, name: project / name if folder == "weights" else CFGS / name,
    )
    places = [
        put(cache / "yolov4-tiny.weights"),
        put(project / "yolov4-tiny.weights"),
        put(Path("weights/yolov4-tiny.weights")),
    ]
    for place in reversed(places):
        assert is_found_by_name(place)
        assert find_model("yolov4-tiny").weights == place
        place.unlink()
    assert not is_found_by_name(Path("other/yolov4-tiny.weights"))


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "weights" and "darknet-builder" in cache_folder().parts


def test_missing_weights(cache: Path) -> None:
    assert message("yolov4-tiny") == (
        f"yolov4-tiny: no yolov4-tiny.weights in weights or {cache}; get it with"
        " 'darknet-builder get-weights yolov4-tiny'"
    )
    assert message("yolov4-tiny-3l", download=True) == (
        f"yolov4-tiny-3l: no yolov4-tiny-3l.weights in weights or {cache}, and none is published;"
        " give the cfg and the weights as two files"
    )


def test_unpublished_weights_of_ones_own(cache: Path) -> None:
    place = put(Path("weights/yolo-fastest-1.1.weights"))
    found = find_model("yolo-fastest-1.1")
    assert found.weights == place and found.names == CFGS / "coco.names"


def test_download_into_the_cache_once(cache: Path, site: Site) -> None:
    shown: list[tuple[int, int]] = []
    for _ in range(2):
        found = find_model(
            "yolov4-tiny", download=True, progress=lambda done, total: shown.append((done, total))
        )
        assert found.weights == cache / "yolov4-tiny.weights"
    assert found.weights.read_bytes() == CONTENT
    assert len(site.requests) == 1 and shown[-1] == (60, 60)


def test_a_download_that_fails(cache: Path, site: Site) -> None:
    site.files.clear()
    with pytest.raises(DownloadError, match="HTTP 404 Not Found$"):
        find_model("yolov4-tiny", download=True)
    assert not (cache / "yolov4-tiny.weights").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("yolov4-tny", "no model or folder of this name; did you mean 'yolov4-tiny'?"),
        ("YOLOv3", "no model or folder of this name; did you mean 'yolov3'?"),
        ("yolov4-tiny.cfg", "no model or folder of this name; did you mean 'yolov4-tiny'?"),
        (
            "vgg",
            f"no model or folder of this name; known names are {', '.join(model_names())}",
        ),
    ],
)
def test_unknown_names(name: str, text: str) -> None:
    assert message(name) == f"{name}: {text}"
    assert not is_model(name)


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    path = put(tmp_path / "a.cfg")
    assert message(path) == (
        f"{path}: is a file; expected the name of a model, or a folder; give the cfg and the"
        " weights as two files"
    )
    assert not is_model(path) and not is_model("[net]\n") and not is_model("")


def test_known_names() -> None:
    names = model_names()
    assert {"shapes", "yolov2", "yolov4-tiny", "yolov7", "darknet19"} <= set(names)
    assert not {"lesson", "yolov4-tiny-3l", "yolov2-voc", "darknet53.conv.74"} & set(names)


def test_official_weights_are_those_of_the_bundled_cfg(tmp_path: Path) -> None:
    entry = find_official("yolov4-tiny")
    assert official_weights("yolov4-tiny") is official_weights(CFGS / "yolov4-tiny.cfg") is entry
    other = put(tmp_path / "yolov4-tiny.cfg")
    assert official_weights(other) is official_weights("lesson") is None


@pytest.mark.parametrize("cfg", sorted(CFGS.glob("*.cfg")), ids=lambda path: path.stem)
def test_names_fit_the_network(cfg: Path) -> None:
    """Every cfg's comment names a bundled file with as many names as the network has classes."""
    blocks = parse_cfg(cfg)
    names = names_of(cfg)
    if cfg.stem == "lesson":
        assert names is None
        return
    # Darknet's classifiers end with the 1000 filters of a convolution, and [softmax] after it.
    head = next(block for block in reversed(blocks) if "classes" in block or "filters" in block)
    num_classes = int(head["classes"] if "classes" in head else head["filters"])
    assert names is not None and len(read_names(names)) == num_classes


# ---- a folder ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("my.cfg", "my_final.weights", "my.names", ".my.cfg", "notes.txt"):
        put(tmp_path / "mine" / name)
    return Path("mine")


def test_a_folder(folder: Path) -> None:
    found = find_model(folder)
    assert is_model("mine") and found == find_model("mine") == find_model("mine/")
    assert (found.cfg, found.weights, found.names) == (
        folder / "my.cfg",
        folder / "my_final.weights",
        folder / "my.names",
    )


@pytest.mark.parametrize("kind", ["cfg", "weights", "names"])
def test_one_file_of_each_kind(kind: str, folder: Path) -> None:
    (file,) = (path for path in folder.glob(f"*.{kind}") if not path.name.startswith("."))
    put(folder / f"two.{kind}")
    end = "; give the cfg, the weights and the names as files"
    start = f"mine: expected one .{kind} file in this folder, found"
    assert message(folder) == f"{start} {file.name}, two.{kind}{end}"
    file.unlink()
    (folder / f"two.{kind}").unlink()
    assert message(folder) == f"{start} none{end}"


def test_names_are_not_always_needed(folder: Path) -> None:
    assert find_model(folder, needs_names=False).names == folder / "my.names"
    put(folder / "two.names")
    assert find_model(folder, needs_names=False).names is None
    for path in folder.glob("*.names"):
        path.unlink()
    assert find_model(folder, needs_names=False).names is None


def test_a_name_goes_before_a_folder(folder: Path) -> None:
    shutil.copytree(folder, "shapes")
    assert find_model("shapes").weights.name == "shapes.weights"
    assert find_model("./shapes").weights == Path("shapes/my_final.weights")
