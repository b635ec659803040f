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
    """The text beside the tensors of a model file: what rebuilds the network.

    Attributes:
        cfg: the network as cfg text; empty in a file of weights alone.
        names: of the classes, where they are known.
        dialect: whose rules hold.
        width, height: of the input in pixels; 0 means what the cfg says.
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
        """Text by key, as safetensors wants it."""
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
        """The way back.

        Raises:
            ValueError: for numbers that are none.
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
    """Whether this is the path of such a file, by its suffix."""
    return (
        isinstance(path, str | Path)
        and "\n" not in str(path)
        and (Path(path).suffix.lower() in (SAFETENSORS, STATE_DICT))
    )


def refuse_second_weights(cfg: object, weights: str | Path | None) -> None:
    """See that no weights are given to a network whose file holds its own.

    Raises:
        InputError: naming both.
    """
    if weights is not None and is_model_file(cfg):
        raise InputError(f"{cfg} holds weights already; leave {weights} out")
