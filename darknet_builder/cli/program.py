"""Entry point of ``darknet-builder``: find the command and run it.

A ``DarknetError`` is shown as one line on stderr, with exit status 2.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn, TextIO

from darknet_builder.cli.commands import command_names
from darknet_builder.cli.output import in_color, printable_stream
from darknet_builder.errors import CfgWarning, DarknetError, Spell, did_you_mean, nearest
from darknet_builder.images.opencv import LIMIT_VARIABLE
from darknet_builder.support.version import VERSION

PROGRAM = "darknet-builder"
USER_MISTAKE = 2
INTERRUPTED = 130
EXIT_STATUSES = """\
exit status:
  0    success
  1    the command ran, but a part failed: an image could not be read, a download failed, an
       exported file differs from PyTorch, or check found an error
  2    a mistake in the command or in a file that it names: one line on stderr says which
  130  stopped by Ctrl-C

'darknet-builder help COMMAND' shows the options and examples of a command.
"""
_DARKNETS_MISTAKE = 1
"""Exit status of Darknet's ``error()`` (utils.c)."""
_MOST_WARNINGS = 100
"""Number of warnings about a cfg that are shown; ``check`` shows all of them."""
_CHOICE = re.compile(r"invalid choice: '?(.+?)'? \(choose from (.*)\)")
_WORD = re.compile(r"[^\s',]+")
_OPTION = re.compile(r"--?[A-Za-z]")
_SHORTEST_GUESS = 2
"""An option of so few letters is similar to too many others."""
_FIELD_WORDS = {
    "conf": ("threshold",),
    "conf-thres": ("threshold",),
    "conf-thresh": ("threshold",),
    "confidence": ("threshold",),
    "score": ("threshold",),
    "thresh": ("threshold",),
    "iou": ("iou", "nms"),
    "iou-thres": ("iou", "nms"),
    "iou-thresh": ("iou", "nms"),
    "iou-threshold": ("iou", "nms"),
    "nms-thresh": ("nms",),
    "nms-threshold": ("nms",),
    "o": ("output",),
    "out": ("output",),
    "out-dir": ("output",),
    "save-dir": ("output",),
    "project": ("output",),
    "gpu": ("device",),
    "gpus": ("device",),
    "cuda": ("device",),
    "img": ("width",),
    "imgsz": ("width",),
    "img-size": ("width",),
    "size": ("width",),
    "b": ("batch",),
    "batch-size": ("batch",),
    "classes": (),
    "fp16": ("precision",),
    "half": ("precision",),
    "map": (),
    "show": (),
    "source": (),
}
"""Options of other detection programs, without dashes, and the options here with that meaning, the
first that the command has; an empty row has none, and a similar word would be a wrong guess."""


class _CommandListFormatter(argparse.RawDescriptionHelpFormatter):
    """A help formatter whose left column is wide enough for every command."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # argparse forgets that commands are indented by two levels when it measures their names.
        self._action_max_length = 2 * self._indent_increment + max(map(len, command_names()))


class _Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line and suggests the nearest valid word.

    Attributes:
        words: the words after the command's name.
    """

    words: Sequence[str] = ()

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or an error message, which may contain names of files."""
        printable_stream(file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on stderr that suggests the nearest option or choice."""
        # A mistyped option is probably the one that is missing, so report the typing error instead.
        unknown = self._unknown_options()
        if unknown and "arguments are required" in message:
            message = f"unrecognized arguments: {' '.join(unknown)}"
        self.exit(
            USER_MISTAKE,
            f"{self.prog}: {in_color('error', sys.stderr)}: {message}{self._hint(message)} "
            f"(see {self.prog} --help)\n",
        )

    def _unknown_options(self) -> list[str]:
        return [
            word
            for word in self.words
            if _OPTION.match(word)
            and not any(
                known.startswith(word.partition("=")[0]) for known in self._option_string_actions
            )
        ]

    def _hint(self, message: str) -> str:
        wrong = [word for word in message.split() if word.startswith("-")]
        if message.startswith("unrecognized") and wrong:
            return self._nearest_option(wrong[0].partition("=")[0])
        choice = _CHOICE.search(message)
        if choice is None or choice[1].isdecimal():
            return ""  # the nearest number by its digits is rarely the one that was meant
        return did_you_mean(choice[1], _WORD.findall(choice[2]))

    def _nearest_option(self, option: str) -> str:
        """Return a suggestion for an unknown option: the same one elsewhere, or a similar word."""
        # Darknet's own options have one dash, and other programs write words with underscores.
        word = option.lstrip("-").replace("_", "-").lower()
        meant = _FIELD_WORDS.get(word, ())
        known = [f"--{name}" for name in meant if f"--{name}" in self._option_string_actions]
        if known:
            return f"; did you mean {known[0]!r}?"
        if word in _FIELD_WORDS or len(word) <= _SHORTEST_GUESS:
            return ""
        # Without the two dashes, which make all options similar.
        names = [name[2:] for name in self._option_string_actions if name.startswith("--")]
        near = nearest(word, names)
        return f"; did you mean '--{near}'?" if near else ""


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
    parser.words = rest
    if parser.get_default("is_verbatim") and rest[:1] not in (["-h"], ["--help"]):
        return parser.parse_args(["--", *rest])  # its flags are another program's
    # Intermixed: positional words may come before, between and after options.
    args, unknown = parser.parse_known_intermixed_args(rest)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, _Parser]:
    return next(
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def _make_parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """Make a parser of the given commands; only their modules are imported, which saves time."""
    parser = _Parser(
        prog=PROGRAM,
        description="Build, run, train and convert Darknet networks (.cfg and .weights).",
        epilog=EXIT_STATUSES,
        formatter_class=_CommandListFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in names:
        module = import_module(f"darknet_builder.cli.commands.{name.replace('-', '_')}")
        command = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(
            run=module.run,
            make_whole_parser=lambda: _make_parser(command_names()),
            is_verbatim=getattr(module, "IS_VERBATIM", False),
            spell=partial(_spell, command, getattr(module, "OPTIONS", {})),
        )
    return parser


def _spell(command: _Parser, renamed: Mapping[str, str], argument: str) -> str | None:
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
