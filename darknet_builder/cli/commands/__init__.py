"""Commands of ``darknet-builder``, one file each.

Each file has ``HELP`` (one line), ``EXAMPLES`` (the text at the end of ``--help``),
``add_arguments(parser)`` and ``run(args, out) -> int``, which writes its output to ``out`` and
returns the exit status. ``args.make_whole_parser()`` makes the parser of all commands.

A file imports at its top only what the options need, and neither NumPy nor PyTorch, so that help
and mistakes are shown at once. Everything else is imported by the functions that use it.
"""

from __future__ import annotations

import pkgutil


def command_names() -> list[str]:
    """Return the names of all commands, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
