"""One file per command of ``darknet-builder``.

Each has ``HELP`` (one line), ``EXAMPLES`` (text under ``--help``), ``add_arguments(parser)`` and
``run(args, out) -> int``, which writes its answer to ``out`` and returns the exit status.
``args.make_whole_parser()`` makes the parser that knows every command.
"""

from __future__ import annotations

import pkgutil


def command_names() -> list[str]:
    """The commands, one a file of this package."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
