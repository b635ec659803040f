"""A network -> a file that others read. Every file is held against the network before it gets its name."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.classifiers import check_fit, find_tree, is_classifier
from darknet_builder.darknet_files import portable_blocks, rebuild, write_darknet
from darknet_builder.errors import DataError, ExportError, InputError, WeightsError, did_you_mean
from darknet_builder.export_check import (
    Comparison,
    check_file,
    clear_thresholds,
    compare_kept,
    compare_values,
    open_session,
    suppress,
)
from darknet_builder.extras import load_extra
from darknet_builder.files import atomic_path
from darknet_builder.folding import fold_batch_norm
from darknet_builder.layers.memory import Recurrent
from darknet_builder.model_files import Facts, write_model_file
from darknet_builder.network import Network
from darknet_builder.onnx_graph import (
    LOWEST_OPSET,
    MAX_BOXES,
    OVERLAP,
    SCORE,
    Suppression,
    append_suppression,
    expose_candidates,
    set_facts,
    to_model,
)
from darknet_builder.parser import format_cfg
from darknet_builder.resize import check_resize
from darknet_builder.torch_files import read_program, read_script, write_program, write_script
from darknet_builder.tracing import LEVELS, Sizes, Traceable, describe, num_classes, own_resize, plan_sizes
from darknet_builder.trials import Reference, trial_inputs

_PLAIN_IOU = ("default", "cornersnms")
"""The kinds of suppression that ONNX's operator does exactly."""


@dataclass(frozen=True)
class ExportSettings:
    """How a network is exported.

    Attributes:
        level: ``raw``, ``decoded`` or ``nms``; the last for ONNX alone.
        batch: how many images a call takes.
        any_batch: let the number of images change from call to call.
        any_size: let width and height change as well.
        opset: of ONNX.
        suppression: the thresholds of level ``nms``.
        fold: fold batch norm into the weights; ONNX always does.
        names: of the classes; the network's own by default.
        resize: ``stretch`` or ``letterbox``, for the file's metadata; None means the cfg's or the dialect's way.
        images: photographs that the file is tried on, beside a drawn scene and random numbers.
    """

    level: str = "raw"
    batch: int = 1
    any_batch: bool = False
    any_size: bool = False
    opset: int = LOWEST_OPSET
    suppression: Suppression = field(default_factory=Suppression)
    fold: bool = False
    names: Sequence[str] = ()
    resize: str | None = None
    images: Sequence[str | Path] = ()


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how near it is to the network.

    Attributes:
        paths: of the files.
        format: a key of ``FORMATS``.
        inputs, outputs: shapes by name; empty for files of weights.
        nodes: of an ONNX graph by operator.
        comparisons: with PyTorch.
        notes: what the file does not do as the network does.
    """

    paths: tuple[Path, ...]
    format: str
    comparisons: tuple[Comparison, ...]
    inputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """The largest of all comparisons."""
        return max(comparison.difference for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"paths": [str(path) for path in self.paths], "format": self.format, "inputs": dict(self.inputs),
                "outputs": dict(self.outputs), "nodes": dict(self.nodes), "notes": list(self.notes),
                "comparisons": [asdict(comparison) for comparison in self.comparisons]}


def export_network(network: Network, path: str | Path, format: str | None = None,
                   settings: ExportSettings | None = None) -> ExportReport:
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
    _check_settings(format_of(path, format), settings)
    if Path(path).is_dir():
        raise InputError(f"{path}: is a folder; expected a file's name")
    try:
        return writer(_at_rest(network), Path(path), settings)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from None


def _at_rest(network: Network) -> Network:
    """The network in eval mode on the CPU, without a state: a copy, unless it is so already."""
    if network.device.type == "cpu" and not any(module.training for module in network.modules()):
        if not any(isinstance(layer, Recurrent) for layer in network.layers):
            return network
    rested = copy.deepcopy(network).eval().cpu()
    rested.reset_state()
    return rested


def format_of(path: str | Path, name: str | None) -> str:
    """The key of ``FORMATS`` that a path and, where it is given, a name stand for.

    Raises:
        InputError: where they stand for none, or for two.
    """
    if name is not None and name not in FORMATS:
        raise InputError(f"format={name!r} is unknown; expected one of {', '.join(FORMATS)}"
                         f"{did_you_mean(name, FORMATS)}")
    suffix = Path(path).suffix.lower()
    found = [known for known, ending in FORMATS.items() if ending == suffix]
    if name is None and not found:
        raise InputError(f"{path}: which format? expected one of the suffixes {', '.join(FORMATS.values())}")
    if name is not None and suffix != FORMATS[name]:
        raise InputError(f"{path}: a file of the format {name} ends in {FORMATS[name]}")
    return found[0]


def _check_settings(name: str, settings: ExportSettings) -> None:
    if settings.level not in LEVELS:
        raise InputError(f"level={settings.level!r} is unknown; expected one of {', '.join(LEVELS)}"
                         f"{did_you_mean(settings.level, LEVELS)}")
    if settings.level == "nms" and name != "onnx":
        raise InputError(f"level=nms: a file of the format {name} has no operator that suppresses boxes; take onnx")
    if name not in GRAPHS and (settings.level != "raw" or settings.any_batch or settings.any_size):
        raise InputError(f"the format {name} holds a whole network: level, any_batch and any_size do not go with it")
    for key, value in (("threshold", settings.suppression.threshold), ("overlap", settings.suppression.overlap)):
        if not 0 <= value <= 1:
            raise InputError(f"{key}={value}: expected a number from 0 to 1")
    if settings.suppression.max_boxes < 1:
        raise InputError(f"max_boxes={settings.suppression.max_boxes}: expected 1 or more")


# ---- graphs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """What all formats that hold a graph need."""

    module: Traceable
    reference: Reference
    sizes: Sizes
    facts: dict[str, str]
    inputs: dict[str, Tensor]
    example: Tensor

    @classmethod
    def plan(cls, network: Network, settings: ExportSettings, fold: bool) -> _Job:
        """Everything that can be refused is refused here."""
        whole = Traceable(network, settings.level).eval()
        sizes = plan_sizes(network, settings.batch, settings.any_batch, settings.any_size)
        resize = _resize_of(network, settings.resize)
        facts = describe(network, settings.level, _names_of(network, settings.names), resize, sizes)
        if network.heads:
            facts |= settings.suppression.facts(settings.level)
        module = Traceable(fold_batch_norm(network), settings.level).eval() if fold else whole
        inputs = dict(trial_inputs(network, sizes, resize, settings.images))
        example = torch.zeros(network.input_shape.batched(sizes.traced_batch))
        return cls(module, Reference(whole), sizes, facts, inputs, example)

    def shapes(self, outputs: Sequence[Tensor]) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
        """Input and outputs by name; what may change goes by a word."""
        first: int | str = "batch" if self.sizes.any_batch else self.sizes.batch
        inner: list[int | str] = ["height", "width"] if self.sizes.any_size else list(self.example.shape[2:])
        inputs = {self.module.input_name: [first, self.example.shape[1], *inner]}
        return inputs, {name: [first, *output.shape[1:]] for name, output
                        in zip(self.module.output_names, outputs, strict=True)}


def _resize_of(network: Network, resize: str | None) -> str:
    return own_resize(network) if resize is None else (
        check_fit(resize) if is_classifier(network) else check_resize(resize))


def _names_of(network: Network, names: Sequence[str]) -> list[str]:
    tree = find_tree(network) if is_classifier(network) else None
    found, classes = list(names or network.names or (tree.names if tree else ())), num_classes(network)
    if found and classes and len(found) != classes:
        where = " (classes= in the cfg)" if network.heads else ""
        raise DataError(f"names: got {len(found)} names, but the network has {classes} classes{where}")
    return found


def _compare(job: _Job, run: Callable[[Tensor], Sequence[Any]]) -> tuple[list[Comparison], list[Tensor]]:
    """Every trial input through the file and through the network; the first one's outputs beside."""
    comparisons, first = [], None
    for what, x in job.inputs.items():
        wanted = job.reference(x)
        first = first or wanted
        comparisons.append(compare_values(what, wanted, run(x), job.module.output_names,
                                          partial(job.reference.precise, x)))
    return comparisons, first or []


def trace_onnx(network: Network, settings: ExportSettings) -> Any:
    """The ``onnx.ModelProto`` that ``export_network`` writes, not yet held against anything.

    Raises:
        InputError: with the reason, for a network or a setting that it cannot hold.
        MissingExtraError: for a package that is not installed.
    """
    _check_settings("onnx", settings)
    return _trace_onnx(_Job.plan(_at_rest(network), settings, fold=True), settings)


def _trace_onnx(job: _Job, settings: ExportSettings) -> Any:
    model = to_model(job.module, job.example, job.module.input_name, job.module.output_names,
                     dimensions=job.sizes.dimensions(), opset=settings.opset)
    set_facts(model, job.facts)
    if settings.level == "nms":
        append_suppression(model, settings.suppression)
    return model


def _export_onnx(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    onnx = load_extra("onnx", "export")
    job = _Job.plan(network, settings, fold=True)
    model = _trace_onnx(job, settings)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
        check_file(temporary)
        session = open_session(temporary)
        if settings.level == "nms":
            comparisons = _compare_suppressed(job, session, model)
        else:
            comparisons, _ = _compare(job, lambda x: session.run(None, {job.module.input_name: x.numpy()}))
    operators = (node.op_type for node in model.graph.node)
    return ExportReport((path,), "onnx", tuple(comparisons), _declared(session.get_inputs()),
                        _declared(session.get_outputs()), dict(sorted(Counter(operators).items())),
                        _notes(network, settings.level))


def _declared(arguments: Sequence[Any]) -> dict[str, list[int | str]]:
    return {argument.name: list(argument.shape) for argument in arguments}


def _compare_suppressed(job: _Job, session: Any, model: Any) -> list[Comparison]:
    """At thresholds that no candidate comes near, so that the two must keep the same boxes."""
    comparisons = []
    names = [output.name for output in session.get_outputs()]
    for what, x in job.inputs.items():
        boxes, scores, objectness = job.reference(x)
        threshold, overlap = clear_thresholds(boxes, scores, objectness)
        found = session.run(names, _suppression_inputs(job, x, boxes.shape[1], threshold, overlap))
        try:
            comparisons.append(compare_kept(what, suppress(boxes, scores, objectness, threshold, overlap),
                                            dict(zip(names, found, strict=True))))
        except ExportError:
            comparisons.append(_compare_in_two_steps(job, what, [boxes, scores, objectness], model))
    return comparisons


def _suppression_inputs(job: _Job, x: Tensor, most: int, threshold: float, overlap: float) -> dict[str, Any]:
    return {job.module.input_name: x.numpy(), SCORE: np.array([threshold], np.float32),
            OVERLAP: np.array([overlap], np.float32), MAX_BOXES: np.array([most])}


def _compare_in_two_steps(job: _Job, what: str, wanted: Sequence[Tensor], model: Any) -> Comparison:
    """Where rounding decides over a box: first the candidates, then what is left of the file's own.

    Raises:
        ExportError: when either differs.
    """
    names = [output.name for output in model.graph.output]
    session = open_session(expose_candidates(copy.deepcopy(model)).SerializeToString())
    x, most = job.inputs[what], wanted[0].shape[1]
    *_, boxes, scores, objectness = map(torch.from_numpy, session.run(None, _suppression_inputs(job, x, 1, 1., 1.)))
    values = compare_values(what, wanted, [boxes, scores, objectness], job.module.output_names,
                            partial(job.reference.precise, x))
    threshold, overlap = clear_thresholds(boxes, scores, objectness)
    found = session.run(names, _suppression_inputs(job, x, most, threshold, overlap))
    kept = compare_kept(what, suppress(boxes, scores, objectness, threshold, overlap),
                        dict(zip(names, found, strict=True)))
    return replace(values, boxes=kept.boxes)


def _notes(network: Network, level: str) -> tuple[str, ...]:
    kind = network.heads[-1].nms_kind if network.heads else "default"
    if level != "nms" or kind in _PLAIN_IOU:
        return ()
    return (f"the cfg asks for nms_kind={kind}, which weighs the distance of centres too; ONNX's NonMaxSuppression "
            "knows plain IoU alone, so that of close boxes others may be left. Level decoded leaves the choice to you",)


def _export_program(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    job = _Job.plan(network, settings, settings.fold)
    with atomic_path(path) as temporary:
        write_program(job.module, job.example, temporary, job.facts, job.sizes.dimensions())
        comparisons, outputs = _compare(job, read_program(temporary)[0])
    return ExportReport((path,), "pt2", tuple(comparisons), *job.shapes(outputs))


def _export_script(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    job = _Job.plan(network, settings, settings.fold)
    with atomic_path(path) as temporary:
        write_script(job.module, job.example, temporary, job.facts)
        comparisons, outputs = _compare(job, read_script(temporary)[0])
    return ExportReport((path,), "torchscript", tuple(comparisons), *job.shapes(outputs))


# ---- whole networks -------------------------------------------------------------------------------------


def _export_tensors(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    written = fold_batch_norm(network) if settings.fold else network
    shape, header = network.input_shape, network.header
    names = tuple(_names_of(network, settings.names))
    with portable_blocks(written, path.parent) as blocks, atomic_path(path) as temporary:
        write_model_file(temporary, written, Facts(
            format_cfg(blocks), names, network.dialect.name, 0 if shape.flat else shape.width,
            0 if shape.flat else shape.height, (header.major, header.minor, header.revision, header.seen)))
        comparisons = _compare_networks(network, rebuild(temporary, network.dialect.name), settings)
    return ExportReport((path,), path.suffix[1:].lower(), comparisons)


def _compare_networks(network: Network, again: Network, settings: ExportSettings) -> tuple[Comparison, ...]:
    reference = Reference(network)
    names = [f"the answer of layer {index}" for index in network.answer_indices]
    inputs = trial_inputs(network, Sizes(), _resize_of(network, settings.resize), settings.images)
    return tuple(compare_values(what, reference(x), Reference(again)(x), names, partial(reference.precise, x))
                 for what, x in inputs)


def _export_darknet(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    comparisons: list[Comparison] = []
    weights = write_darknet(fold_batch_norm(network) if settings.fold else network, path,
                            lambda again: comparisons.extend(_compare_networks(network, again, settings)))
    return ExportReport((path, weights), "darknet", tuple(comparisons))


_Writer = Callable[[Network, Path, ExportSettings], ExportReport]
_WRITERS: dict[str, _Writer] = {
    "onnx": _export_onnx, "pt2": _export_program, "torchscript": _export_script, "safetensors": _export_tensors,
    "pt": _export_tensors, "darknet": _export_darknet,
}
FORMATS = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".torchscript", "safetensors": ".safetensors", "pt": ".pt",
           "darknet": ".cfg"}
"""The formats and how their files end."""
GRAPHS = ("onnx", "pt2", "torchscript")
"""Those that hold a function at one level, not a network."""
