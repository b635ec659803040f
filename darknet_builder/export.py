"""A network -> a file that others read. Every file is held against the network before it gets its name."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darknet_builder.darknet_files import portable_blocks, rebuild, write_darknet
from darknet_builder.errors import DataError, InputError, WeightsError, did_you_mean
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
from darknet_builder.images import check_resize, read_image, to_input
from darknet_builder.layers.memory import Recurrent
from darknet_builder.model_files import Facts, write_model_file
from darknet_builder.network import Network
from darknet_builder.onnx_graph import LOWEST_OPSET, MAX_BOXES, OVERLAP, SCORE, Suppression, append_suppression
from darknet_builder.onnx_graph import set_facts, to_model
from darknet_builder.parser import format_cfg
from darknet_builder.scenes import draw_scene
from darknet_builder.torch_files import read_program, read_script, write_program, write_script
from darknet_builder.tracing import LEVELS, Sizes, Traceable, describe, plan_sizes

_SEED = 0
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
    writer = _WRITERS[_format_of(path, format)]
    _check_settings(_format_of(path, format), settings)
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


def _format_of(path: str | Path, name: str | None) -> str:
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
    reference: Traceable
    sizes: Sizes
    facts: dict[str, str]
    inputs: dict[str, Tensor]
    example: Tensor

    @classmethod
    def plan(cls, network: Network, settings: ExportSettings, fold: bool) -> _Job:
        """Everything that can be refused is refused here."""
        reference = Traceable(network, settings.level)
        sizes = plan_sizes(network, settings.batch, settings.any_batch, settings.any_size)
        resize = _resize_of(network, settings.resize)
        facts = describe(network, settings.level, _names_of(network, settings.names), resize, sizes)
        module = Traceable(fold_batch_norm(network), settings.level).eval() if fold else reference.eval()
        inputs = dict(_trial_inputs(network, sizes, resize, settings.images))
        example = torch.zeros(network.input_shape.batched(sizes.traced_batch))
        return cls(module, reference, sizes, facts, inputs, example)

    def shapes(self, outputs: Sequence[Tensor]) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
        """Input and outputs by name; what may change goes by a word."""
        first: int | str = "batch" if self.sizes.any_batch else self.sizes.batch
        inner: list[int | str] = ["height", "width"] if self.sizes.any_size else list(self.example.shape[2:])
        inputs = {self.module.input_name: [first, self.example.shape[1], *inner]}
        return inputs, {name: [first, *output.shape[1:]] for name, output
                        in zip(self.module.output_names, outputs, strict=True)}


def _trial_inputs(network: Network, sizes: Sizes, resize: str, images: Sequence[str | Path]
                  ) -> Iterator[tuple[str, Tensor]]:
    """What a file is tried on: random numbers, a picture, the photographs; other sizes where sizes may change."""
    random = torch.Generator().manual_seed(_SEED)
    shape = network.input_shape.batched(sizes.batch)
    yield "random input", torch.rand(shape, generator=random)
    if sizes.any_batch:
        yield f"{sizes.batch + 2} random inputs", torch.rand((sizes.batch + 2, *shape[1:]), generator=random)
    if sizes.any_size:
        larger = (*shape[:2], shape[2] + sizes.step, shape[3] + 3 * sizes.step)
        yield f"random input of {larger[3]} x {larger[2]}", torch.rand(larger, generator=random)
    sees = not network.input_shape.flat and network.input_shape.channels in (1, 3)
    if images and not sees:
        raise InputError(f"images: the network takes {network.input_shape}, which no photograph has")
    if sees:
        pictures = {"drawn scene": draw_scene(_SEED).image} | {str(path): read_image(path) for path in images}
        for name, picture in pictures.items():
            x, _ = to_input(picture, network.input_size, resize, network.input_shape.channels)
            yield name, x.expand(sizes.batch, *x.shape).clone()


def _resize_of(network: Network, resize: str | None) -> str:
    if resize is not None:
        return check_resize(resize)
    return "letterbox" if network.options.letter_box else network.dialect.resize


def _names_of(network: Network, names: Sequence[str]) -> list[str]:
    found = list(names or network.names)
    classes = network.heads[-1].reported_classes if network.heads else len(found)
    if found and len(found) != classes:
        raise DataError(f"names: got {len(found)} names, but the network has {classes} classes (classes= in the cfg)")
    return found


@contextmanager
def _answering(module: Traceable) -> Iterator[Callable[[Tensor], list[Tensor]]]:
    """A module as a function, without gradients."""
    with torch.inference_mode():
        yield lambda x: list(module(x))


def _compare(job: _Job, run: Callable[[Tensor], Sequence[Any]]) -> tuple[list[Comparison], list[Tensor]]:
    """Every trial input through the file and through the network; the first one's outputs beside."""
    comparisons, first = [], None
    with _answering(job.reference) as answer:
        for what, x in job.inputs.items():
            wanted = answer(x)
            first = first or wanted
            comparisons.append(compare_values(what, wanted, run(x), job.reference.output_names))
    return comparisons, first or []


def _export_onnx(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    onnx = load_extra("onnx", "export")
    job = _Job.plan(network, settings, fold=True)
    model = to_model(job.module, job.example, job.module.input_name, job.module.output_names,
                     dimensions=job.sizes.dimensions(), opset=settings.opset)
    facts = job.facts
    if settings.level == "nms":
        append_suppression(model, settings.suppression)
        facts = facts | {SCORE: str(settings.suppression.threshold), OVERLAP: str(settings.suppression.overlap),
                         MAX_BOXES: str(settings.suppression.max_boxes), "nms": "iou"}
    set_facts(model, facts)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
        check_file(temporary)
        session = open_session(temporary)
        if settings.level == "nms":
            comparisons = _compare_suppressed(job, session)
        else:
            comparisons, _ = _compare(job, lambda x: session.run(None, {job.module.input_name: x.numpy()}))
    operators = (node.op_type for node in model.graph.node)
    return ExportReport((path,), "onnx", tuple(comparisons), _declared(session.get_inputs()),
                        _declared(session.get_outputs()), dict(sorted(Counter(operators).items())),
                        _notes(network, settings.level))


def _declared(arguments: Sequence[Any]) -> dict[str, list[int | str]]:
    return {argument.name: list(argument.shape) for argument in arguments}


def _compare_suppressed(job: _Job, session: Any) -> list[Comparison]:
    """At thresholds that no candidate comes near, so that the two must keep the same boxes."""
    comparisons = []
    names = [output.name for output in session.get_outputs()]
    with _answering(job.reference) as answer:
        for what, x in job.inputs.items():
            boxes, scores, objectness = answer(x)
            threshold, overlap = clear_thresholds(boxes, scores, objectness)
            found = session.run(names, {
                job.module.input_name: x.numpy(), SCORE: torch.tensor([threshold]).numpy(),
                OVERLAP: torch.tensor([overlap]).numpy(), MAX_BOXES: torch.tensor([boxes.shape[1]]).numpy()})
            comparisons.append(compare_kept(what, suppress(boxes, scores, objectness, threshold, overlap),
                                            dict(zip(names, found, strict=True))))
    return comparisons


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
        comparison = _compare_networks(network, rebuild(temporary, network.dialect.name))
    return ExportReport((path,), path.suffix[1:].lower(), (comparison,))


def _compare_networks(network: Network, again: Network) -> Comparison:
    x = torch.rand(network.input_shape.batched(1), generator=torch.Generator().manual_seed(_SEED))
    with torch.inference_mode():
        names = [f"the answer of layer {index}" for index in network.answer_indices]
        return compare_values("random input", network.answers(x), again.answers(x), names)


def _export_darknet(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    comparisons: list[Comparison] = []
    weights = write_darknet(fold_batch_norm(network) if settings.fold else network, path,
                            lambda again: comparisons.append(_compare_networks(network, again)))
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
