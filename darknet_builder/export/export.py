"""A network -> a file that others read. Every file is held against the network before it gets its
name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from darknet_builder.cfg.model_files import write_model_file
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.cfg.parser import format_cfg
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.export.darknet import portable_blocks, rebuild, write_darknet
from darknet_builder.export.job import ExportJob, at_rest, names_of, resize_of
from darknet_builder.export.onnx import export_onnx, trace_onnx
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
    """Write a network into a file of another format, read it back, and hold it against the network.

    Args:
        network: with its weights; it is not changed.
        path: the file; a ``.cfg`` gets its ``.weights`` beside it.
        format: a key of ``FORMATS``; by default what the path's suffix says.
        settings: the rest.

    Raises:
        InputError: with the reason, for a network or a setting that the format cannot hold.
        ExportError: when the file does not answer as the network does; there is no file then.
        MissingExtraError: for a package that is not installed.
        WeightsError: when the file cannot be written.
    """
    settings = settings or ExportSettings()
    writer = _WRITERS[format_of(path, format)]
    check_settings(format_of(path, format), settings)
    if Path(path).is_dir():
        raise InputError("is a folder", path=path, hint="expected a file's name")
    with writing(path, WeightsError):
        return writer(at_rest(network), Path(path), settings)


def _export_program(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    job = ExportJob.plan(network, settings, settings.fold)
    with atomic_path(path) as temporary:
        write_program(job.module, job.example, temporary, job.metadata, job.sizes.dimensions())
        comparisons, outputs = job.compare(read_program(temporary)[0])
    return ExportReport((path,), "pt2", tuple(comparisons), *job.shapes(outputs))


def _export_script(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    job = ExportJob.plan(network, settings, settings.fold)
    with atomic_path(path) as temporary:
        write_script(job.module, job.example, temporary, job.metadata)
        comparisons, outputs = job.compare(read_script(temporary)[0])
    return ExportReport((path,), "torchscript", tuple(comparisons), *job.shapes(outputs))


# ---- whole networks ---------------------------------------------------------------------------


def _export_tensors(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    written = fold_batch_norm(network) if settings.fold else network
    shape, header = network.input_shape, network.header
    names = names_of(network, settings.names)
    with portable_blocks(written, path.parent) as blocks, atomic_path(path) as temporary:
        write_model_file(
            temporary,
            written,
            ModelMetadata(
                format_cfg(blocks),
                names,
                network.dialect.name,
                0 if shape.flat else shape.width,
                0 if shape.flat else shape.height,
                (header.major, header.minor, header.revision, header.seen),
            ),
        )
        comparisons = _compare_networks(network, rebuild(temporary, network.dialect.name), settings)
    return ExportReport((path,), path.suffix[1:].lower(), comparisons)


def _compare_networks(
    network: Network, again: Network, settings: ExportSettings
) -> tuple[Comparison, ...]:
    reference = Reference(network)
    names = [f"the answer of layer {index}" for index in network.output_indices]
    inputs = trial_inputs(network, Sizes(), resize_of(network, settings.resize), settings.images)
    return tuple(
        compare_values(
            what, reference(x), Reference(again)(x), names, partial(reference.precise, x)
        )
        for what, x in inputs
    )


def _export_darknet(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    comparisons: list[Comparison] = []
    weights = write_darknet(
        fold_batch_norm(network) if settings.fold else network,
        path,
        lambda again: comparisons.extend(_compare_networks(network, again, settings)),
    )
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
