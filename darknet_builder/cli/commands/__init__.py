"""One file per command of ``darknet-builder``.

Each has ``HELP`` (one line), ``EXAMPLES`` (text under ``--help``), ``add_arguments(parser)`` and
``run(args, out) -> int``, which writes its answer to ``out`` and returns the exit status.
``args.make_whole_parser()`` makes the parser that knows every command.

A command imports at the top of its file only what its options need, none of it NumPy or PyTorch, so
that help and mistakes are answered at once. What does the work is imported by the functions that
use it.
"""

from __future__ import annotations

import pkgutil


def command_names() -> list[str]:
    """The commands, one a file of this package."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
