"""``DetectionModel`` and ``ClassificationModel``: from a picture to results in one call.

Source: model.cpp of OpenCV 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from darknet_builder.compat.opencv.blobs import Image2BlobParams, NMSBoxes, blobFromImageWithParams
from darknet_builder.compat.opencv.constants import DNN_PMODE_CROP_CENTER, DNN_PMODE_NULL
from darknet_builder.compat.opencv.net import Net
from darknet_builder.compat.opencv.reading import readNet
from darknet_builder.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray | tuple[()]
"""An array, or ``()`` in place of an empty one, as OpenCV's binding returns it."""
_NO_MEAN = (0.0, 0.0, 0.0, 0.0)
_FIRST_CLASS = 5
"""The column of the first class in the rows of a head: after the box and the objectness."""


class Model:
    """A network with the settings that turn pictures into its input.

    Args:
        model: a ``Net``, or the path of a ``.cfg`` or ``.weights`` file.
        config: the path of the other file.

    Raises:
        DarknetError: as ``readNet``.

    Example:
        >>> from darknet_builder.support.bundled import default_model
        >>> cfg, weights, _ = default_model()
        >>> model = Model(cfg, weights).setInputScale(1 / 255).setInputSwapRB(True)
        >>> [rows.shape for rows in model.predict(np.zeros((240, 320, 3), np.uint8))]
        [(432, 13), (1728, 13)]
    """

    def __init__(self, model: Net | str | Path, config: str | Path = "") -> None:
        self._net = model if isinstance(model, Net) else readNet(model, config)
        self._parameters = Image2BlobParams()
        # OpenCV refuses to run until the size is set; the cfg has one.
        self.setInputParams(size=self._net.input_size)

    def setInputParams(
        self,
        scale: float = 1.0,
        size: Sequence[int] = (),
        mean: Sequence[float] = _NO_MEAN,
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set how a picture becomes a blob: ``(resize(picture) - mean) * scale``.

        Args:
            scale: factor for the values, after ``mean`` is subtracted.
            size: (width, height) in pixels; default: the cfg's.
            mean: number to subtract from each channel.
            swapRB: exchange the first and the last channel; networks read RGB, OpenCV gives BGR.
            crop: crop the middle instead of stretching the picture.
        """
        self.setInputScale(scale).setInputSize(size or self._net.input_size)
        self.setInputMean(mean).setInputSwapRB(swapRB).setInputCrop(crop)

    def setInputSize(self, size: Sequence[int] | int, height: int | None = None) -> Self:
        """Set the size as ``(width, height)`` or as two numbers."""
        self._parameters.size = size if height is None else (size, height)
        return self

    def setInputScale(self, scale: float | Sequence[float]) -> Self:
        """Set the factor for the values: one number, or one for each channel."""
        factors = [float(factor) for factor in np.atleast_1d(scale)]
        self._parameters.scalefactor = factors * 4 if len(factors) == 1 else factors
        return self

    def setInputMean(self, mean: Sequence[float]) -> Self:
        """Set the number to subtract from each channel."""
        self._parameters.mean = tuple(mean)
        return self

    def setInputSwapRB(self, swapRB: bool) -> Self:
        """Set whether the first and the last channel are exchanged."""
        self._parameters.swapRB = bool(swapRB)
        return self

    def setInputCrop(self, crop: bool) -> Self:
        """Set whether the picture is cropped instead of stretched."""
        self._parameters.paddingmode = DNN_PMODE_CROP_CENTER if crop else DNN_PMODE_NULL
        return self

    def setPreferableBackend(self, backendId: int) -> Self:
        """Choose an engine, as ``Net.setPreferableBackend``."""
        self._net.setPreferableBackend(backendId)
        return self

    def setPreferableTarget(self, targetId: int) -> Self:
        """Choose a device and a precision, as ``Net.setPreferableTarget``."""
        self._net.setPreferableTarget(targetId)
        return self

    def enableWinograd(self, useWinograd: bool) -> Self:
        """Do nothing, as ``Net.enableWinograd``."""
        self._net.enableWinograd(useWinograd)
        return self

    def predict(self, frame: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs of the layers that no other layer reads.

        Args:
            frame: (H, W, 3) or, for a network of one channel, (H, W), as ``cv2.imread`` returns it.

        Raises:
            InputError: if ``frame`` is not a picture.
        """
        return self._run(frame, self._net.getUnconnectedOutLayersNames())

    def _run(self, frame: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, ...]:
        """Return the outputs of some layers for a picture."""
        if not isinstance(frame, np.ndarray) or frame.ndim not in (2, 3) or not frame.size:
            got = f"{frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise InputError(
                f"expected a picture (H, W, 3), got {got}",
                hint="cv2.imread returns None for a file that it cannot read",
            )
        self._net.setInput(blobFromImageWithParams(frame, self._parameters))
        return self._net.forward(names)


class DetectionModel(Model):
    """Find objects in pictures.

    ``detect`` suppresses boxes; suppression in the network's heads is turned off.

    Args:
        model: a ``Net``, or the path of a ``.cfg`` or ``.weights`` file.
        config: the path of the other file.

    Raises:
        InputError: if the network has no detection head.

    Example:
        >>> from darknet_builder.data.scenes import draw_scene
        >>> from darknet_builder.support.bundled import default_model
        >>> model = DetectionModel(*default_model()[:2])
        >>> model.setInputParams(scale=1 / 255, swapRB=True)
        >>> class_ids, confidences, boxes = model.detect(draw_scene(0).image, 0.5, 0.4)
        >>> class_ids.dtype, boxes.shape[1]
        (dtype('int32'), 4)
    """

    def __init__(self, model: Net | str | Path, config: str | Path = "") -> None:
        super().__init__(model, config)
        if not self._net.box_layers:
            raise InputError("the network ends without a detection head; use ClassificationModel")
        self._net.disable_suppression()
        self._nms_across_classes = False

    def setNmsAcrossClasses(self, value: bool) -> Self:
        """Set whether boxes of different classes suppress each other."""
        self._nms_across_classes = bool(value)
        return self

    def getNmsAcrossClasses(self) -> bool:
        """Return whether boxes of different classes suppress each other."""
        return self._nms_across_classes

    def detect(
        self, frame: np.ndarray, confThreshold: float = 0.5, nmsThreshold: float = 0.0
    ) -> tuple[Array, Array, Array]:
        """Return class numbers, confidences and boxes of the objects in a picture.

        Args:
            frame: (H, W, 3) or (H, W), as for ``predict``.
            confThreshold: minimum confidence. Scores below the head's own threshold (.2 unless the
                cfg has ``thresh=``) are 0 already.
            nmsThreshold: NMS IoU threshold; 0 disables suppression.

        Returns:
            (N,) int32, (N,) float32, and (N, 4) int32: left, top, width and height in pixels,
            clipped to the picture; ``((), (), ())`` without objects.
        """
        outputs = self._run(frame, self._net.box_layers)
        found = _Found.of(outputs, (frame.shape[1], frame.shape[0]), confThreshold)
        if nmsThreshold:
            order = list(self._kept(found, confThreshold, nmsThreshold))
            found = found.take(np.array(order, np.int64))
        if not len(found.class_ids):
            return (), (), ()
        return found.class_ids, found.confidences, found.boxes

    def _kept(self, found: _Found, confidence: float, nms: float) -> Iterator[int]:
        """Yield the rows that are not suppressed, class by class, the best of each first."""
        groups = np.zeros_like(found.class_ids) if self._nms_across_classes else found.class_ids
        for group in np.unique(groups):
            (rows,) = (groups == group).nonzero()
            kept = NMSBoxes(found.boxes[rows], found.confidences[rows], confidence, nms)
            yield from rows[np.asarray(kept, np.int64)]


class ClassificationModel(Model):
    r"""Find the class of pictures.

    Args:
        model: a ``Net``, or the path of a ``.cfg`` or ``.weights`` file.
        config: the path of the other file.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=8\nheight=8\nchannels=3\n[avgpool]\n[softmax]\n"
        >>> model = ClassificationModel(Net(build_network(cfg)))
        >>> model.setInputParams(scale=1 / 255, swapRB=True)
        >>> class_id, confidence = model.classify(np.full((20, 30, 3), (9, 0, 200), np.uint8))
        >>> class_id, round(confidence, 3)
        (0, 0.518)
    """

    def __init__(self, model: Net | str | Path, config: str | Path = "") -> None:
        super().__init__(model, config)
        self._softmax = False

    def setEnableSoftmaxPostProcessing(self, enable: bool) -> Self:
        """Set whether ``classify`` applies a softmax to the output."""
        self._softmax = bool(enable)
        return self

    def getEnableSoftmaxPostProcessing(self) -> bool:
        """Return whether ``classify`` applies a softmax to the output."""
        return self._softmax

    def classify(self, frame: np.ndarray) -> tuple[int, float]:
        """Return the number of the most probable class, and its score.

        Args:
            frame: (H, W, 3) or (H, W), as for ``predict``.

        Raises:
            InputError: if the network has more than one output.
        """
        outputs = self.predict(frame)
        if len(outputs) != 1:
            raise InputError(f"expected a network with one output, this one has {len(outputs)}")
        scores = outputs[0].ravel()
        if self._softmax:
            powers = np.exp(scores - scores.max())
            scores = powers / powers.sum()
        best = int(scores.argmax())
        return best, float(scores[best])


class _Found(NamedTuple):
    """Objects: class numbers (N,), confidences (N,), boxes (N, 4) in pixels."""

    class_ids: np.ndarray
    confidences: np.ndarray
    boxes: np.ndarray

    def take(self, rows: np.ndarray) -> _Found:
        """Return some of them, in the order of ``rows``."""
        return _Found(self.class_ids[rows], self.confidences[rows], self.boxes[rows])

    @classmethod
    def of(cls, outputs: Sequence[np.ndarray], size: tuple[int, int], threshold: float) -> _Found:
        """Read the rows (N, 5 + C) of all heads.

        Args:
            outputs: the rows of each head.
            size: (width, height) of the picture in pixels.
            threshold: minimum confidence, 0 to 1.
        """
        rows = np.concatenate(outputs)  # (N, 5 + C)
        scores = rows[:, _FIRST_CLASS:]
        confidences = scores.max(1)
        # An untrained network may give infinite sizes: exp() of a large output.
        above = (confidences >= np.float32(threshold)) & np.isfinite(rows[:, :4]).all(1)
        class_ids = scores[above].argmax(1).astype(np.int32)
        return cls(class_ids, confidences[above], _pixels(rows[above, :4], size))


def _pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Turn relative boxes (N, 4) of centres into left, top, width, height, as model.cpp does.

    Numbers are truncated to integers before they are subtracted, so a box may be one pixel too far
    to the left.
    """
    limits = np.array(size, np.int32)  # width, height
    whole = (boxes * np.tile(limits, 2).astype(np.float32)).astype(np.int32)
    centres, sizes = whole[:, :2], whole[:, 2:]
    corners = np.clip(centres - sizes // 2, 0, limits - 1)
    return np.concatenate((corners, np.maximum(np.minimum(sizes, limits - corners), 1)), 1)
