"""What the tests of exported files share: a network is traced once, however often it is exported."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch

from darknet_builder.export.onnx import file as onnx_file
from darknet_builder.export.onnx import graph

_models: dict[object, Any] = {}


@pytest.fixture(autouse=True, scope="module")
def _traced_once() -> Iterator[None]:
    """Tracing takes most of the time of an export, so each network is traced once. What is done
    with the traced model is done for every test. Tests without PyTorch's exporter or what it needs are left alone."""
    exporter = torch.onnx.export

    def to_model(module: Any, example: torch.Tensor, *words: Any, **options: Any) -> Any:
        if torch.onnx.export is not exporter or None in map(
            sys.modules.get, ("onnx", "onnxscript")
        ):
            return graph.to_model(module, example, *words, **options)
        key = (_key(module), tuple(example.shape), str(words), str(options))
        if key not in _models:
            _models[key] = graph.to_model(module, example, *words, **options)
        return copy.deepcopy(_models[key])

    with mock.patch.object(onnx_file, "to_model", to_model):
        yield


def _key(module: Any) -> str:
    """Return what decides the traced model: the layers with their options, and the weights."""
    # The graph of level "nms" is that of "decoded"; suppression is appended to the traced model.
    level = "decoded" if module.level == "nms" else module.level
    digest = hashlib.sha256(repr((module, level, module.layout)).encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
