"""Sections from outside the package: a file that a person names, or an installed package."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from darknet_builder import InputError, build_network, load_plugin, registered_sections
from darknet_builder.cli.program import main
from darknet_builder.errors import CfgError
from darknet_builder.inspection.check import check
from darknet_builder.layers import plugins, registry

DOUBLE = '''\
"""[double]: twice its input."""

from dataclasses import dataclass

from darknet_builder import Layer, register


@dataclass
class Factor:
    value: float


@register("double", "twice")
class Double(Layer):
    """y = 2 x."""

    @classmethod
    def from_block(cls, block, graph):
        shape = graph.image_shape(block)
        layer = cls(shape, shape)
        layer.factor = Factor(block.get_float("factor", 2))
        return layer

    def forward(self, x):
        return x * self.factor.value
'''
CFG = "[net]\nwidth=4\nheight=4\nchannels=3\n[double]\n"
ADVICE = "unknown section; a plugin can add sections"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    plugins.load_installed.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A file with [double]."""
    path = tmp_path / "double.py"
    path.write_text(DOUBLE)
    return path


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """As if a package had an entry point for a module with this text."""
    (folder / "installed_double.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    found = EntryPoint("double", "installed_double", plugins.ENTRY_POINTS)
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [found] if group == plugins.ENTRY_POINTS else []
    )
    monkeypatch.delitem(plugins.sys.modules, "installed_double", raising=False)


def test_a_file(plugin: Path) -> None:
    """Its sections build and run, under every spelling, once it is loaded and not before."""
    with pytest.raises(CfgError, match=rf"^<text>:5: \[double\]: {ADVICE}$"):
        build_network(CFG)
    assert load_plugin(plugin) == ["double", "twice"]
    x = torch.rand(1, 3, 4, 4)
    assert torch.equal(build_network(CFG)(x), 2 * x)
    assert torch.equal(build_network(CFG.replace("double", "twice"))(x), 2 * x)


def test_a_file_that_is_loaded_again_replaces_itself(plugin: Path) -> None:
    """As in a notebook, after an edit."""
    load_plugin(str(plugin))
    plugin.write_text(DOUBLE.replace('"factor", 2', '"factor", 3').replace(', "twice"', ""))
    assert load_plugin(plugin) == ["double"]
    assert build_network(CFG)(torch.ones(1, 3, 4, 4)).max() == 3
    assert "twice" not in registered_sections()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", ":2: cannot be loaded: ZeroDivisionError: division by zero"),
        ("x = 1\n\nif:\n", ":3: cannot be loaded: SyntaxError: invalid syntax"),
        ("import no_such_thing\n", ":1: cannot be loaded: ModuleNotFoundError: No module named"),
        ("raise ValueError('one\\ntwo')\n", ":1: cannot be loaded: ValueError: one"),
        ("raise SystemExit(3)\n", ":1: cannot be loaded: SystemExit: 3"),
        ("x = 1\n", ": registers no section; decorate a subclass of Layer with @register"),
        (
            DOUBLE.replace('"twice"', '"yolo"'),
            ":13: cannot be loaded: ValueError: [yolo] is registered twice: Yolo, Double",
        ),
        (
            "from darknet_builder import register\n@register('double')\nclass Double:\n    pass\n",
            ": [double]: Double is not a subclass of Layer",
        ),
        (DOUBLE.replace("from_block", "of_block"), ": [double]: Double has no from_block"),
    ],
)
def test_a_broken_file(tmp_path: Path, text: str, message: str) -> None:
    """One line that names it, and the place in it; nothing of it stays behind."""
    path, before = tmp_path / "broken.py", registered_sections()
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_plugin(path)
    assert str(caught.value).startswith(f"{path}{message}") and "\n" not in str(caught.value)
    assert registered_sections() == before
    path.write_text(DOUBLE)
    load_plugin(path)


def test_no_such_file(tmp_path: Path) -> None:
    """The system's reason, and what such a file should be."""
    for name, reason in (("none.py", "No such file"), (".", "Is a directory")):
        with pytest.raises(
            InputError, match=f"cannot be read: {reason}.*a Python file is expected"
        ):
            load_plugin(tmp_path / name)


def test_an_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Is loaded when the first network is built, whatever that is."""
    install(monkeypatch, tmp_path, DOUBLE)
    assert "double" not in registered_sections()
    assert build_network(CFG)(torch.ones(1, 3, 4, 4)).max() == 2
    assert check(CFG) == []


def test_a_package_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, DOUBLE)
    assert plugins.load_installed() == ("double",)
    monkeypatch.setattr(plugins, "entry_points", None)
    assert plugins.load_installed() == ("double",)


def test_a_file_that_fails_at_the_second_time(plugin: Path) -> None:
    """The module of the first stays; the line is where the error left the file."""
    load_plugin(plugin)
    kind = registered_sections()["double"]
    module = plugins.sys.modules[kind.__module__]
    plugin.write_text("def fail():\n    raise ValueError\n\nfail()\n")
    with pytest.raises(InputError, match=r"double.py:2: cannot be loaded: ValueError"):
        load_plugin(plugin)
    assert plugins.sys.modules[kind.__module__] is module
    assert registered_sections()["double"] is kind


def test_a_broken_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is named each time, and leaves nothing half-registered."""
    install(monkeypatch, tmp_path, DOUBLE + "raise RuntimeError('no licence')\n")
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            build_network(CFG)
        assert str(caught.value) == (
            "the installed plugin 'double' (installed_double) cannot be loaded: "
            "RuntimeError: no licence; update its package, or remove it"
        )
    assert "double" not in registered_sections()


def test_a_cfg_loads_nothing(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside the cfg, or in the working directory, is not looked at."""
    monkeypatch.chdir(plugin.parent)
    cfg = plugin.with_suffix(".cfg")
    cfg.write_text(CFG)
    with pytest.raises(CfgError, match="unknown section"):
        build_network(cfg)


def test_the_option(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--plugin`` in a command; without it the advice names it."""
    cfg = plugin.with_suffix(".cfg")
    cfg.write_text(CFG)
    assert main(["dump", str(cfg)]) == 2
    assert capsys.readouterr().err.endswith(f"[double]: {ADVICE} (--plugin)\n")
    assert main(["dump", str(cfg), "--plugin", str(plugin)]) == 0
    assert "double" in capsys.readouterr().out
    assert main(["check", str(cfg), "--plugin", "none.py"]) == 2
    assert "error: none.py: cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ("yolo4", "did you mean 'yolo'? A plugin can add sections"),
        ("depthwise", "a plugin can add sections"),
        ("prelu", "Darknet has nothing like it; a plugin can add sections"),
        ("conv2d", "Darknet calls it 'convolutional'"),
        ("net", "a cfg has only one, at its beginning"),
    ],
)
def test_what_an_unknown_section_is_answered(section: str, hint: str) -> None:
    """The nearest name where there is one; the way for sections of forks in any case."""
    with pytest.raises(CfgError) as caught:
        build_network(CFG.replace("double", section))
    assert caught.value.hint == hint
