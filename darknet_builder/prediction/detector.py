"""A network, its weights and its class names as one callable: photographs in, ``Detections``
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast, overload

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.candidates import ScoredBoxes
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.formats import cxcywh_to_xyxy
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import InputError
from darknet_builder.images.files import check_image, read_image
from darknet_builder.images.fits import check_resize
from darknet_builder.images.resize import Placement, to_input
from darknet_builder.network.task import class_names, default_resize
from darknet_builder.prediction.loading import ModelSource, build_unloaded, choose_runner, load_into
from darknet_builder.prediction.postprocessing import find_objects, nms_rule
from darknet_builder.support.devices import find_device

Image = str | Path | np.ndarray
"""A file, or an array (H, W, 3) of uint8 with **blue, green, red**, as ``cv2.imread`` gives."""


class Prepared(NamedTuple):
    """An image that is read and resized.

    Attributes:
        image: (H, W, 3) uint8, blue, green, red.
        x: (C, height, width) float32 in [0, 1], the size of the network's input.
        placement: where the image lies in ``x``.
    """

    image: np.ndarray
    x: Tensor
    placement: Placement


class Detector:
    """Finds objects in photographs, as ``darknet detector test`` does.

    ``detector(image)`` gives ``Detections``, ``detector([image, ...])`` a list of them. An image is
    a path, or an array (H, W, 3) of uint8 with its channels in the order blue, green, red, as
    OpenCV gives; turn one that holds red, green, blue (PIL, torchvision) with ``array[..., ::-1]``.
    Files are turned as their EXIF orientation says.

    Args:
        cfg: a path, the text, Blocks, a ``.safetensors`` or ``.pt`` file that ``export`` wrote, or
            a Network that is built and loaded; that one is put into eval mode.
        weights: the ``.weights`` file; None with a Network, or with a file that holds weights too.
        names: of the classes, as a ``.names`` file or a list; ``class 0``, ``class 1``, ...
            without.
        threshold: only what is likelier than this counts, 0 to 1.
        nms: a box falls when it overlaps a better one of its class by more than this, 0 to 1; 1
            keeps all. How overlap is measured is the cfg's ``nms_kind``.
        resize: ``stretch``, ``letterbox`` or None, which means the cfg's ``letter_box=`` and the
            dialect's way.
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
            for an argument that is out of range or a network that finds no boxes; ``DataError`` for
            names that do not fit.
    """

    def __init__(
        self,
        cfg: ModelSource,
        weights: str | Path | None = None,
        names: str | Path | Sequence[str] | None = None,
        *,
        threshold: float = 0.25,
        nms: float = 0.45,
        resize: str | None = None,
        width: int | None = None,
        height: int | None = None,
        dialect: str | None = None,
        device: str | torch.device | None = None,
        batch: int = 1,
        precision: str = "float32",
        backend: str | None = None,
    ) -> None:
        self.threshold = _fraction("threshold", threshold)
        self.nms = _fraction("nms", nms)
        if batch < 1:
            raise InputError("expected 1 or more images", argument="batch", value=batch)
        self.batch = batch
        target = find_device(device)
        self.network = build_unloaded(cfg, weights, width=width, height=height, dialect=dialect)
        self._rule = nms_rule(self.network)
        self.names = class_names(self.network, names)
        self.resize = default_resize(self.network) if resize is None else check_resize(resize)
        load_into(self.network, cfg, weights, device=target)
        self.runner = choose_runner(self.network, cfg, precision, backend, batch)
        self._warm: set[int] = set()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    @property
    def has_memory(self) -> bool:
        """Whether the network has recurrent layers, so that frames of a video must come one by one
        and in order.
        """
        return self.network.is_recurrent

    @overload  # a str is a Sequence of str as well, but the first signature is tried first
    def __call__(
        self,
        images: Image,
        *,  # type: ignore[overload-overlap]
        keep_state: bool = False,
    ) -> Detections: ...

    @overload
    def __call__(
        self, images: Sequence[Image], *, keep_state: bool = False
    ) -> list[Detections]: ...

    def __call__(
        self, images: Image | Sequence[Image], *, keep_state: bool = False
    ) -> Detections | list[Detections]:
        """Find the objects.

        Args:
            images: one, or a list; see the class.
            keep_state: let recurrent layers remember the images of the call before: the frames of
                one video.

        Raises:
            ImageError: for a file that cannot be read.
            InputError: for what is no image.
        """
        if isinstance(images, str | Path | np.ndarray):
            return self._detect([images], keep_state)[0]
        if not isinstance(images, Sequence):
            check_image(cast(np.ndarray, images))  # says what was expected
        found = []
        for start in range(0, len(images), self.batch):
            found += self._detect(images[start : start + self.batch], keep_state)
        return found

    def _detect(self, images: Sequence[Image], keep_state: bool) -> list[Detections]:
        prepared = [self.prepare(image) for image in images]
        if not keep_state:
            self.network.reset_state()
        raw_maps = self.raw_maps(torch.stack([item.x for item in prepared]))
        return self.interpret(raw_maps, [item.placement for item in prepared])

    # ---- the stages, for those who overlap them --------------------------------------------------

    def prepare(self, image: Image) -> Prepared:
        """Read an image and resize it to the network's input.

        Raises:
            ImageError: for a file that cannot be read.
            InputError: for what is no image.
        """
        array = read_image(image) if isinstance(image, str | Path) else image
        x, placement = to_input(
            array, self.network.input_size, self.resize, self.network.options.channels
        )
        return Prepared(array, x, placement)

    def warm_up(self, batch: int) -> None:
        """Compile for a batch size now instead of in its first calls, once, where the engine
        compiles.
        """
        if (
            isinstance(self.runner, OptimizedNetwork)
            and self.runner.compiles
            and batch not in self._warm
        ):
            self.runner.warm_up(batch)
            self._warm.add(batch)

    @torch.inference_mode()
    def raw_maps(self, x: Tensor) -> list[Tensor]:
        """Run the network on a batch: (B, C, H, W) in [0, 1] -> the raw map of every head."""
        return cast(list[Tensor], self.runner(x.to(self.device)))

    @torch.inference_mode()
    def interpret(
        self, raw_maps: Sequence[Tensor], placements: Sequence[Placement]
    ) -> list[Detections]:
        """Turn raw maps into the objects of each image."""
        found = find_objects(
            self.network,
            raw_maps,
            placements,
            threshold=self.threshold,
            nms=self.nms,
            rule=self._rule,
        )
        return [self._to_detections(*pair) for pair in zip(found, placements, strict=True)]

    def _to_detections(self, found: ScoredBoxes, placement: Placement) -> Detections:
        boxes_xyxy = cxcywh_to_xyxy(found.boxes_cxcywh) * np.array(
            placement.image_size * 2, np.float32
        )  # pixels
        return Detections(
            boxes_xyxy, found.scores, found.class_ids, self.names, placement.image_size
        )


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError("expected a number from 0 to 1", argument=name, value=value)
    return float(value)
