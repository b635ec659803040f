"""Entry point of ``darknet-builder``: find the command and run it.

A ``DarknetError`` is shown as one line on stderr, with exit status 2.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any, TextIO

from darknet_builder.cli import commands
from darknet_builder.cli.command_parser import USER_MISTAKE, CommandParser
from darknet_builder.cli.commands import command_names, names_in
from darknet_builder.cli.output import in_color, printable_stream
from darknet_builder.errors import CfgWarning, DarknetError, Spell, did_you_mean
from darknet_builder.images.opencv import LIMIT_VARIABLE
from darknet_builder.support.version import VERSION

PROGRAM = "darknet-builder"
INTERRUPTED = 130
EXIT_STATUSES = """\
exit status:
  0    success
  1    the command ran, but a part failed: an image could not be read, a download failed, an
       exported file differs from PyTorch, a label could not be converted, check found an
       error, or lesson check found a mistake
  2    a mistake in the command or in a file that it names: one line on stderr says which
  130  stopped by Ctrl-C

'darknet-builder help COMMAND' shows the options and examples of a command.
"""
_DARKNETS_MISTAKE = 1
"""Exit status of Darknet's ``error()`` (utils.c)."""
_MOST_WARNINGS = 100
"""Number of warnings about a cfg that are shown; ``check`` shows all of them."""


class _CommandListFormatter(argparse.RawDescriptionHelpFormatter):
    """A help formatter whose left column is wide enough for every command."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # argparse forgets that commands are indented by two levels when it measures their names.
        self._action_max_length = 2 * self._indent_increment + max(map(len, command_names()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; by default those of the process.

    Returns:
        The exit status, as explained by ``EXIT_STATUSES``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: what is written there is discarded
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    names = command_names()
    if words and not words[0].startswith("-") and words[0] not in names:
        _show(
            "error",
            f"unknown command {words[0]!r}{did_you_mean(words[0], names)} (commands:"
            f" {', '.join(names)})",
        )
        return USER_MISTAKE
    with warnings.catch_warnings(), _noting_interrupts() as was_pressed:
        shown = _WarningLines()
        warnings.showwarning = shown.show
        status = _run(words, names, was_pressed)
        shown.finish()
        return status


def _run(words: list[str], names: list[str], was_pressed: Callable[[], bool]) -> int:
    args: argparse.Namespace | None = None
    spell: Spell | None = None
    is_verbatim = False
    try:
        args = _parse(words, names)
        spell, is_verbatim = args.spell, args.is_verbatim
        _load_plugins(getattr(args, "plugin", ()))
        _allow_pixels(getattr(args, "max_pixels", None))
        with _limiting_memory(args):
            out = printable_stream(sys.stdout)
            status = int(args.run(args, out))
            out.flush()
            return status
    except BrokenPipeError:
        _finish_output()  # the reader (head, less) has closed the pipe
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) or was_pressed():
            _show_line("interrupted")
            return INTERRUPTED
        _show("error", _describe(error, args, spell))
        _finish_output()
        status = error.exit_status if isinstance(error, DarknetError) else USER_MISTAKE
        return _DARKNETS_MISTAKE if is_verbatim else status


def _describe(error: Exception, args: argparse.Namespace | None, spell: Spell | None) -> str:
    """Return one line about an error that is not a fault of the program; raise any other."""
    if isinstance(error, DarknetError):
        return error.describe(spell)
    if isinstance(error, OSError):
        # The system's word on a file or a process, from a place that has no better one.
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    if _is_out_of_memory(error):
        return f"not enough memory{_smaller_batch(args)}"
    raise error


@contextmanager
def _noting_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed.

    PyTorch catches a KeyboardInterrupt in some places, and fails later with another exception.
    """
    pressed = False

    def on_press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield lambda: False  # somebody else handles it
        return
    signal.signal(signal.SIGINT, on_press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _finish_output() -> None:
    """Write the rest of the output, or discard it where that is impossible.

    Python would report an error when it closes stdout.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # a stream without a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory is short; PyTorch is asked only if it has been imported."""
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    return bool(import_module("darknet_builder.network.batch_memory").is_out_of_memory(error))


def _smaller_batch(args: argparse.Namespace | None) -> str:
    """Return the end of a message: the batch to try, if the command has one."""
    batch = getattr(args, "batch", None) or 1
    return f"; try half the batch (--batch {batch // 2})" if batch > 1 else ""


def _load_plugins(paths: Sequence[str]) -> None:
    """Run the files of ``--plugin`` in order; PyTorch is imported only if there are any."""
    for path in paths:
        import_module("darknet_builder.layers.plugins").load_plugin(path)


def _allow_pixels(count: int | None) -> None:
    """Apply ``--max-pixels``, which OpenCV reads when it is loaded."""
    if count is not None:
        os.environ[LIMIT_VARIABLE] = str(count)


def _limiting_memory(args: argparse.Namespace) -> AbstractContextManager[None]:
    """Apply ``--memory-limit``; PyTorch is imported only if it is given."""
    gigabytes = getattr(args, "memory_limit", None)
    if gigabytes is None:
        return nullcontext()
    build = import_module("darknet_builder.network.build")
    limiting: AbstractContextManager[None] = build.limiting_memory(int(gigabytes * 2**30))
    return limiting


def _parse(words: list[str], names: list[str]) -> argparse.Namespace:
    """Parse the words of a command line; without a command, ``help`` is run."""
    if words and words[0].startswith("-"):
        whole = _make_parser([] if words[0] == "--version" else names)
        whole.parse_known_args(words[:1])  # --help and --version exit here
        whole.error(f"unrecognized arguments: {words[0]}")
    name, *rest = words or ["help"]
    parser = _commands_of(_make_parser([name]))[name]
    while (inner := _commands_of(parser)) and rest and rest[0] in inner:
        parser, rest = inner[rest[0]], rest[1:]
    parser.words = rest
    if inner:
        return parser.parse_args(rest)  # --help, or a mistake: one of its commands is missing
    if parser.get_default("is_verbatim") and rest[:1] not in (["-h"], ["--help"]):
        return parser.parse_args(["--", *rest])  # its flags are another program's
    # Intermixed: positional words may come before, between and after options.
    args, unknown = parser.parse_known_intermixed_args(rest)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, CommandParser]:
    """Return the parsers of the commands of a parser, by name; empty if it has none."""
    actions = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return next((action.choices for action in actions), {})


def _make_parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """Make a parser of the given commands; only their modules are imported, which saves time."""
    parser = CommandParser(
        prog=PROGRAM,
        description="Build, run, train and convert Darknet networks (.cfg and .weights).",
        epilog=EXIT_STATUSES,
        formatter_class=_CommandListFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    _add_commands(parser, commands.__name__, names)
    return parser


def _add_commands(parser: argparse.ArgumentParser, package: str, names: Sequence[str]) -> None:
    """Add commands to a parser, and to each command the commands in it.

    Args:
        parser: the parser to add them to.
        package: the package with a module for each of them.
        names: their names, with ``-`` for ``_``.
    """
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    subparsers.required = parser.prog != PROGRAM  # without one, all commands are listed
    for name in names:
        module = import_module(f"{package}.{name.replace('-', '_')}")
        command = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if hasattr(module, "__path__"):
            _add_commands(command, module.__name__, names_in(module.__path__))
            continue
        module.add_arguments(command)
        command.set_defaults(
            run=module.run,
            make_whole_parser=lambda: _make_parser(command_names()),
            is_verbatim=getattr(module, "IS_VERBATIM", False),
            spell=partial(_spell, command, getattr(module, "OPTIONS", {})),
        )


def _spell(
    command: argparse.ArgumentParser, renamed: Mapping[str, str], argument: str
) -> str | None:
    """Return the option that sets a library argument; None if the command has no such option.

    Args:
        command: parser of the command.
        renamed: options whose name differs from the argument's, by argument: ``OPTIONS`` of the
            command's module.
        argument: name of the argument, in snake_case.
    """
    option = f"--{argument.replace('_', '-')}"
    return renamed.get(argument, option if option in command._option_string_actions else None)


class _WarningLines:
    """Show each warning as one line on stderr; about a cfg, only the first ones."""

    def __init__(self) -> None:
        self._about_cfg = 0

    def show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Show a warning, without the source line that raised it."""
        if issubclass(category, CfgWarning):
            self._about_cfg += 1
            if self._about_cfg > _MOST_WARNINGS:
                return
        _show("warning", message)

    def finish(self) -> None:
        """Show the number of warnings that were left out."""
        if self._about_cfg > _MOST_WARNINGS:
            _show("warning", f"... and {self._about_cfg - _MOST_WARNINGS:,} more of the cfg")


def _show(level: str, message: object) -> None:
    _show_line(f"{in_color(level, sys.stderr)}: {message}")


def _show_line(text: str) -> None:
    with suppress(OSError, DarknetError):  # a full or closed stderr can tell nobody
        printable_stream(sys.stderr).write(f"{PROGRAM}: {text}\n")
