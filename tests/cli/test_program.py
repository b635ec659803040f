"""The command line as a whole: mistakes are one line, warnings too, and every command explains
itself."""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from darknet_builder import __version__
from darknet_builder.cfg.names import read_names
from darknet_builder.cli.commands import command_names
from darknet_builder.cli.output import in_color
from darknet_builder.cli.program import _make_parser, _parse, main

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    code = "import sys; from darknet_builder.cli.program import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["detct"],
            "darknet-builder: error: unknown command 'detct'; did you mean 'detect'? (commands: ",
        ),
        (
            ["dump", "--fromat", "json"],
            (
                "darknet-builder dump: error: unrecognized arguments: --fromat; "
                "did you mean '--format'? (see darknet-builder dump --help)"
            ),
        ),
        (["dump", "none.cfg"], "darknet-builder: error: none.cfg: no such cfg file"),
        (
            ["help", "detct"],
            "darknet-builder help: error: argument COMMAND: invalid choice: 'detct' (choose from ",
        ),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str) -> None:
    """On stderr, with exit status 2 and nothing on stdout."""
    result = run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, all commands are listed, and the status is 0."""
    for words in ([], ["help"]):
        assert main(words) == 0
        text, error = capsys.readouterr()
        assert all(f"\n    {name}" in text for name in command_names()) and not error
    assert main(["help", "dump"]) == 0
    text = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["dump", "--help"])
    assert text == capsys.readouterr().out


def test_exit_statuses_are_explained_once(capsys: pytest.CaptureFixture[str]) -> None:
    """In the list of commands, with a row for each; not in the help of single commands."""
    assert main(["help"]) == 0
    text = capsys.readouterr().out
    rows = text.split("exit status:\n")[1].splitlines()
    assert [row.split()[0] for row in rows if re.match(r"  \d", row)] == ["0", "1", "2", "130"]
    for name in command_names():
        assert main(["help", name]) == 0
        assert not re.search(r"exit status(es)?( is)?:? \d", capsys.readouterr().out)


def test_every_command_has_one_line_in_the_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["help"]) == 0
    listed = capsys.readouterr().out.split("  COMMAND\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == command_names()


def test_words_stand_anywhere_between_options() -> None:
    args = _parse(["detect", "a.jpg", "--cfg", "x", "b.jpg", "--quiet", "c.jpg"], command_names())
    assert (args.source, args.cfg, args.quiet) == (["a.jpg", "b.jpg", "c.jpg"], "x", True)


@pytest.mark.filterwarnings("always::darknet_builder.errors.CfgWarning")
def test_warnings_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Python's source line."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("[net]\ninputs=2\nbatsh=3\n[connected]\noutput=2\n")
    assert main(["dump", str(cfg)]) == 0
    assert (
        capsys.readouterr().err
        == f"darknet-builder: warning: {cfg}:3: [net] batsh=3: unknown option, "
        "it has no effect; did you mean 'batch'?\n"
    )


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "name", [name for name in command_names() if name not in ("completion", "help")]
)
def test_every_command_has_a_script(name: str) -> None:
    """``scripts/NAME.py`` hands over to the same command."""
    text = (ROOT / "scripts" / f"{name.replace('-', '_')}.py").read_text()
    assert f'main(["{name}", *sys.argv[1:]])' in text and len(text.splitlines()) < 20


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "detect x.jpg -thresh .5",
            "unrecognized arguments: -thresh .5; did you mean '--threshold'?",
        ),
        ("detect x.jpg --dialect alexeyb", "; did you mean 'alexeyab'?"),
        ("dump a.cfg --what module", "; did you mean 'modules'?"),
        ("completion bsh", "; did you mean 'bash'?"),
        ("data", "the following arguments are required: COMMAND (see darknet-builder data --help)"),
        ("data convrt a b", "; did you mean 'convert'?"),
        ("data convert a b --to coco --imges c", "--imges c; did you mean '--images'?"),
        ("data convert a b --to coc", "; did you mean 'coco'?"),
        ("train --dta x --cfg y", "unrecognized arguments: --dta; did you mean '--data'?"),
        ("train --dta=x", "unrecognized arguments: --dta=x; did you mean '--data'?"),
        ("train --cfg y --ouput", "unrecognized arguments: --ouput; did you mean '--output'?"),
        ("train --cfg y", "the following arguments are required: --data (see "),
        ("help detct", "; did you mean 'detect'?"),
        ("--vershun", "unrecognized arguments: --vershun; did you mean '--version'?"),
        (
            "check --json a.cfg",
            "argument --json: a.cfg does not end in .json; name such a file, or put --json last",
        ),
        (
            "detect --report photo.jpg",
            "argument --report: photo.jpg does not end in .html; name such a file, or put --report"
            " last",
        ),
        ("evaluate --data x --cfg y --weights z --points 12", "invalid choice: 12 (choose from "),
    ],
)
def test_the_nearest_word(words: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of options, also with Darknet's one dash, and of choices."""
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    error = capsys.readouterr().err
    assert caught.value.code == 2 and hint in error and error.count("\n") == 1


class Terminal(io.StringIO):
    """What says that it is one."""

    def isatty(self) -> bool:
        return True


def test_color_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not where NO_COLOR asks for none (https://no-color.org), or the terminal has none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["dump", "none.cfg"]) == 2
    assert sys.stderr.getvalue().startswith("darknet-builder: \x1b[1;31merror\x1b[0m: none.cfg: ")  # type: ignore
    assert in_color("error", io.StringIO()) == "error" and in_color("other", Terminal()) == "other"
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            assert in_color("warning", Terminal()) == "warning"
    assert in_color("warning", Terminal()) == "\x1b[1;33mwarning\x1b[0m"


def options() -> dict[str, dict[str, argparse.Action]]:
    """By option, by command."""
    found: dict[str, dict[str, argparse.Action]] = {}
    parser = _make_parser(command_names())
    for name, command in next(
        action for action in parser._actions if action.choices
    ).choices.items():  # type: ignore
        for action in command._actions:
            for option in action.option_strings:
                found.setdefault(option, {})[name] = action
    return found


@pytest.mark.parametrize(
    "option",
    ["--dialect", "--width", "--height", "--device", "--skip-bad-labels", "--json", "--backend"],
)
def test_an_option_means_the_same_everywhere(option: str) -> None:
    actions = options()[option].values()
    assert len(actions) > 2
    assert (
        len(
            {
                (action.metavar, str(action.default), str(action.choices), action.nargs)
                for action in actions
            }
        )
        == 1
    )
    assert option == "--json" or len({action.help for action in actions}) == 1


TABLES = (
    "adapt-cfg",
    "anchors",
    "benchmark",
    "check",
    "classify",
    "detect",
    "dump",
    "evaluate",
    "export",
    "get-weights",
)


def test_json_wherever_there_is_a_table() -> None:
    assert set(options()["--json"]) == set(TABLES)


@pytest.mark.parametrize("name", command_names())
def test_help_is_no_wider_than_the_sources(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("words", [["--precision", "bf16"], ["--precision", "bfloat16"]])
def test_words_for_precisions(words: list[str]) -> None:
    """PyTorch's short ones and the long ones, for training and for detection."""
    parser = _make_parser(["detect", "train"])
    assert parser.parse_args(["detect", "x.jpg", *words]).precision == "bfloat16"
    assert parser.parse_args(["train", "--data", "x", "--cfg", "y", *words]).precision == "bfloat16"


def test_what_comes_with_the_project_goes_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder; a file of that very name comes first."""
    monkeypatch.chdir(tmp_path)
    assert main(["dump", "yolo-fastest-1.1", "--json", "listing.json"]) == 0
    assert json.loads(Path("listing.json").read_text())["totals"]["layers"] == 131
    assert read_names("coco")[:2] == ["person", "bicycle"]
    capsys.readouterr()
    for name, hint in (
        ("yolov3.cfg", "; to use the file bundled with the project, give its name alone: yolov3"),
        ("yolov3-tinny", "; did you mean 'yolov3-tiny'?"),
        ("nothing.cfg", ""),
    ):
        assert main(["dump", name]) == 2
        assert (
            capsys.readouterr().err == f"darknet-builder: error: {name}: no such cfg file{hint}\n"
        )
    Path("yolov3").write_text("[net]\ninputs=2\n[connected]\noutput=3\n")
    assert main(["dump", "yolov3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 layers, 9 parameters")
