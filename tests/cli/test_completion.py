"""``darknet-builder completion``: the scripts, tried in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darknet_builder.cli.commands import command_names
from darknet_builder.cli.program import main

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
$(complete -p darknet-builder | sed 's/.*-F \\([^ ]*\\) .*/\\1/') darknet-builder "${COMP_WORDS[COMP_CWORD]}" \
    "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
CASES = [
    (["dr"], {"draw-network"}),
    (["detect", "--rep"], {"--report"}),
    (["detect", "--dialect", ""], {"alexeyab", "pjreddie"}),
    (["detect", "--model", "yolov4"], {"yolov4", "yolov4-csp", "yolov4-tiny"}),
    (["completion", ""], {"bash", "fish", "zsh"}),
    (["data", "ch"], {"check"}),
    (["data", "convert", "--to", ""], {"coco", "darknet", "ultralytics", "voc"}),
    (["dump", "my"], {"my.cfg"}),
    (["detect", "a.jpg", "--cfg", "my"], {"my.cfg"}),
    (["detect", "--nms", "my"], set()),
]


@pytest.fixture
def script(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A function's folder: where the scripts are written, and a cfg to complete."""
    pytest.importorskip("shtab", reason="shtab is not installed")
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        (tmp_path / f"complete.{shell}").write_text(capsys.readouterr().out)
    (tmp_path / "my.cfg").write_text("[net]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def need(shell: str) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} on this machine")
    return program


def output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_bash(script: Path, words: list[str], expected: set[str]) -> None:
    found = output(
        need("bash"), "-c", BASH, "bash", "complete.bash", "darknet-builder", *words
    ).split()
    assert set(found) == expected


@pytest.mark.parametrize(
    ("words", "expected"), CASES[:-1], ids=[" ".join(words) for words, _ in CASES[:-1]]
)
def test_fish(script: Path, words: list[str], expected: set[str]) -> None:
    line = " ".join(["darknet-builder", *words])
    text = output(need("fish"), "--no-config", "-c", f"source complete.fish; complete -C '{line}'")
    assert {row.split("\t")[0] for row in text.splitlines()} == expected


def test_zsh(script: Path) -> None:
    """It parses, takes the command over, and knows every other command."""
    output(need("zsh"), "-f", "-n", "complete.zsh")
    (script / "complete.zsh").rename(script / "_darknet-builder")
    load = (
        "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; print $_comps[darknet-builder]"
    )
    assert output(need("zsh"), "-f", "-c", load) == "_darknet-builder\n"
    text = (script / "_darknet-builder").read_text()
    assert text.startswith("#compdef darknet-builder\n")
    assert [name for name in command_names() if f"  {name}:'" not in text] == []


def test_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert (
        capsys.readouterr().err == "darknet-builder: error: shtab is not installed: "
        "pip install 'darknet-builder[completion]'\n"
    )


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["completion", "bosh"])
    assert caught.value.code == 2
    assert "invalid choice: 'bosh'" in capsys.readouterr().err


def test_help_says_where_the_scripts_belong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    text = capsys.readouterr().out
    assert "~/.local/share/bash-completion/completions/darknet-builder" in text
    assert (
        "~/.config/fish/completions/darknet-builder.fish" in text
        and "autoload -Uz compinit" in text
    )
