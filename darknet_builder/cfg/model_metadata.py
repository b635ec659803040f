"""Model files known by their names, and the text beside the tensors. Nothing here imports PyTorch.

``model_files`` reads and writes the files themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.errors import InputError

SAFETENSORS, STATE_DICT, GRAPH = ".safetensors", ".pt", ".onnx"
GRAPH_KEY, RAW_KEY = "darknet_builder", "raw_maps"
"""Keys in the metadata of a quantized ONNX file: ``ModelMetadata`` as JSON, and the names of the
tensors that hold the raw maps."""
_LARGEST_SIZE = 2**31 - 1
_LARGEST_HEADER = 2**64 - 1
"""``seen`` has 64 bits in a ``.weights`` file."""
_SHOWN = 40
"""Number of characters of a wrong value that a message quotes."""


@dataclass(frozen=True)
class ModelMetadata:
    """The text beside the tensors of a model file, from which the network is rebuilt.

    Attributes:
        cfg: the network as cfg text; empty in a file that has only weights.
        names: class names, or empty if unknown.
        dialect: name of the dialect.
        width: width of the input in pixels; 0 for the cfg's.
        height: height of the input in pixels; 0 for the cfg's.
        header: major, minor, revision and ``seen`` of the ``.weights`` file that the network came
            from.
    """

    cfg: str = ""
    names: tuple[str, ...] = ()
    dialect: str = "alexeyab"
    width: int = 0
    height: int = 0
    header: tuple[int, int, int, int] = (0, 2, 5, 0)

    def as_text(self) -> dict[str, str]:
        """Return the metadata as strings, the only values that safetensors accepts."""
        return {
            "format": "pt",
            "cfg": self.cfg,
            "names": json.dumps(list(self.names), ensure_ascii=False),
            "dialect": self.dialect,
            "size": f"{self.width} {self.height}",
            "header": " ".join(map(str, self.header)),
        }

    @classmethod
    def from_text(cls, text: object) -> ModelMetadata:
        """Read what ``as_text`` returned, from a file that anyone may have written.

        Args:
            text: the metadata of a file; strings by name are expected, and others ignored.

        Raises:
            ValueError: in one line, if a value is not what ``as_text`` writes.
        """
        if not isinstance(text, Mapping):
            raise ValueError(f"its metadata is a {type(text).__name__}; expected texts by name")
        values = {key: text[key] for key in cls().as_text() if key in text}
        for key, value in values.items():
            if not isinstance(value, str):
                raise _unexpected(key, value, "a text")
        width, height = _numbers(values, "size", "0 0", _LARGEST_SIZE)
        major, minor, revision, seen = _numbers(values, "header", "0 2 5 0", _LARGEST_HEADER)
        dialect = values.get("dialect", "alexeyab")
        if dialect not in DIALECTS:
            raise _unexpected("dialect", dialect, " or ".join(DIALECTS))
        header = (major, minor, revision, seen)
        return cls(values.get("cfg", ""), _names(values), dialect, width, height, header)


def _unexpected(key: str, value: object, expected: str) -> ValueError:
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}..."
    return ValueError(f"its metadata has {key} {shown}; expected {expected}")


def _numbers(values: Mapping[str, str], key: str, default: str, largest: int) -> list[int]:
    """Return as many whole numbers from 0 to ``largest`` as the default has."""
    words = values.get(key, default).split()
    count = len(default.split())
    digits = len(str(largest))
    numbers = [int(word) for word in words if word.isdecimal() and len(word) <= digits]
    if len(words) != count or len(numbers) != count or max(numbers) > largest:
        raise _unexpected(key, values[key], f"{count} whole numbers")
    return numbers


def _names(values: Mapping[str, str]) -> tuple[str, ...]:
    text = values.get("names", "[]")
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: deeply nested lists
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _unexpected("names", text, "a JSON list of texts")
    return tuple(names)


def is_model_file(path: object) -> bool:
    """Return whether a path has the suffix of a model file."""
    return (
        isinstance(path, str | Path)
        and "\n" not in str(path)
        and (Path(path).suffix.lower() in (SAFETENSORS, STATE_DICT))
    )


def is_graph_file(path: object) -> bool:
    """Return whether a path has the suffix of an ONNX file, which can be run but not trained."""
    return isinstance(path, str | Path) and Path(path).suffix.lower() == GRAPH


def refuse_second_weights(cfg: object, weights: str | Path | None) -> None:
    """Check that no weights are given for a network whose file already has weights.

    Raises:
        InputError: if they are, with both paths.
    """
    if weights is not None and (is_model_file(cfg) or is_graph_file(cfg)):
        raise InputError(f"{cfg} holds weights already; leave {weights} out")
