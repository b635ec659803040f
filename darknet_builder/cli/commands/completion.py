"""Write a completion script for a shell: ``darknet-builder completion``.

The shell then completes commands, options and file names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TextIO

from darknet_builder.support.extras import load_extra

SHELLS = ("bash", "zsh", "fish")
HELP = "write what lets bash, zsh or fish complete commands, options, choices and file names"
EXAMPLES = """\
Needs the extra "completion": pip install 'darknet-builder[completion]'. Write the script again after an update.

examples:
  darknet-builder completion bash > ~/.local/share/bash-completion/completions/darknet-builder
  darknet-builder completion fish > ~/.config/fish/completions/darknet-builder.fish
  darknet-builder completion zsh > ~/.zfunc/_darknet-builder
      with these lines in ~/.zshrc:  fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit
"""
_FOLDERS = ("DIR", "FOLDER")
_NO_FILES = ("KEY", "N", "NAME", "P", "PATTERN", "PIXELS", "URL")
"""Placeholders of words and numbers, which no file name can stand for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("shell", choices=SHELLS, help="whose script")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the script.

    Raises:
        MissingExtraError: without shtab.
    """
    shtab = load_extra("shtab", "completion")
    parser: argparse.ArgumentParser = args.make_whole_parser()
    for action in _arguments(parser):
        if _takes_path(action):
            kind = shtab.DIRECTORY if action.metavar in _FOLDERS else shtab.FILE
            action.complete = kind  # type: ignore[attr-defined]
    out.write(shtab.complete(parser, args.shell).rstrip("\n") + "\n")
    return 0


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                yield from _arguments(command)
        else:
            yield action


def _takes_path(action: argparse.Action) -> bool:
    """Return whether an argument's value is free text other than a number.

    Such a value is a path, unless its placeholder says otherwise.
    """
    return (
        action.nargs != 0
        and not action.choices
        and action.type not in (int, float)
        and action.metavar not in _NO_FILES
    )
