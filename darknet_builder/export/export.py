"""Export a network to a file, and compare the file with the network before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from darknet_builder.cfg.model_files import write_model_file
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.export.darknet import (
    model_metadata,
    portable_blocks,
    rebuild,
    write_darknet,
)
from darknet_builder.export.job import ExportJob, at_rest, names_of, resize_of
from darknet_builder.export.onnx.file import export_onnx, trace_onnx
from darknet_builder.export.quantized.file import export_int8
from darknet_builder.export.reference import Reference, trial_inputs
from darknet_builder.export.settings import (
    FORMATS,
    GRAPHS,
    ExportReport,
    ExportSettings,
    check_settings,
    format_of,
)
from darknet_builder.export.tolerance import Comparison, compare_values
from darknet_builder.export.torch_programs import (
    read_program,
    read_script,
    write_program,
    write_script,
)
from darknet_builder.export.traceable import Sizes
from darknet_builder.network.batch_memory import check_batch, explaining_memory
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, writing

__all__ = [
    "FORMATS",
    "GRAPHS",
    "ExportReport",
    "ExportSettings",
    "export_network",
    "format_of",
    "trace_onnx",
]


def export_network(
    network: Network,
    path: str | Path,
    format: str | None = None,
    settings: ExportSettings | None = None,
) -> ExportReport:
    r"""Write a network in another format, read the file back, and compare its outputs.

    Args:
        network: a network with its weights; it is not changed.
        path: the file to write; a ``.cfg`` gets its ``.weights`` file beside it.
        format: a key of ``FORMATS``; None chooses it by the suffix of ``path``.
        settings: None stands for ``ExportSettings()``.

    Returns:
        The files, their inputs and outputs, and how far their outputs differ from the network's.

    Raises:
        InputError: with the reason, if the format cannot hold the network or a setting, or the
            batch does not fit into memory.
        ExportError: if the outputs of the file differ from the network's; no file is left then.
        MissingExtraError: if a package that the format needs is not installed.
        WeightsError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export_network(network, Path(folder) / "small.pt")
        >>> report.format, report.difference
        ('pt', 0.0)
    """
    settings = settings or ExportSettings()
    writer = _WRITERS[format_of(path, format)] if settings.int8 is None else export_int8
    check_settings(format_of(path, format), settings)
    # Check now: renaming the temporary file at the end would fail with a bare OSError.
    if os.path.isdir(path):
        raise InputError("is a folder", path=path, hint="expected the name of a file")
    network.check_float32()
    check_batch(network, settings.batch)
    with writing(path, WeightsError), explaining_memory(network, settings.batch):
        return writer(at_rest(network), Path(path), settings)


def _export_program(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    """Write a ``.pt2`` file."""
    job = ExportJob.plan(network, settings, settings.fold)
    with atomic_path(path) as temporary:
        write_program(job.module, job.example, temporary, job.metadata, job.sizes.dimensions())
        comparisons, outputs = job.compare(read_program(temporary)[0])
    return ExportReport((path,), "pt2", tuple(comparisons), *job.shapes(outputs))


def _export_script(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    """Write a ``.torchscript`` file."""
    job = ExportJob.plan(network, settings, settings.fold)
    with atomic_path(path) as temporary:
        write_script(job.module, job.example, temporary, job.metadata)
        comparisons, outputs = job.compare(read_script(temporary)[0])
    return ExportReport((path,), "torchscript", tuple(comparisons), *job.shapes(outputs))


# ---- whole networks ---------------------------------------------------------------------------


def _export_tensors(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    """Write a ``.safetensors`` or ``.pt`` file: tensors by name, with the cfg in the metadata."""
    written = fold_batch_norm(network) if settings.fold else network
    names = names_of(network, settings.names)
    with portable_blocks(written, path.parent) as blocks, atomic_path(path) as temporary:
        metadata = model_metadata(network, blocks, names)
        write_model_file(temporary, written, metadata)
        comparisons = _compare_networks(network, rebuild(temporary, network.dialect.name), settings)
    return ExportReport((path,), path.suffix[1:].lower(), comparisons)


def _compare_networks(
    network: Network, reread: Network, settings: ExportSettings
) -> tuple[Comparison, ...]:
    """Compare a network with the one that was built from the exported file.

    Raises:
        ExportError: naming the output that differs by more than float32 rounding explains.
    """
    reference, candidate = Reference(network), Reference(reread)
    names = [f"the output of layer {index}" for index in network.output_indices]
    inputs = trial_inputs(network, Sizes(), resize_of(network, settings.resize), settings.images)
    return tuple(
        compare_values(what, reference(x), candidate(x), names, partial(reference.precise, x))
        for what, x in inputs
    )


def _export_darknet(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    """Write a ``.cfg`` and a ``.weights`` file."""
    comparisons: list[Comparison] = []

    def check(reread: Network) -> None:
        comparisons.extend(_compare_networks(network, reread, settings))

    written = fold_batch_norm(network) if settings.fold else network
    weights = write_darknet(written, path, check)
    return ExportReport((path, weights), "darknet", tuple(comparisons))


_Writer = Callable[[Network, Path, ExportSettings], ExportReport]
_WRITERS: dict[str, _Writer] = {
    "onnx": export_onnx,
    "pt2": _export_program,
    "torchscript": _export_script,
    "safetensors": _export_tensors,
    "pt": _export_tensors,
    "darknet": _export_darknet,
}
