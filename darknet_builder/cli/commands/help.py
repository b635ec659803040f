"""Show all commands, or the options and examples of one: ``darknet-builder help``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.commands import command_names

HELP = "show all commands, or the options and examples of one"
EXAMPLES = """\
examples:
  darknet-builder help
  darknet-builder help detect
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "command",
        nargs="?",
        choices=command_names(),
        metavar="COMMAND",
        help="command to explain (default: list all commands)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the help text."""
    parser: argparse.ArgumentParser = args.make_whole_parser()
    for action in parser._actions if args.command is not None else ():
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices[args.command]
    parser.print_help(out)
    return 0
