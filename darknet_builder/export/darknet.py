"""The way back to Darknet: any network as a ``.cfg`` and a ``.weights`` file that read back to the
same answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.named_files import find_file
from darknet_builder.cfg.parser import format_cfg, note_dialect
from darknet_builder.errors import CfgWarning, WeightsError
from darknet_builder.layers.base import registered_sections
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, write_text
from darknet_builder.weights.loader import load_weights, save_weights

_LOADING_KEYS = ("dontload", "dontloadscales")
"""Options that say what a weights file lacks: this one lacks nothing."""


def write_darknet(network: Network, cfg: str | Path, check: Callable[[Network], None]) -> Path:
    """Write ``NAME.cfg``, ``NAME.weights`` and, beside them, what the cfg names (``tree=``,
    ``map=``): all or nothing.

    Args:
        network: what is written, at the size that it has now.
        cfg: the path of the cfg.
        check: called with the network that the new files make; whatever it raises leaves no file.

    Returns:
        The path of the weights.

    Raises:
        OSError: when they cannot be written.
        WeightsError: likewise, or when another file has the name of one that the cfg names.
    """
    cfg = Path(cfg)
    weights = cfg.with_suffix(".weights")
    if weights.is_dir():
        raise WeightsError(f"{weights}: is a folder, where the weights should be written")
    with portable_blocks(network, cfg.parent) as blocks:
        with atomic_path(cfg) as new_cfg, atomic_path(weights) as new_weights:
            write_text(new_cfg, note_dialect(network.dialect.name) + format_cfg(blocks))
            save_weights(network, new_weights)
            again = rebuild(new_cfg, network.dialect.name)
            load_weights(again, new_weights)
            check(again)
    return weights


@contextmanager
def portable_blocks(network: Network, folder: Path) -> Iterator[list[Block]]:
    """The blocks that a file in ``folder`` should hold; what they name is laid there, until an
    error takes it away.

    Raises:
        WeightsError: when another file has the name of one that they name.
        OSError: when the folder cannot be written to.
    """
    with ExitStack() as undo:
        yield [_plain_block(block, network, folder, undo) for block in network.blocks]
        undo.pop_all()


def rebuild(path: Path, dialect: str) -> Network:
    """The network that a file makes, in eval mode, without a second word on what its cfg was warned
    of already.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CfgWarning)
        return build_network(path, dialect=dialect, initialize=False).eval()


def _plain_block(block: Block, network: Network, folder: Path, undo: ExitStack) -> Block:
    """With the size that the network has now, all weights to be loaded, and the files that it names
    beside it.
    """
    options = {key: value for key, value in block.items() if key not in _LOADING_KEYS}
    if block is network.blocks[0] and not network.input_shape.flat:
        options |= {"width": str(network.options.width), "height": str(network.options.height)}
    layer_class = registered_sections().get(block.name)
    for key in () if layer_class is None else layer_class.file_options:
        if key in options:
            source = find_file(block, key, str(Path(block.source).parent))
            options[key] = source.name
            _lay(source, folder / source.name, undo)
    return Block(block.name, options, line=block.line, source=block.source)


def _lay(source: Path, target: Path, undo: ExitStack) -> None:
    """A copy of a small file, to be taken away again when what follows fails.

    Raises:
        WeightsError: when another file has the name.
    """
    content = source.read_bytes()
    if target.exists():
        if target.read_bytes() != content:
            raise WeightsError(
                f"is another file than {source}, which the new cfg needs beside it", path=target
            )
        return
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    undo.callback(target.unlink)
