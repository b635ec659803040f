"""A classifier, its weights and its class names as one callable: photographs in, the likeliest
classes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.images.crop import fit_image
from darknet_builder.images.files import read_image
from darknet_builder.images.fits import FITS, check_resize
from darknet_builder.network.task import class_names, count_classes, default_resize, find_tree
from darknet_builder.prediction.loading import ModelSource, build_unloaded, choose_runner, load_into
from darknet_builder.support.devices import find_device

Image = str | Path | np.ndarray
"""A file, or an array (H, W, 3) of uint8 with blue, green, red, as ``cv2.imread`` gives."""


@dataclass(frozen=True)
class ClassScore:
    """One class, and how much an image is of it.

    Attributes:
        class_id: its number.
        name: its name.
        score: its probability, where the network ends in a [softmax]; with a hierarchy, down the
            whole path.
        parent: the name of the class above it, where there is a hierarchy.
    """

    class_id: int
    name: str
    score: float
    parent: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        above = {} if self.parent is None else {"parent": self.parent}
        return {"class_id": self.class_id, "name": self.name, "score": self.score, **above}


class Classifier:
    """Names what is in photographs, as ``darknet classifier predict`` does.

    ``classifier(image)`` gives a list of ``ClassScore``, the best first; a list of images gives a
    list of such lists.

    Args:
        cfg: a path, the text, Blocks, a ``.safetensors`` or ``.pt`` file that ``export`` wrote, or
            a Network that is built and loaded; that one is put into eval mode.
        weights: the ``.weights`` file; None with a Network, or with a file that holds weights too.
        names: of the classes, as a ``.names`` file or a list; without, the network's own, those of
            the cfg's tree, or ``class 0``, ...
        top: how many classes an image gets.
        fit: one of ``images.FITS``; None is the dialect's own way.
        width: of the network's input in pixels, instead of the cfg's.
        height: likewise.
        dialect: whose rules hold, as for ``build_network``.
        device: where it runs, as torch names it; None is the CPU, or where a given Network is.
        batch: how many images of a list go through the network at once.
        precision: ``float32``, ``bfloat16`` or ``auto``; see ``Network.optimized``.
        backend: ``torch``, ``compile``, ``onnxruntime``, ``openvino`` or ``auto``, which run a copy
            of the network as it is now. None means ``torch``; a Network that was given runs itself,
            so that it may still be trained.

    Raises:
        DarknetError: the kinds that ``build_network`` and ``load_weights`` raise; ``InputError``
            for an argument that is out of range or a network that is no classifier; ``DataError``
            for names that do not fit.
    """

    def __init__(
        self,
        cfg: ModelSource,
        weights: str | Path | None = None,
        names: str | Path | Sequence[str] | None = None,
        *,
        top: int = 5,
        fit: str | None = None,
        width: int | None = None,
        height: int | None = None,
        dialect: str | None = None,
        device: str | torch.device | None = None,
        batch: int = 1,
        precision: str = "float32",
        backend: str | None = None,
    ) -> None:
        for name, value in (("top", top), ("batch", batch)):
            if value < 1:
                raise InputError("expected 1 or more", argument=name, value=value)
        target = find_device(device)
        self.network = build_unloaded(cfg, weights, width=width, height=height, dialect=dialect)
        classes = count_classes(self.network)
        self.top, self.batch = min(top, classes), batch
        self.fit = check_resize(fit or default_resize(self.network), FITS, "fit")
        self.tree = find_tree(self.network)
        self.names = class_names(self.network, names)
        load_into(self.network, cfg, weights, device=target)
        self.runner = choose_runner(self.network, cfg, precision, backend, batch)

    @overload  # a str is a Sequence of str as well, but the first signature is tried first
    def __call__(self, images: Image) -> list[ClassScore]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, images: Sequence[Image]) -> list[list[ClassScore]]: ...

    def __call__(
        self, images: Image | Sequence[Image]
    ) -> list[ClassScore] | list[list[ClassScore]]:
        """Name what is in an image, or in each of several.

        Raises:
            ImageError: for a file that cannot be read.
            InputError: for what is no image.
        """
        if isinstance(images, str | Path | np.ndarray):
            return self._classify([images])[0]
        found = []
        for start in range(0, len(images), self.batch):
            found += self._classify(images[start : start + self.batch])
        return found

    def _classify(self, images: Sequence[Image]) -> list[list[ClassScore]]:
        return self.rank(torch.stack([self.prepare(image) for image in images]))

    def prepare(self, image: Image) -> Tensor:
        """One image -> (C, H, W), what the network takes.

        Raises:
            ImageError: for a file that cannot be read, or an image that is too thin to be cropped.
            InputError: for what is no image.
        """
        array = read_image(image) if isinstance(image, str | Path) else image
        return fit_image(array, self.network.input_size, self.fit, self.network.options.channels)

    def rank(self, x: Tensor) -> list[list[ClassScore]]:
        """A batch of images from ``prepare``, (B, C, H, W) -> the likeliest classes of each."""
        # A stable sort: of equal scores the lower number comes first, as in Darknet's top_k.
        scores, order = self.scores(x).sort(dim=1, descending=True, stable=True)
        return [
            [
                self._class_score(class_id, score)
                for class_id, score in zip(
                    ids[: self.top].tolist(), row[: self.top].tolist(), strict=True
                )
            ]
            for ids, row in zip(order, scores, strict=True)
        ]

    @torch.inference_mode()
    def scores(self, x: Tensor) -> Tensor:
        """A batch of images from ``prepare``, (B, C, H, W) -> (B, classes), on the CPU."""
        self.network.reset_state()
        output = self.runner(x.to(self.network.device))
        assert isinstance(output, Tensor)  # a network without heads
        shares = output.flatten(1).float().cpu()
        if self.tree is None:
            return shares
        absolute = self.tree.multiply_down(shares)
        if self.network.dialect.classify_leaves:
            absolute[:, sorted(set(self.tree.parents) - {-1})] = 0
        return absolute

    def _class_score(self, class_id: int, score: float) -> ClassScore:
        if self.tree is None:
            return ClassScore(class_id, self.names[class_id], score)
        parent = self.tree.parents[class_id]
        return ClassScore(
            class_id, self.names[class_id], score, self.names[parent] if parent >= 0 else "Root"
        )
