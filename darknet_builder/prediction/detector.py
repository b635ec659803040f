"""``Detector``: a network, its weights and its class names as one callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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
from darknet_builder.export.quantized.settings import NUM_IMAGES
from darknet_builder.images.fits import check_resize
from darknet_builder.images.inputs import Image, as_sequence, to_array
from darknet_builder.images.resize import Placement, to_input
from darknet_builder.network.batch_memory import explaining_memory
from darknet_builder.network.task import class_names, default_resize
from darknet_builder.prediction.loading import (
    ModelSource,
    build_unloaded,
    choose_runner,
    load_into,
    one_thread,
    resolve_model,
)
from darknet_builder.prediction.postprocessing import find_objects, nms_rule, suppress
from darknet_builder.prediction.quantizing import Calibration
from darknet_builder.prediction.tiling import Tiling, find_in_tiles
from darknet_builder.support.devices import find_device


class Prepared(NamedTuple):
    """An image that has been read and resized.

    Attributes:
        image: (H, W, 3) uint8, channels in BGR order.
        x: (C, height, width) float32 in [0, 1], the size of the network's input.
        placement: position of the image within ``x``.
    """

    image: np.ndarray
    x: Tensor
    placement: Placement


class Detector:
    """Detect objects in photographs, as ``darknet detector test`` does.

    ``detector(image)`` returns ``Detections``; ``detector([image, ...])`` returns a list of them.
    An image is a path, an array (H, W, 3) of uint8 in BGR order, as OpenCV gives it, a PIL image,
    the bytes of an image file, or a file object. For RGB arrays, add ``channels="rgb"``. Files are
    rotated as their EXIF orientation says; a PIL image is used as it is.
    Several threads may call one detector.

    Args:
        cfg: path of a cfg, its text, Blocks, a ``.safetensors`` or ``.pt`` file written by
            ``export``, an ``.onnx`` file that it wrote in int8, or a Network that is built and
            loaded (it is switched to eval mode). Or the name of a model or a folder, as for
            ``find_model``, which also finds weights and names.
        weights: path of the ``.weights`` file; None for a model's name or folder, a Network or a
            file that contains weights.
        names: class names, as a path of a ``.names`` file or as a list. Default: the names of the
            model or the model file, or ``class 0``, ``class 1``, ...
        threshold: minimum confidence, 0 to 1; a detection must be above it.
        nms: NMS IoU threshold, 0 to 1; a box that overlaps a better one of its class by more is
            suppressed. 1 disables suppression. The cfg's ``nms_kind`` selects the overlap measure.
        resize: ``stretch`` or ``letterbox``. Default: letterbox if the cfg has ``letter_box=1`` or
            the dialect is ``pjreddie``, otherwise stretch.
        width: width of the network's input in pixels. Default: the cfg's.
        height: height of the network's input in pixels. Default: the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``, as for ``build_network``.
        device: torch device. Default: the CPU, or the device of a given Network.
        batch: number of images in a call of the network.
        precision: ``float32``, ``bfloat16``, ``float16`` (GPUs) or ``auto``; see
            ``Network.optimized``. Or ``int8``, which needs ``calibrate``.
        backend: ``torch``, ``compile``, ``onnxruntime``, ``openvino`` or ``auto``. They run a copy
            of the network, which does not follow later changes of its weights. Default:
            ``torch``; a given Network runs itself, without a copy, and can still be trained.
        calibrate: for int8, photographs like those that the network will see: an image, a folder,
            a glob, or a ``.data`` file. The quantized file is kept beside the weights.
        calibration_images: most photographs to calibrate on.
        tile: side of square tiles, or (width, height), in pixels of the image. Images larger than a
            tile are cut into tiles that overlap, ``batch`` tiles in a call of the network, so that
            small objects in large images are found. Default: no tiles.
        overlap: part of a tile, 0 to below 1, that the next one repeats; objects up to this size
            are seen whole by some tile.
        tile_full: process the whole image as well, for objects larger than a tile.

    Attributes:
        network: the loaded network, in eval mode.
        names: one name for each class.
        threshold: minimum confidence, 0 to 1.
        nms: NMS IoU threshold, 0 to 1.
        resize: how images are fitted into the input.
        batch: number of images in a call of the network.
        tiling: how images are cut into tiles, or None.
        runner: what computes the raw maps: the network or its optimised copy.

    Raises:
        DarknetError: as ``build_network`` and ``load_weights``; ``InputError`` if an argument is
            out of range or the network has no detection head; ``DataError`` if the names do not
            fit.

    Example:
        >>> from darknet_builder.data.scenes import draw_scene
        >>> detector = Detector("shapes")
        >>> detector(draw_scene(0).image).labels[:2]
        ['circle', 'arrow']
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
        calibrate: str | Path | None = None,
        calibration_images: int = NUM_IMAGES,
        tile: int | tuple[int, int] | None = None,
        overlap: float = 0.2,
        tile_full: bool = False,
    ) -> None:
        self.threshold, self.nms = _fraction("threshold", threshold), _fraction("nms", nms)
        if batch < 1:
            raise InputError("expected 1 or more images", argument="batch", value=batch)
        self.batch = batch
        target = find_device(device)
        cfg, weights, names = resolve_model(cfg, weights, names)
        self.network = build_unloaded(cfg, weights, width=width, height=height, dialect=dialect)
        self._rule = nms_rule(self.network)
        self.network.check_sees_images()
        self.tiling = Tiling.of(tile, overlap, tile_full, self.network)
        self.names = class_names(self.network, names)
        self.resize = default_resize(self.network) if resize is None else check_resize(resize)
        load_into(self.network, cfg, weights, device=target)
        calibration = Calibration.of(calibrate, calibration_images, self.resize)
        self.runner = choose_runner(
            self.network, cfg, precision, backend, batch, weights=weights, calibration=calibration
        )
        self._warm: set[int] = set()

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return self.network.device

    @property
    def has_memory(self) -> bool:
        """Return whether the network has recurrent layers.

        The frames of a video must then be passed one by one and in order.
        """
        return self.network.is_recurrent

    @property
    def images_at_once(self) -> int:
        """Return how many images are processed together: ``batch``, or 1 with tiles."""
        return self.batch if self.tiling is None else 1

    @overload  # a str is a Sequence of str as well, but the first signature is tried first
    def __call__(  # type: ignore[overload-overlap]
        self,
        images: Image,
        *,
        channels: str = "bgr",
        keep_state: bool = False,
    ) -> Detections: ...

    @overload
    def __call__(
        self, images: Sequence[Image], *, channels: str = "bgr", keep_state: bool = False
    ) -> list[Detections]: ...

    def __call__(
        self,
        images: Image | Sequence[Image],
        *,
        channels: str = "bgr",
        keep_state: bool = False,
    ) -> Detections | list[Detections]:
        """Detect the objects in an image, or in each of several.

        Args:
            images: one image, or a list; see the class.
            channels: channel order of arrays: ``bgr`` or ``rgb``. Does not affect other images.
            keep_state: keep the state of recurrent layers from the previous call, for the frames of
                one video.

        Raises:
            ImageError: if a file cannot be read or an image cannot be decoded.
            InputError: if an object is not an image, or ``channels`` is unknown.

        Example:
            >>> from darknet_builder.data.scenes import draw_scene
            >>> bgr = draw_scene(0).image
            >>> detector = Detector("shapes")
            >>> detector(bgr[..., ::-1], channels="rgb") == detector(bgr)
            True
        """
        sequence, is_single = as_sequence(images)
        detections: list[Detections] = []
        for start in range(0, len(sequence), self.images_at_once):
            part = sequence[start : start + self.images_at_once]
            detections += self._detect(part, channels, keep_state)
        return detections[0] if is_single else detections

    def _detect(self, images: Sequence[Image], channels: str, keep_state: bool) -> list[Detections]:
        prepared = [self.prepare(image, channels) for image in images]
        with one_thread(self.network):
            if not keep_state:
                # Without this, the result would depend on the images of earlier calls.
                self.network.reset_state()
            interpret = self.start(prepared)
        return interpret()

    # ---- the stages, which `pipeline` overlaps ---------------------------------------------------

    def prepare(self, image: Image, channels: str = "bgr") -> Prepared:
        """Read an image and resize it to the network's input.

        Args:
            image: one image; see the class.
            channels: channel order of an array: ``bgr`` or ``rgb``.

        Raises:
            ImageError: if the file cannot be read or the image cannot be decoded.
            InputError: if the object is not an image, or ``channels`` is unknown.
        """
        array = to_array(image, channels)
        x, placement = to_input(
            array, self.network.input_size, self.resize, self.network.options.channels
        )
        return Prepared(array, x, placement)

    def warm_up(self, batch: int) -> None:
        """Compile for a batch size now instead of in the first calls.

        Does nothing if the engine does not compile, or has already compiled for this size.

        Args:
            batch: number of images in a call.
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
        """Run the network on a batch and return the raw map of every head.

        Args:
            x: (B, C, height, width) float32 in [0, 1].

        Raises:
            InputError: if memory is short, with the batch that would fit.
        """
        with explaining_memory(self.network, len(x)):
            return cast(list[Tensor], self.runner(x.to(self.device)))

    @torch.inference_mode()
    def interpret(
        self,
        raw_maps: Sequence[Tensor],
        placements: Sequence[Placement],
        *,
        threshold: float | None = None,
        nms: float | None = None,
    ) -> list[Detections]:
        """Turn raw maps into the detections of each image.

        Args:
            raw_maps: one tensor for each head, from ``raw_maps``.
            placements: one for each image of the batch.
            threshold: minimum confidence, 0 to 1. Default: the detector's.
            nms: NMS IoU threshold, 0 to 1. Default: the detector's.
        """
        objects = find_objects(
            self.network,
            raw_maps,
            placements,
            threshold=self.threshold if threshold is None else threshold,
            nms=self.nms if nms is None else nms,
            rule=self._rule,
        )
        return [self._to_detections(*pair) for pair in zip(objects, placements, strict=True)]

    def start(self, prepared: Sequence[Prepared]) -> Callable[[], list[Detections]]:
        """Run the network on images or on their tiles, and leave the rest for later.

        Args:
            prepared: the images, from ``prepare``; at most ``images_at_once``.

        Returns:
            A function that returns the detections of each image. Another thread may call it.
        """
        placements = [item.placement for item in prepared]
        if self.tiling is None:
            x = torch.stack([item.x for item in prepared])  # (B, C, height, width)
            return partial(self.interpret, self.raw_maps(x), placements)
        found = [self._find_in_tiles(item.image, self.tiling) for item in prepared]
        return partial(self._join_tiles, found, placements)

    def _find_in_tiles(self, image: np.ndarray, tiling: Tiling) -> ScoredBoxes:
        return find_in_tiles(
            self.network,
            self.raw_maps,
            image,
            tiling,
            resize=self.resize,
            threshold=self.threshold,
            batch=self.batch,
        )

    def _join_tiles(
        self, found: Sequence[ScoredBoxes], placements: Sequence[Placement]
    ) -> list[Detections]:
        detections = []
        for rows, placement in zip(found, placements, strict=True):
            # The boxes are relative to the image already, as if it filled the input.
            whole = Placement.plan(placement.image_size, placement.net_size, "stretch")
            (objects,) = suppress([rows], [whole], self.nms, self._rule)
            detections.append(self._to_detections(objects, whole))
        return detections

    def _to_detections(self, objects: ScoredBoxes, placement: Placement) -> Detections:
        # (width, height, width, height) scales relative corners (N, 4) to pixels.
        scale = np.array(placement.image_size * 2, np.float32)
        boxes_xyxy = cxcywh_to_xyxy(objects.boxes_cxcywh) * scale
        return Detections(
            boxes_xyxy, objects.scores, objects.class_ids, self.names, placement.image_size
        )


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError("expected a number from 0 to 1", argument=name, value=value)
    return float(value)
