"""A network -> an ONNX file that onnxruntime runs with the same results."""

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
from darknet_builder.export.nms_check import clear_thresholds, compare_kept, suppress
from darknet_builder.export.onnx_graph import (
    append_suppression,
    expose_candidates,
    set_metadata,
    to_model,
)
from darknet_builder.export.onnx_runtime import check_file, open_session
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
"""The kinds of suppression that ONNX's operator does exactly."""


def trace_onnx(network: Network, settings: ExportSettings) -> Any:
    """The ``onnx.ModelProto`` that ``export_network`` writes, not yet held against anything.

    Raises:
        InputError: with the reason, for a network or a setting that it cannot hold.
        MissingExtraError: for a package that is not installed.
    """
    check_settings("onnx", settings)
    return _trace_onnx(ExportJob.plan(at_rest(network), settings, fold=True), settings)


def _trace_onnx(job: ExportJob, settings: ExportSettings) -> Any:
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
    """Write an ONNX file, run it by onnxruntime and compare it with the network.

    Args:
        network: in eval mode on the CPU.
        path: of the file.
        settings: checked.

    Raises:
        DarknetError: the kinds that ``export_network`` raises.
        OSError: when the file cannot be written.
    """
    onnx = load_extra("onnx", "export")
    job = ExportJob.plan(network, settings, fold=True)
    model = _trace_onnx(job, settings)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
        check_file(temporary)
        session = open_session(temporary)
        if settings.level == "nms":
            comparisons = _compare_suppressed(job, session, model)
        else:
            comparisons, _ = job.compare(
                lambda x: session.run(None, {job.module.input_name: x.numpy()})
            )
    operators = (node.op_type for node in model.graph.node)
    return ExportReport(
        (path,),
        "onnx",
        tuple(comparisons),
        _declared(session.get_inputs()),
        _declared(session.get_outputs()),
        dict(sorted(Counter(operators).items())),
        _notes(network, settings.level),
    )


def _declared(arguments: Sequence[Any]) -> dict[str, list[int | str]]:
    return {argument.name: list(argument.shape) for argument in arguments}


def _compare_suppressed(job: ExportJob, session: Any, model: Any) -> list[Comparison]:
    """At thresholds that no candidate comes near, so that the two must keep the same boxes."""
    comparisons = []
    names = [output.name for output in session.get_outputs()]
    for what, x in job.inputs.items():
        boxes, scores, objectness = job.reference(x)
        threshold, overlap = clear_thresholds(boxes, scores, objectness)
        found = session.run(names, _suppression_inputs(job, x, boxes.shape[1], threshold, overlap))
        try:
            comparisons.append(
                compare_kept(
                    what,
                    suppress(boxes, scores, objectness, threshold, overlap),
                    dict(zip(names, found, strict=True)),
                )
            )
        except ExportError:
            comparisons.append(_compare_in_two_steps(job, what, [boxes, scores, objectness], model))
    return comparisons


def _suppression_inputs(
    job: ExportJob, x: Tensor, most: int, threshold: float, overlap: float
) -> dict[str, Any]:
    return {
        job.module.input_name: x.numpy(),
        SCORE: np.array([threshold], np.float32),
        OVERLAP: np.array([overlap], np.float32),
        MAX_BOXES: np.array([most]),
    }


def _compare_in_two_steps(
    job: ExportJob, what: str, wanted: Sequence[Tensor], model: Any
) -> Comparison:
    """Where rounding decides over a box: first the candidates, then what is left of the file's own.

    Raises:
        ExportError: when either differs.
    """
    names = [output.name for output in model.graph.output]
    session = open_session(expose_candidates(copy.deepcopy(model)).SerializeToString())
    x, most = job.inputs[what], wanted[0].shape[1]
    *_, boxes, scores, objectness = map(
        torch.from_numpy, session.run(None, _suppression_inputs(job, x, 1, 1.0, 1.0))
    )
    values = compare_values(
        what,
        wanted,
        [boxes, scores, objectness],
        job.module.output_names,
        partial(job.reference.precise, x),
    )
    threshold, overlap = clear_thresholds(boxes, scores, objectness)
    found = session.run(names, _suppression_inputs(job, x, most, threshold, overlap))
    kept = compare_kept(
        what,
        suppress(boxes, scores, objectness, threshold, overlap),
        dict(zip(names, found, strict=True)),
    )
    return replace(values, boxes=kept.boxes)


def _notes(network: Network, level: str) -> tuple[str, ...]:
    kind = network.heads[-1].nms_kind if network.heads else "default"
    if level != "nms" or kind in _PLAIN_IOU:
        return ()
    return (
        (
            f"the cfg asks for nms_kind={kind}, which weighs the distance of centres too; ONNX's"
            " NonMaxSuppression knows plain IoU alone, so that of close boxes others may be left."
            " Level decoded leaves the choice to you"
        ),
    )
