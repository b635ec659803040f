"""Write any network as a ``.cfg`` and a ``.weights`` file that give the same outputs when read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.cfg.named_files import find_file
from darknet_builder.cfg.parser import format_cfg, note_dialect
from darknet_builder.errors import CfgWarning, WeightsError
from darknet_builder.layers.base import registered_sections
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, write_text
from darknet_builder.weights.loader import load_weights, save_weights

_LOADING_KEYS = ("dontload", "dontloadscales")
"""Options that say which values a weights file lacks. The exported file holds every value."""


def write_darknet(network: Network, cfg: str | Path, check: Callable[[Network], None]) -> Path:
    """Write ``NAME.cfg``, ``NAME.weights`` and the files that the cfg names, or nothing at all.

    The files that a cfg names (``tree=``, ``map=``) are copied into its folder.

    Args:
        network: the network to write; the cfg gets its current input size.
        cfg: path of the new cfg; the weights file is written beside it.
        check: called with the network that was read back from the new files. If it raises an
            error, no file is left.

    Returns:
        The path of the weights file.

    Raises:
        OSError: if a file cannot be written.
        WeightsError: if a file cannot be written, or if the folder has a different file under the
            name of one that the cfg names.
    """
    cfg = Path(cfg)
    weights = cfg.with_suffix(".weights")
    if os.path.isdir(weights):
        raise WeightsError(
            "is a folder, but the weights file needs this name",
            path=weights,
            hint="rename the folder, or give the cfg another name",
        )
    with (
        portable_blocks(network, cfg.parent) as blocks,
        atomic_path(cfg) as new_cfg,
        atomic_path(weights) as new_weights,
    ):
        write_text(new_cfg, note_dialect(network.dialect.name) + format_cfg(blocks))
        save_weights(network, new_weights)
        # Read both files while they still have temporary names: if the check fails, the names
        # that the user requested never appear.
        reread = rebuild(new_cfg, network.dialect.name)
        load_weights(reread, new_weights)
        check(reread)
    return weights


@contextmanager
def portable_blocks(network: Network, folder: Path) -> Iterator[list[Block]]:
    r"""Yield the blocks of a cfg in ``folder``, and copy the files that they name into it.

    If the body of the ``with`` statement raises an error, the copies are removed again.

    Args:
        network: the network that the blocks describe, at its current input size.
        folder: the folder of the new cfg; it must exist.

    Raises:
        WeightsError: if the folder has a different file under the name of one to be copied.
        OSError: if the folder cannot be written to.

    Example:
        >>> from pathlib import Path
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[dropout]\n", width=16)
        >>> with portable_blocks(network, Path(".")) as blocks:
        ...     blocks[0]["width"], [block.name for block in blocks]
        ('16', ['net', 'dropout'])
    """
    with ExitStack() as undo:
        yield [_portable_block(block, network, folder, undo) for block in network.blocks]
        undo.pop_all()  # reached without an error: keep the copies


def model_metadata(
    network: Network, blocks: Sequence[Block], names: tuple[str, ...]
) -> ModelMetadata:
    """Return the text that a file carries, from which the network can be rebuilt.

    Args:
        network: the network of the file.
        blocks: its cfg, as ``portable_blocks`` yields it.
        names: class names, or empty.
    """
    shape, header = network.input_shape, network.header
    # A network of vectors has no width and height; the format stores 0 for them.
    width, height = (0, 0) if shape.flat else (shape.width, shape.height)
    return ModelMetadata(
        format_cfg(blocks),
        names,
        network.dialect.name,
        width,
        height,
        (header.major, header.minor, header.revision, header.seen),
    )


def rebuild(path: Path, dialect: str) -> Network:
    """Build the network of an exported file, in eval mode.

    Args:
        path: a cfg or a model file.
        dialect: the name of a key of ``DIALECTS``.
    """
    with warnings.catch_warnings():
        # The user has already seen these warnings when the original cfg was read.
        warnings.simplefilter("ignore", CfgWarning)
        return build_network(path, dialect=dialect, initialize=False).eval()


def _portable_block(block: Block, network: Network, folder: Path, undo: ExitStack) -> Block:
    """Return a block for a cfg in ``folder``, and copy the files that it names there.

    The block has the network's current size and no option that skips loading weights.
    """
    options = {key: value for key, value in block.items() if key not in _LOADING_KEYS}
    if block is network.blocks[0] and not network.input_shape.flat:
        options |= {"width": str(network.options.width), "height": str(network.options.height)}
    layer_class = registered_sections().get(block.name)
    for key in () if layer_class is None else layer_class.file_options:
        if key in options:
            source = find_file(block, key, str(Path(block.source).parent))
            # Only the name: the new cfg finds the file beside itself, wherever both are moved.
            options[key] = source.name
            _copy_beside(source, folder / source.name, undo)
    return Block(block.name, options, line=block.line, source=block.source)


def _copy_beside(source: Path, target: Path, undo: ExitStack) -> None:
    """Copy a small file, and register its removal in case a later step fails.

    Raises:
        WeightsError: if ``target`` exists with a different content.
    """
    content = source.read_bytes()
    if target.exists():
        # The same content may already be there, for example from an earlier export. It is then
        # not ours to remove.
        if target.read_bytes() != content:
            raise WeightsError(
                f"exists and differs from {source}, which the new cfg needs beside it",
                path=target,
                hint="export into another folder",
            )
        return
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    undo.callback(target.unlink)
