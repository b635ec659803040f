"""``darknet-builder help``: the commands, or one command's options and examples."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.commands import command_names

HELP = "show the commands, or one command's options and examples"
EXAMPLES = """\
examples:
  darknet-builder help
  darknet-builder help detect
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "command",
        nargs="?",
        choices=command_names(),
        metavar="COMMAND",
        help="whose (default: all)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write it."""
    parser: argparse.ArgumentParser = args.make_whole_parser()
    for action in parser._actions if args.command is not None else ():
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices[args.command]
    parser.print_help(out)
    return 0
