"""The numbers that Darknet gave for the network of the lesson."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from darknet_builder.images.files import read_image
from darknet_builder.lessons.scratch.stubs import whole_solution
from darknet_builder.support.bundled import bundled_file

Blocks = list[dict[str, str]]


def make_code(source: str, name: str = "solution") -> ModuleType:
    """Run the text of a file such as the reader's, and return it as a module.

    Example:
        >>> make_code("def double(x): return 2 * x").double(4)
        8
    """
    module = ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102
    return module


@cache
def solution() -> ModuleType:
    """Return the solutions of all chapters as one module.

    Example:
        >>> solution().numbers("1,2")
        [1.0, 2.0]
    """
    return make_code(whole_solution())


@dataclass(frozen=True, eq=False)
class Recorded:
    """A network, a picture, and what Darknet computes with them.

    Attributes:
        cfg: text of scratch.cfg.
        blocks: what the solution's ``parse_cfg`` makes of it.
        weights: the bytes of scratch.weights; its header has 20 bytes.
        scene: (160, 240, 3) uint8; blue, green, red.
        arrays: the recorded numbers by name, as tests/golden/lesson/recorded.npz has them.

    Example:
        >>> recorded = load_recorded()
        >>> len(recorded.blocks), tuple(recorded.output(9).shape)
        (22, (1, 16, 3, 4))
    """

    cfg: str
    blocks: Blocks
    weights: bytes
    scene: np.ndarray
    arrays: dict[str, Tensor]

    @property
    def width(self) -> int:
        """Width of the network's input in pixels."""
        return int(self.blocks[0]["width"])

    @property
    def height(self) -> int:
        """Height of the network's input in pixels."""
        return int(self.blocks[0]["height"])

    @property
    def image(self) -> Tensor:
        """The network's input: the scene, letterboxed. (1, 3, height, width)."""
        return self.arrays["letterbox"].unsqueeze(0).clone()

    def old_weights(self) -> bytes:
        """Return the same weights with the 16-byte header of version 0.1."""
        return struct.pack("<iiii", 0, 1, 0, 6400) + self.weights[20:]

    def output(self, index: int) -> Tensor:
        """Return the output of a layer: (1, C, H, W).

        For a head, this is the map that it reads.
        """
        shape = self._shapes()[index]
        source = index - 1 if self.blocks[index + 1]["type"] == _HEAD else index
        return self.arrays[f"output/{source}"].view(shape).clone()

    def outputs(self, end: int) -> list[Tensor]:
        """Return the outputs of all layers before the layer ``end``."""
        return [self.output(index) for index in range(end)]

    def heads(self) -> list[int]:
        """Return the indices of the heads."""
        types = [block["type"] for block in self.blocks[1:]]
        return [index for index, kind in enumerate(types) if kind == _HEAD]

    def boxes(self, index: int) -> Tensor:
        """Return the decoded boxes of a head: (N, 7) in the order of ``decode``.

        Darknet goes through the cells, and in each cell through the anchors. Its last columns are
        class times objectness.
        """
        start = 0
        for head in self.heads():
            rows, columns = self.output(head).shape[2:]
            boxes = self.arrays["boxes"][start : start + 3 * rows * columns]
            start += len(boxes)
            if head == index:
                ordered = boxes.view(rows, columns, 3, 7).permute(2, 0, 1, 3).reshape(-1, 7)
                return torch.cat([ordered[:, :5], ordered[:, 5:] / ordered[:, 4:5]], dim=1)
        raise KeyError(index)

    def corners(self) -> Tensor:
        """Return the objects in the scene: (N, 6) class, score, left, top, right, bottom."""
        rows, columns = self.scene.shape[:2]
        class_id, score, x, y, w, h = self.arrays["detections"].unbind(1)
        left, right = (x - w / 2) * columns, (x + w / 2) * columns
        top, bottom = (y - h / 2) * rows, (y + h / 2) * rows
        return torch.stack([class_id, score, left, top, right, bottom], dim=1)

    @cache  # noqa: B019  (there is one object)
    def _shapes(self) -> list[torch.Size]:
        code = solution()
        modules = code.make_modules(self.blocks).eval()
        with torch.no_grad():
            return [output.shape for output in code.forward(self.blocks, modules, self.image)]


_HEAD = "yolo"


@cache
def load_recorded() -> Recorded:
    """Read the bundled files."""
    cfg = bundled_file("lesson", "scratch.cfg").read_text(encoding="utf-8")
    with np.load(bundled_file("lesson", "recorded.npz")) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    return Recorded(
        cfg=cfg,
        blocks=solution().parse_cfg(cfg),
        weights=bundled_file("lesson", "scratch.weights").read_bytes(),
        scene=read_image(bundled_file("lesson", "scene.png")),
        arrays=arrays,
    )


@cache
def shapes_files() -> tuple[str, bytes]:
    """Return the text of shapes.cfg and the bytes of shapes.weights."""
    cfg = bundled_file("cfg", "shapes.cfg").read_text(encoding="utf-8")
    return cfg, bundled_file("weights", "shapes.weights").read_bytes()
