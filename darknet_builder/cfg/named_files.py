"""Find the files that a cfg names."""

from __future__ import annotations

from pathlib import Path

from darknet_builder.cfg.block import Block


def find_file(block: Block, key: str, folder: str) -> Path:
    """The file that an option names: beside the cfg, or under the working directory.

    Raises:
        CfgError: located, when it is in neither place.
    """
    name = block.get_str(key)
    places = [Path(folder) / name, Path(folder).parent / name, Path(name)]
    for place in places:
        if place.is_file():
            return place
    raise block.error(
        f"no such file; looked for {' and '.join(dict.fromkeys(map(str, places)))}", key
    )
