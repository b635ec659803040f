"""Export a network to an ONNX file, and check that onnxruntime gives the same results."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ExportError
from darknet_builder.export.job import ExportJob, at_rest
from darknet_builder.export.onnx.graph import (
    append_suppression,
    expose_candidates,
    set_metadata,
    to_model,
)
from darknet_builder.export.onnx.nms_check import clear_thresholds, compare_kept, suppress
from darknet_builder.export.onnx.runtime import check_file, open_session
from darknet_builder.export.quantized.settings import Int8Report
from darknet_builder.export.settings import (
    MAX_BOXES,
    OVERLAP,
    SCORE,
    ExportReport,
    ExportSettings,
    check_settings,
)
from darknet_builder.export.tolerance import Comparison, compare_values
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path

_PLAIN_IOU = ("default", "cornersnms")
"""Values of ``nms_kind`` that ONNX's NonMaxSuppression computes exactly: plain IoU."""


def trace_onnx(network: Network, settings: ExportSettings) -> Any:
    """Return the ``onnx.ModelProto`` that ``export_network`` writes, without comparing it.

    Args:
        network: a network with its weights; it is not changed.
        settings: all but ``fold`` count; ONNX files always have batch norm folded.

    Raises:
        InputError: with the reason, if ONNX cannot hold the network or a setting.
        MissingExtraError: if a package of the extra ``export`` is not installed.
    """
    check_settings("onnx", settings)
    return _trace_onnx(ExportJob.plan(at_rest(network), settings, fold=True), settings)


def _trace_onnx(job: ExportJob, settings: ExportSettings) -> Any:
    """Trace a prepared network; returns the ``onnx.ModelProto``."""
    model = to_model(
        job.module,
        job.example,
        job.module.input_name,
        job.module.output_names,
        dimensions=job.sizes.dimensions(),
        opset=settings.opset,
    )
    set_metadata(model, job.metadata)
    if settings.level == "nms":
        append_suppression(model, settings.suppression)
    return model


def export_onnx(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    """Write an ONNX file, run it in onnxruntime and compare it with the network.

    Args:
        network: a network in eval mode on the CPU.
        path: the file to write.
        settings: settings that ``check_settings`` has accepted.

    Raises:
        DarknetError: the same kinds as ``export_network``.
        OSError: if the file cannot be written.
    """
    onnx = load_extra("onnx", "export")
    job = ExportJob.plan(network, settings, fold=True)
    model = _trace_onnx(job, settings)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
        # Read the file itself, not ``model``: what counts is what another program will read.
        check_file(temporary)
        session = open_session(temporary)
        if settings.level == "nms":
            comparisons = _compare_suppressed(job, session, model)
        else:
            input_name = job.module.input_name
            comparisons, _ = job.compare(lambda x: session.run(None, {input_name: x.numpy()}))
    notes = suppression_notes(network, settings.level)
    return report_of(path, model, session, comparisons, notes)


def report_of(
    path: Path,
    model: Any,
    session: Any,
    comparisons: Sequence[Comparison],
    notes: tuple[str, ...],
    int8: Int8Report | None = None,
) -> ExportReport:
    """Return the report of an ONNX file.

    Args:
        path: the file.
        model: its ``onnx.ModelProto``.
        session: the file in onnxruntime.
        comparisons: the differences from PyTorch.
        notes: what the file does differently.
        int8: how a quantized file was made.
    """
    operators = (node.op_type for node in model.graph.node)
    return ExportReport(
        (path,),
        "onnx",
        tuple(comparisons),
        _declared(session.get_inputs()),
        _declared(session.get_outputs()),
        dict(sorted(Counter(operators).items())),
        notes,
        int8,
    )


def _declared(arguments: Sequence[Any]) -> dict[str, list[int | str]]:
    """Return the shape of each input or output by name, as the file declares it."""
    return {argument.name: list(argument.shape) for argument in arguments}


def _compare_suppressed(job: ExportJob, session: Any, model: Any) -> list[Comparison]:
    """Compare the boxes that are left after suppression, at thresholds far from all candidates.

    At such thresholds the file and PyTorch must keep the same boxes.

    Raises:
        ExportError: if they do not.
    """
    comparisons = []
    names = [output.name for output in session.get_outputs()]
    for what, x in job.inputs.items():
        boxes, scores, objectness = job.reference(x)
        threshold, overlap = clear_thresholds(boxes, scores, objectness)
        inputs = _suppression_inputs(job, x, boxes.shape[1], threshold, overlap)
        outputs = dict(zip(names, session.run(names, inputs), strict=True))
        kept = suppress(boxes, scores, objectness, threshold, overlap)
        try:
            comparisons.append(compare_kept(what, kept, outputs))
        except ExportError:
            # A network that magnifies rounding may move a candidate across the threshold.
            # Comparing in two steps tells that from a wrong file.
            comparisons.append(_compare_in_two_steps(job, what, [boxes, scores, objectness], model))
    return comparisons


def _suppression_inputs(
    job: ExportJob, x: Tensor, max_boxes: int, threshold: float, overlap: float
) -> dict[str, Any]:
    """Return the inputs of a graph of level ``nms`` by name."""
    return {
        job.module.input_name: x.numpy(),
        SCORE: np.array([threshold], np.float32),
        OVERLAP: np.array([overlap], np.float32),
        MAX_BOXES: np.array([max_boxes]),
    }


def _compare_in_two_steps(
    job: ExportJob, what: str, expected: Sequence[Tensor], model: Any
) -> Comparison:
    """Compare the candidates first, then what suppression keeps of the file's own candidates.

    Args:
        job: the export whose inputs and settings are used.
        what: the name of the input, a key of ``job.inputs``.
        expected: PyTorch's boxes, scores and objectness for it.
        model: the ``onnx.ModelProto`` of level ``nms``; it is not changed.

    Raises:
        ExportError: if either differs.
    """
    names = [output.name for output in model.graph.output]
    session = open_session(expose_candidates(copy.deepcopy(model)).SerializeToString())
    x, num_boxes = job.inputs[what], expected[0].shape[1]
    # The candidates are the last three outputs. A score threshold of 1 leaves nothing to suppress.
    everything = session.run(None, _suppression_inputs(job, x, 1, 1.0, 1.0))
    boxes, scores, objectness = map(torch.from_numpy, everything[-3:])
    values = compare_values(
        what,
        expected,
        [boxes, scores, objectness],
        job.module.output_names,
        partial(job.reference.precise, x),
    )
    threshold, overlap = clear_thresholds(boxes, scores, objectness)
    inputs = _suppression_inputs(job, x, num_boxes, threshold, overlap)
    outputs = dict(zip(names, session.run(names, inputs), strict=True))
    kept = compare_kept(what, suppress(boxes, scores, objectness, threshold, overlap), outputs)
    return replace(values, boxes=kept.boxes)


def suppression_notes(network: Network, level: str) -> tuple[str, ...]:
    """Return what the file does differently from the network, one sentence each."""
    kind = network.heads[-1].nms_kind if network.heads else "default"
    if level != "nms" or kind in _PLAIN_IOU:
        return ()
    return (
        (
            f"the cfg asks for nms_kind={kind}, which also considers the distance between box"
            " centres; ONNX's NonMaxSuppression uses plain IoU only, so it may keep other boxes"
            " where objects are close together. Use level decoded to suppress boxes yourself"
        ),
    )
