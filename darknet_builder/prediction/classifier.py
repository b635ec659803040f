"""``Classifier``: a classifier, its weights and its class names as one callable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.export.quantized.settings import NUM_IMAGES
from darknet_builder.images.crop import fit_image
from darknet_builder.images.fits import FITS, check_resize
from darknet_builder.images.inputs import Image, as_sequence, to_array
from darknet_builder.network.batch_memory import explaining_memory
from darknet_builder.network.task import class_names, count_classes, default_resize, find_tree
from darknet_builder.prediction.loading import (
    ModelSource,
    build_unloaded,
    choose_runner,
    load_into,
    one_thread,
    resolve_model,
)
from darknet_builder.prediction.quantizing import Calibration
from darknet_builder.support.devices import find_device


@dataclass(frozen=True)
class ClassScore:
    """A class and its score for one image.

    Attributes:
        class_id: number of the class.
        name: name of the class.
        score: probability of the class if the network ends in [softmax], otherwise its raw output.
            In a hierarchy, the product of the probabilities along the path from the root.
        parent: name of the parent class; None without a hierarchy.

    Example:
        >>> ClassScore(3, "cat", 0.5).to_dict()
        {'class_id': 3, 'name': 'cat', 'score': 0.5}
    """

    class_id: int
    name: str
    score: float
    parent: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON; ``parent`` is left out if it is None."""
        parent = {} if self.parent is None else {"parent": self.parent}
        return {"class_id": self.class_id, "name": self.name, "score": self.score, **parent}


class Classifier:
    """Classify photographs, as ``darknet classifier predict`` does.

    ``classifier(image)`` returns a list of ``ClassScore``, the highest score first; for a list of
    images it returns a list of such lists. An image is anything that ``Detector`` accepts. Several
    threads may call one classifier.

    Args:
        cfg: path of a cfg, its text, Blocks, a ``.safetensors`` or ``.pt`` file written by
            ``export``, an ``.onnx`` file that it wrote in int8, or a Network that is built and
            loaded. A Network is put into eval mode. Or the name of a model or a folder, as for
            ``find_model``, which finds weights and names.
        weights: path of the ``.weights`` file; None for a model's name or folder, a Network or a
            file that contains weights.
        names: class names, as a path of a ``.names`` file or as a list. Default: the names of the
            model or the model file, those of the cfg's tree, or ``class 0``, ``class 1``, ...
        top: number of classes to return for each image.
        fit: ``crop``, ``stretch`` or ``letterbox``. Default: the dialect's.
        width: width of the network's input in pixels. Default: the cfg's.
        height: height of the network's input in pixels. Default: the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``, as for ``build_network``.
        device: torch device. Default: the CPU, or the device of a given Network.
        batch: number of images in a call of the network.
        precision: ``float32``, ``bfloat16``, ``float16`` (GPUs) or ``auto``; see
            ``Network.optimized``. Or ``int8``, which needs ``calibrate``.
        backend: ``torch``, ``compile``, ``onnxruntime``, ``openvino`` or ``auto``; these run a
            copy of the network in its present state. Default: ``torch``; a given Network runs
            itself, so that it can still be trained.
        calibrate: for int8, photographs like those that the network will see: an image, a folder,
            a glob, or a ``.data`` file. The quantized file is kept beside the weights.
        calibration_images: most photographs to calibrate on.

    Attributes:
        network: the loaded network, in eval mode.
        names: one name for each class.
        top: number of classes to return, at most the number of classes.
        batch: number of images in a call of the network.
        fit: how images are fitted into the input.
        tree: the hierarchy of classes; None without one.
        runner: what computes the outputs: the network or its optimised copy.

    Raises:
        DarknetError: as ``build_network`` and ``load_weights``; ``InputError`` if an argument is
            out of range or the network is not a classifier; ``DataError`` if the names do not fit.

    Example:
        >>> cfg = '''
        ... [net]
        ... width=8
        ... height=8
        ... channels=3
        ... [convolutional]
        ... filters=3
        ... activation=linear
        ... [avgpool]
        ... [softmax]
        ... '''
        >>> import numpy as np
        >>> from darknet_builder import build_network
        >>> classifier = Classifier(build_network(cfg), names=["red", "green", "blue"], top=1)
        >>> [len(scores) for scores in classifier([np.zeros((20, 30, 3), np.uint8)] * 2)]
        [1, 1]
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
        calibrate: str | Path | None = None,
        calibration_images: int = NUM_IMAGES,
    ) -> None:
        for name, value in (("top", top), ("batch", batch)):
            if value < 1:
                raise InputError("expected 1 or more", argument=name, value=value)
        target = find_device(device)
        cfg, weights, names = resolve_model(cfg, weights, names)
        self.network = build_unloaded(cfg, weights, width=width, height=height, dialect=dialect)
        classes = count_classes(self.network)
        self.network.check_sees_images()
        self.top, self.batch = min(top, classes), batch
        self.fit = check_resize(fit or default_resize(self.network), FITS, "fit")
        self.tree = find_tree(self.network)
        self.names = class_names(self.network, names)
        load_into(self.network, cfg, weights, device=target)
        calibration = Calibration.of(calibrate, calibration_images, self.fit)
        self.runner = choose_runner(
            self.network, cfg, precision, backend, batch, weights=weights, calibration=calibration
        )

    @overload  # a str is a Sequence of str as well, but the first signature is tried first
    def __call__(  # type: ignore[overload-overlap]
        self, images: Image, *, channels: str = "bgr"
    ) -> list[ClassScore]: ...

    @overload
    def __call__(
        self, images: Sequence[Image], *, channels: str = "bgr"
    ) -> list[list[ClassScore]]: ...

    def __call__(
        self, images: Image | Sequence[Image], *, channels: str = "bgr"
    ) -> list[ClassScore] | list[list[ClassScore]]:
        """Classify an image, or each of several.

        Args:
            images: one image, or a list.
            channels: channel order of arrays: ``bgr`` or ``rgb``. Does not affect other images.

        Raises:
            ImageError: if a file cannot be read or an image cannot be decoded.
            InputError: if an object is not an image, or ``channels`` is unknown.
        """
        sequence, is_single = as_sequence(images)
        scores: list[list[ClassScore]] = []
        for start in range(0, len(sequence), self.batch):
            scores += self._classify(sequence[start : start + self.batch], channels)
        return scores[0] if is_single else scores

    def _classify(self, images: Sequence[Image], channels: str) -> list[list[ClassScore]]:
        return self.rank(torch.stack([self.prepare(image, channels) for image in images]))

    def prepare(self, image: Image, channels: str = "bgr") -> Tensor:
        """Read an image and fit it into the network's input.

        Args:
            image: one image.
            channels: channel order of an array: ``bgr`` or ``rgb``.

        Returns:
            (C, height, width) float32 in [0, 1].

        Raises:
            ImageError: if the file cannot be read, or the image is too thin to be cropped.
            InputError: if the object is not an image, or ``channels`` is unknown.
        """
        array = to_array(image, channels)
        return fit_image(array, self.network.input_size, self.fit, self.network.options.channels)

    def rank(self, x: Tensor) -> list[list[ClassScore]]:
        """Return the classes with the highest scores for each image of a batch.

        Args:
            x: (B, C, height, width) float32, images from ``prepare``.

        Returns:
            For each image ``top`` classes, the highest score first.
        """
        # The sort is stable: of equal scores the lower number comes first, as in Darknet's top_k.
        scores, order = self.scores(x).sort(dim=1, descending=True, stable=True)
        best_scores, best_ids = scores[:, : self.top].tolist(), order[:, : self.top].tolist()
        return [
            list(map(self._class_score, *pair)) for pair in zip(best_ids, best_scores, strict=True)
        ]

    @torch.inference_mode()
    def scores(self, x: Tensor) -> Tensor:
        """Run the network on a batch and return all scores, on the CPU.

        Args:
            x: (B, C, height, width) float32, images from ``prepare``.

        Returns:
            (B, classes) float32.

        Raises:
            InputError: if memory is short, with the batch that would fit.
        """
        with one_thread(self.network):
            self.network.reset_state()  # photographs are independent of each other
            with explaining_memory(self.network, len(x)):
                output = self.runner(x.to(self.network.device))
        assert isinstance(output, Tensor)  # a network without heads returns one tensor
        outputs = output.flatten(1).float().cpu()  # (B, classes, 1, 1) -> (B, classes)
        if self.tree is None:
            return outputs
        # The network's outputs are relative to the siblings of each class.
        probabilities = self.tree.multiply_down(outputs)
        if self.network.dialect.classify_leaves:
            # pjreddie's Darknet never reports a class that has children.
            probabilities[:, sorted(set(self.tree.parents) - {-1})] = 0
        return probabilities

    def _class_score(self, class_id: int, score: float) -> ClassScore:
        if self.tree is None:
            return ClassScore(class_id, self.names[class_id], score)
        parent = self.tree.parents[class_id]
        parent_name = self.names[parent] if parent >= 0 else "Root"
        return ClassScore(class_id, self.names[class_id], score, parent_name)
