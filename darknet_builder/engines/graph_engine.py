"""Run a quantized ONNX file in ONNX Runtime or OpenVINO, on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from darknet_builder.cfg.model_files import read_graph
from darknet_builder.cfg.model_metadata import RAW_KEY
from darknet_builder.engines.base import one_line_errors
from darknet_builder.engines.names import GRAPH_BACKENDS
from darknet_builder.engines.openvino_engine import OpenVinoModel
from darknet_builder.errors import ExportError, InputError, WeightsError
from darknet_builder.export.onnx.runtime import runtime_errors
from darknet_builder.export.quantized.running import batch_of, in_batches, raw_part, run_raw
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra


class GraphEngine:
    """Run the part of a file that computes the raw maps, whatever the file's own outputs are.

    Args:
        network: the network of the file, from ``build_graph_network``.
        backend: one of ``GRAPH_BACKENDS``.

    Raises:
        InputError: for another backend, or if it cannot run the file.
        WeightsError: if the file does not fit the network that it describes.
        MissingExtraError: if the backend is not installed.
    """

    compiles = False

    def __init__(self, network: Network, backend: str) -> None:
        assert network.graph_file is not None
        if backend not in GRAPH_BACKENDS:
            raise InputError(
                f"backend={backend!r} cannot run this file; use {' or '.join(GRAPH_BACKENDS)}",
                path=network.graph_file,
            )
        model = _raw_model(network)
        self._run, self.detail = _BACKENDS[backend](model)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        return self._run(x)


def _raw_model(network: Network) -> Any:
    """Return the part of the network's file that computes the raw maps.

    Raises:
        WeightsError: if it computes something else than the network's layers.
    """
    path = network.graph_file
    assert path is not None
    model, _ = read_graph(path)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    errors = (ValueError, KeyError, TypeError, IndexError, AttributeError)
    try:
        raw = raw_part(model, json.loads(texts[RAW_KEY]))
        found = [_sizes(value) for value in (raw.graph.input[0], *raw.graph.output)]
    except errors as error:
        raise WeightsError(f"has no raw maps: {str(error).splitlines()[0]}", path=path) from None
    layers = network.sequence()
    wanted = [layers[index].out_shape.batched(1)[1:] for index in network.output_indices]
    wanted = [network.input_shape.batched(1)[1:], *wanted]
    if len(found) != len(wanted) or not all(map(_agree, found, wanted)):
        raise WeightsError(
            f"has an input and raw maps of {found}, but its cfg describes {wanted}",
            path=path,
            hint="export it again",
        )
    return raw


def _sizes(value: Any) -> tuple[int, ...]:
    """Return the sizes of an input or output of a graph, without the batch; 0 for a free size."""
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim[1:])


def _agree(found: Sequence[int], wanted: Sequence[int]) -> bool:
    # Shape inference may leave the sizes of a map unknown; an engine then reports a wrong one.
    pairs = zip(found, wanted, strict=False)
    return all(size in (0, expected) for size, expected in pairs)


_Run = Callable[[Tensor], list[Tensor]]


def _open_in_onnxruntime(model: Any) -> tuple[_Run, str]:
    runtime = load_extra("onnxruntime", "export")
    errors = runtime_errors()
    with one_line_errors("onnxruntime", (*errors, ExportError)):
        run = run_raw(model)

    def run_safely(x: Tensor) -> list[Tensor]:
        with one_line_errors("onnxruntime", errors):
            return run(x)

    return run_safely, f"onnxruntime {runtime.__version__}"


def _open_in_openvino(model: Any) -> tuple[_Run, str]:
    compiled = OpenVinoModel("float32", lambda core: core.read_model(model.SerializeToString()))
    return in_batches(compiled, batch_of(model)), compiled.detail


_BACKENDS: dict[str, Callable[[Any], tuple[_Run, str]]] = {
    "openvino": _open_in_openvino,
    "onnxruntime": _open_in_onnxruntime,
}
