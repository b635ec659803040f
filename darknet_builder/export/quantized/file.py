"""Write a quantized ONNX file: trace, calibrate, quantize, judge, and check it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from darknet_builder.cfg.model_metadata import GRAPH_KEY, RAW_KEY
from darknet_builder.errors import InputError
from darknet_builder.export.darknet import model_metadata, portable_blocks
from darknet_builder.export.job import ExportJob, names_of, resize_of
from darknet_builder.export.onnx.file import report_of, suppression_notes
from darknet_builder.export.onnx.graph import (
    PRODUCER,
    append_suppression,
    set_metadata,
    to_model,
)
from darknet_builder.export.onnx.runtime import check_file, open_session
from darknet_builder.export.quantized.calibration import Photographs
from darknet_builder.export.quantized.checks import compare_quantized
from darknet_builder.export.quantized.quantizer import Int8Quantizer
from darknet_builder.export.quantized.ranking import Judged
from darknet_builder.export.quantized.running import raw_part, run_raw
from darknet_builder.export.quantized.settings import INT8, Int8Settings
from darknet_builder.export.settings import ExportReport, ExportSettings
from darknet_builder.export.traceable import Traceable
from darknet_builder.images.crop import fit_image
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path
from darknet_builder.support.version import VERSION

_NUM_COMPARED = 4
"""Number of calibration photographs that the file is compared on, and the layers are ranked by."""


class _WithRawMaps(nn.Module):
    """A network at its level, followed by the raw maps, so that the exporter gives them names."""

    def __init__(self, module: Traceable) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the outputs of the level, then the raw maps unless they are the same."""
        raw_maps = self.module.network.outputs(x)
        outputs = self.module.finish(raw_maps, x)
        return outputs if self.module.level == "raw" else (*outputs, *raw_maps)


def export_int8(network: Network, path: Path, settings: ExportSettings) -> ExportReport:
    """Write a quantized ONNX file.

    Args:
        network: a network in eval mode on the CPU.
        path: the file to write.
        settings: settings that ``check_settings`` has accepted, with ``int8``.

    Raises:
        DarknetError: the same kinds as ``export_network``. ``ExportError`` if the file differs
            from the network by too much, or loses more accuracy than it may; no file is left then.
        OSError: if the file cannot be written.
    """
    onnx = load_extra("onnx", INT8)
    assert settings.int8 is not None
    if network.input_shape.flat or network.input_shape.channels not in (1, 3):
        raise InputError(
            f"int8 is calibrated on photographs, but the network's input is {network.input_shape}"
        )
    job = ExportJob.plan(network, settings, fold=True)
    raw_names = job.module.raw_names
    model = _trace(job, settings)
    photographs = _photographs(network, settings, settings.int8)
    judged = _quantize(model, raw_names, photographs, settings.int8)
    with (
        portable_blocks(network, path.parent) as blocks,
        atomic_path(path) as temporary,
    ):
        carried = model_metadata(network, blocks, names_of(network, settings.names))
        own = {GRAPH_KEY: json.dumps(carried.as_text()), RAW_KEY: json.dumps(raw_names)}
        _sign(judged.model, job.metadata | own | {"precision": INT8})
        onnx.save(judged.model, str(temporary))
        # Read the file itself, not the model: what counts is what another program will read.
        check_file(temporary)
        session = open_session(temporary)
        comparisons = compare_quantized(
            onnx.load(str(temporary)), job.module, _compared(job, settings.images, photographs)
        )
    notes = suppression_notes(network, settings.level)
    return report_of(path, judged.model, session, comparisons, notes, judged.report(photographs))


def _trace(job: ExportJob, settings: ExportSettings) -> Any:
    """Return the ``onnx.ModelProto`` in float32, in which the raw maps have their names."""
    module = job.module
    names = list(dict.fromkeys([*module.output_names, *module.raw_names]))
    model = to_model(
        _WithRawMaps(module).eval(),
        job.example,
        module.input_name,
        names,
        dimensions=job.sizes.dimensions(),
        opset=settings.opset,
    )
    del model.graph.output[len(module.output_names) :]
    if settings.level == "nms":
        append_suppression(model, settings.suppression)
    return model


def _photographs(network: Network, settings: ExportSettings, int8: Int8Settings) -> Photographs:
    fit = partial(
        fit_image,
        net_size=network.input_size,
        fit=resize_of(network, settings.resize),
        channels=network.input_shape.channels,
    )
    return Photographs(int8.images, fit, _NUM_COMPARED)


def _quantize(
    model: Any, raw_names: Sequence[str], photographs: Photographs, int8: Int8Settings
) -> Judged:
    """Calibrate and quantize a model, and return layers to float32 where the accuracy needs it."""
    quantizer = Int8Quantizer(model, raw_names, int8.symmetric)
    with tempfile.TemporaryDirectory(prefix="darknet-builder-") as folder:
        quantizer.calibrate(photographs, Path(folder))
    inputs = [x.unsqueeze(0) for x in photographs.kept.values()]
    judged = Judged(quantizer, raw_names, inputs, run_raw(raw_part(model, raw_names)))
    judged.keep_accuracy(int8)
    return judged


def _compared(
    job: ExportJob, images: Sequence[str | Path], photographs: Photographs
) -> dict[str, Tensor]:
    """Return the inputs to compare the file on, by name: photographs alone.

    Random numbers and the drawn scene may lie outside the calibrated ranges: a network of blood
    cells, calibrated on blood cells, was refused for 26 % of difference on the scene.
    """
    others = {str(path): job.inputs[str(path)] for path in images}
    batch = job.sizes.batch
    kept = {
        f"calibration image {path}": x.expand(batch, *x.shape).clone()
        for path, x in photographs.kept.items()
    }
    return others | kept


def _sign(model: Any, metadata: dict[str, str]) -> None:
    """Set the metadata and the producer, which the quantizer replaced by its own."""
    set_metadata(model, metadata)
    model.producer_name, model.producer_version = PRODUCER, VERSION
