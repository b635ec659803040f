"""Print a completion script for a shell: ``darknet-builder completion``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TextIO

from darknet_builder.support.extras import load_extra
from darknet_builder.weights.models import model_names

SHELLS = ("bash", "zsh", "fish")
HELP = "print a completion script for bash, zsh or fish"
EXAMPLES = """\
With the script, the shell completes commands, options, choices, model names and file names.
This needs the extra 'completion': pip install 'darknet-builder[completion]'.
Repeat the command after each update of darknet-builder.

examples:
  darknet-builder completion bash > ~/.local/share/bash-completion/completions/darknet-builder
  darknet-builder completion fish > ~/.config/fish/completions/darknet-builder.fish
  darknet-builder completion zsh > ~/.zfunc/_darknet-builder

For zsh, also add this line to ~/.zshrc:
  fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit
"""
_FOLDERS = ("DIR", "FOLDER")
_NO_FILES = ("KEY", "N", "NAME", "P", "PATTERN", "PIXELS", "URL")
"""Placeholders of arguments that are not file names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("shell", choices=SHELLS, help="shell that will read the script")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the script to ``out``.

    Raises:
        MissingExtraError: if shtab is not installed.
    """
    shtab = load_extra("shtab", "completion")
    parser: argparse.ArgumentParser = args.make_whole_parser()
    for action in _arguments(parser):
        if action.dest == "model":
            action.choices = model_names()  # to complete them; this parser checks no command line
        if _takes_path(action):
            kind = shtab.DIRECTORY if action.metavar in _FOLDERS else shtab.FILE
            action.complete = kind  # type: ignore[attr-defined]
    out.write(shtab.complete(parser, args.shell).rstrip("\n") + "\n")
    return 0


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                yield from _arguments(command)
        else:
            yield action


def _takes_path(action: argparse.Action) -> bool:
    """Return whether an argument takes a path.

    A value that is neither a choice nor a number is one, unless its placeholder is in
    ``_NO_FILES``.
    """
    return (
        action.nargs != 0
        and not action.choices
        and action.type not in (int, float)
        and action.metavar not in _NO_FILES
    )
