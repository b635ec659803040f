"""The command line as a whole: mistakes are one line, warnings too, and every command explains itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from darknet_builder import __version__
from darknet_builder.cli import command_names, main

ROOT = Path(__file__).parent.parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    code = "import sys; from darknet_builder.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("words", "line"), [
    (["detct"], "darknet-builder: error: unknown command 'detct'; did you mean 'detect'? (commands: "),
    (["dump", "--fromat", "json"], "darknet-builder dump: error: unrecognized arguments: --fromat; "
                                   "did you mean '--format'? (see darknet-builder dump --help)"),
    (["dump", "none.cfg"], "darknet-builder: error: none.cfg: no such cfg file"),
    ([], "darknet-builder: error: the following arguments are required: COMMAND (see darknet-builder --help)"),
])
def test_mistakes_are_one_line(words: list[str], line: str) -> None:
    """On stderr, with exit status 2 and nothing on stdout."""
    result = run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1


@pytest.mark.filterwarnings("always::darknet_builder.errors.CfgWarning")
def test_warnings_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Python's source line."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("[net]\ninputs=2\nbatsh=3\n[connected]\noutput=2\n")
    assert main(["dump", str(cfg)]) == 0
    assert capsys.readouterr().err == (f"darknet-builder: warning: {cfg}:3: [net] batsh=3: no such option, "
                                       "it changes nothing; did you mean 'batch'?\n")


def test_version_and_help() -> None:
    """``--help`` lists every command with one line."""
    assert run("--version").stdout == f"darknet-builder {__version__}\n"
    text = run("--help").stdout
    assert all(f"\n    {name}" in text for name in command_names())


@pytest.mark.parametrize("name", command_names())
def test_every_command_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Under ``--help``, as lines that begin with the program's name."""
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"\n  darknet-builder {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in command_names() if name != "completion"])
def test_every_command_has_a_script(name: str) -> None:
    """``scripts/NAME.py`` hands over to the same command."""
    text = (ROOT / "scripts" / f"{name.replace('-', '_')}.py").read_text()
    assert f'main(["{name}", *sys.argv[1:]])' in text and len(text.splitlines()) < 20
