"""Find the files that options of a cfg name."""

from __future__ import annotations

import os
from pathlib import Path

from darknet_builder.cfg.block import Block


def find_file(block: Block, key: str, folder: str) -> Path:
    """Return the path of the file that an option names.

    It is looked for beside the cfg, one folder above, and in the working directory.

    Args:
        block: the section that has the option.
        key: name of the option; it must be set.
        folder: folder of the cfg.

    Raises:
        CfgError: located, if the file is in none of these folders.
    """
    name = block.get_str(key)
    # Darknet knows only the working directory, from which cfg/NAME.cfg and data/NAME.tree are
    # siblings.
    candidates = [Path(folder) / name, Path(folder).parent / name, Path(name)]
    for candidate in candidates:
        if os.path.isfile(candidate):
            return candidate
    raise block.error(
        f"no such file; looked for {' and '.join(dict.fromkeys(map(str, candidates)))}", key
    )
