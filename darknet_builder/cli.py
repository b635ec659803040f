"""The command line: finds the commands, shows a ``DarknetError`` as one line on stderr with exit status 2."""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, TextIO

from darknet_builder import __version__, commands
from darknet_builder.errors import DarknetError, did_you_mean

PROGRAM = "darknet-builder"
USER_MISTAKE = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """argparse with one line for a mistake, and the nearest known word."""

    def error(self, message: str) -> NoReturn:
        """One line on stderr, with the nearest known option, and exit status 2."""
        known = [option for action in self._actions for option in action.option_strings]
        wrong = [word for word in message.split() if word.startswith("--")]
        hint = did_you_mean(wrong[0], known) if message.startswith("unrecognized") and wrong else ""
        self.exit(USER_MISTAKE, f"{self.prog}: error: {message}{hint} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; the process's own by default.

    Returns:
        The exit status: 0, 1 where some of the work could not be done, 2 for a user's mistake, 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    names = command_names()
    if words and not words[0].startswith("-") and words[0] not in names:
        sys.stderr.write(f"{PROGRAM}: error: unknown command {words[0]!r}{did_you_mean(words[0], names)} "
                         f"(commands: {', '.join(names)})\n")
        return USER_MISTAKE
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(words, names)


def command_names() -> list[str]:
    """The commands, one a file of the package ``commands``."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))


def _run(words: list[str], names: list[str]) -> int:
    chosen = words[0] if words and words[0] in names else None
    try:
        args, unknown = _make_parser([chosen] if chosen else names).parse_known_args(words)
        if unknown:  # said by the command's own parser, which knows its options
            args.command_parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return int(args.run(args, sys.stdout))
    except DarknetError as error:
        sys.stderr.write(f"{PROGRAM}: error: {error}\n")
        return error.exit_status
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM}: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has had enough; keep the interpreter from complaining while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _make_parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """Only the chosen command's module is imported: ``--help`` of one does not wait for the others."""
    parser = _Parser(prog=PROGRAM, description="Build, run, train and convert Darknet networks (.cfg and .weights).")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in names:
        module = import_module(f"darknet_builder.commands.{name.replace('-', '_')}")
        command = subparsers.add_parser(name, help=module.HELP, description=module.HELP, epilog=module.EXAMPLES,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.set_defaults(run=module.run, command_parser=command,
                             make_whole_parser=lambda: _make_parser(command_names()))
    return parser


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: TextIO | None = None, line: str | None = None) -> None:
    """A warning as one line on stderr, without the source line that raised it."""
    sys.stderr.write(f"{PROGRAM}: warning: {message}\n")
