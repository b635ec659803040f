"""Model files known by their names, and the text beside the tensors. Nothing here imports PyTorch.

``model_files`` reads and writes the files themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.errors import InputError

SAFETENSORS, STATE_DICT = ".safetensors", ".pt"


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
    def from_text(cls, text: Mapping[str, str]) -> ModelMetadata:
        """Read what ``as_text`` returned.

        Raises:
            ValueError: if a number cannot be parsed.
        """
        width, height = map(int, text.get("size", "0 0").split())
        major, minor, revision, seen = map(int, text.get("header", "0 2 5 0").split())
        return cls(
            text.get("cfg", ""),
            tuple(json.loads(text.get("names", "[]"))),
            text.get("dialect", "alexeyab"),
            width,
            height,
            (major, minor, revision, seen),
        )


def is_model_file(path: object) -> bool:
    """Return whether a path has the suffix of a model file."""
    return (
        isinstance(path, str | Path)
        and "\n" not in str(path)
        and (Path(path).suffix.lower() in (SAFETENSORS, STATE_DICT))
    )


def refuse_second_weights(cfg: object, weights: str | Path | None) -> None:
    """Check that no weights are given for a network whose file already has weights.

    Raises:
        InputError: if they are, with both paths.
    """
    if weights is not None and is_model_file(cfg):
        raise InputError(f"{cfg} holds weights already; leave {weights} out")
