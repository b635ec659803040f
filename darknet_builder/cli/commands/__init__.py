"""Commands of ``darknet-builder``, one file each.

Each file has ``HELP`` (one line), ``EXAMPLES`` (the text at the end of ``--help``),
``add_arguments(parser)`` and ``run(args, out) -> int``, which writes its output to ``out`` and
returns the exit status. ``args.make_whole_parser()`` makes the parser of all commands. A folder is
a command with commands of its own: it has ``HELP`` and ``EXAMPLES``, and a file for each of them.

A file imports at its top only what the options need, and neither NumPy nor PyTorch, so that help
and mistakes are shown at once. Everything else is imported by the functions that use it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable


def command_names() -> list[str]:
    """Return the names of all commands, sorted."""
    return names_in(__path__)


def names_in(folders: Iterable[str]) -> list[str]:
    """Return the names of the commands whose modules are in a package, sorted.

    Args:
        folders: ``__path__`` of the package.
    """
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(folders))
