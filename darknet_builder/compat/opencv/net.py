"""``Net``: a Darknet network behind the methods of ``cv2.dnn.Net``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor

from darknet_builder.compat.opencv.names import Part, Stage, stages_of, unread
from darknet_builder.compat.opencv.outputs import Runner, values_of
from darknet_builder.compat.opencv.preferences import Preferences
from darknet_builder.compat.opencv.reshaping import resized
from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.images.opencv import load_opencv
from darknet_builder.network.network import Network

INPUT_NAME = "data"
"""OpenCV's name for the input of a Darknet network; an empty name means the same."""
_NO_MEAN = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LayerInfo:
    """Name and type of a layer, from ``Net.getLayer``.

    Attributes:
        name: OpenCV's name; ``_input`` for layer 0.
        type: OpenCV's type, such as ``Convolution``; ``Region`` for every detection head.

    Example:
        >>> LayerInfo("yolo_37", "Region").outputNameToIndex("im_info")
        -1
    """

    name: str
    type: str

    def outputNameToIndex(self, outputName: str) -> int:
        """Return 0 for the layer's own name and -1 for any other: each layer has one output."""
        return 0 if outputName == self.name else -1


class Net:
    """Run a Darknet network as ``cv2.dnn.Net`` of OpenCV 4 does.

    ``readNetFromDarknet`` makes it from files. Layers have OpenCV's names and numbers. A blob of
    another size than the cfg's reshapes the network, if its layers can be reshaped. Recurrent
    layers forget earlier frames at every ``forward``.

    Args:
        network: a network with its weights.

    Example:
        >>> import numpy as np
        >>> from darknet_builder.compat import opencv as dnn
        >>> from darknet_builder.support.bundled import default_model
        >>> net = dnn.readNetFromDarknet(*default_model()[:2])
        >>> net.setInput(np.zeros((1, 3, 192, 192), np.float32))
        >>> [rows.shape for rows in net.forward(net.getUnconnectedOutLayersNames())]
        [(432, 13), (1728, 13)]
    """

    def __init__(self, network: Network) -> None:
        self._original = self._network = network.eval()
        self._stages = stages_of(network)
        self._numbers = {stage.name: number for number, stage in enumerate(self._stages, start=1)}
        self._preferences = Preferences()
        self._runner: Runner | None = None
        self._input: Tensor | None = None
        self._seconds = 0.0
        self._suppresses = True

    # ---- layers ----------------------------------------------------------------------------------

    def empty(self) -> bool:
        """Return whether it has no layers."""
        return not self._stages

    def getLayerNames(self) -> tuple[str, ...]:
        """Return the names of all layers; the first is layer 1."""
        return tuple(stage.name for stage in self._stages)

    def getLayerId(self, layer: str) -> int:
        """Return the number of a layer, counted from 1; -1 for an unknown name."""
        return 0 if layer == "_input" else self._numbers.get(layer, -1)

    def getLayer(self, layerId: int | str) -> LayerInfo:
        """Return name and type of a layer, given its number or name.

        Raises:
            InputError: for an unknown layer.
        """
        if layerId == 0:
            return LayerInfo("_input", "")
        number = self._stage_number(layerId) if isinstance(layerId, str) else int(layerId)
        if not 1 <= number <= len(self._stages):
            raise InputError(f"layer {number} not found: there are {len(self._stages)}, from 1")
        stage = self._stages[number - 1]
        return LayerInfo(stage.name, stage.kind)

    def getUnconnectedOutLayers(self) -> np.ndarray:
        """Return the numbers (N,) int32, from 1, of the layers that no other layer reads."""
        return np.array(unread(self._original, self._stages), np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """Return the names of the layers that no other layer reads."""
        return tuple(self._stages[number - 1].name for number in self.getUnconnectedOutLayers())

    # ---- settings --------------------------------------------------------------------------------

    def setPreferableBackend(self, backendId: int) -> None:
        """Choose an engine; see ``Preferences``."""
        self._preferences.set_backend(backendId)
        self._runner = None

    def setPreferableTarget(self, targetId: int) -> None:
        """Choose a device and a precision; see ``Preferences``."""
        self._preferences.set_target(targetId)
        self._runner = None

    def enableFusion(self, fusion: bool) -> None:
        """Turn the fast path on or off; without it, layers run one by one, as they were built."""
        self._preferences.fuses = bool(fusion)
        self._runner = None

    def enableWinograd(self, useWinograd: bool) -> None:
        """Do nothing: PyTorch chooses the algorithm of each convolution itself."""

    def disable_suppression(self) -> None:
        """Keep all boxes of each head, as ``DetectionModel`` does with its network."""
        self._suppresses = False

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the cfg's input in pixels."""
        return self._original.input_size

    @property
    def box_layers(self) -> tuple[str, ...]:
        """Names of the outputs that hold boxes."""
        names = self.getUnconnectedOutLayersNames()
        return tuple(name for name in names if self._stage(name).part is Part.ROWS)

    # ---- running ---------------------------------------------------------------------------------

    def setInput(
        self,
        blob: np.ndarray,
        name: str = "",
        scalefactor: float = 1.0,
        mean: Sequence[float] = _NO_MEAN,
    ) -> None:
        """Set the input of the next ``forward`` to ``(blob - mean) * scalefactor``.

        Args:
            blob: (B, C, H, W) float32 or uint8, such as ``blobFromImage`` returns; (B, N) for a
                network that takes vectors.
            name: ``data`` or an empty text.
            scalefactor: factor for the values, after ``mean`` is subtracted.
            mean: number to subtract from each channel.

        Raises:
            InputError: for another name, a wrong number of channels, or values that are NaN or
                infinite.
        """
        if name not in ("", INPUT_NAME):
            raise InputError(f"blob {name!r} not found: the input is called {INPUT_NAME!r}")
        array = self._checked(blob)
        if any(mean):
            array = array - np.reshape(mean[: array.shape[1]], (-1, *[1] * (array.ndim - 2)))
        if scalefactor != 1:
            array = array * np.float32(scalefactor)
        # A copy: the program may write its next image into the same memory.
        self._input = torch.tensor(array, dtype=torch.float32)

    def _checked(self, blob: np.ndarray) -> np.ndarray:
        """Return a blob as float32.

        Raises:
            InputError: if the blob is not an array, or has a wrong type, shape or value.
        """
        if not isinstance(blob, np.ndarray) or blob.dtype.kind not in "fu":
            got = blob.dtype if isinstance(blob, np.ndarray) else type(blob).__name__
            raise InputError(f"expected a blob of float32 or uint8, got {got}")
        expected = self._original.input_shape.batched(len(blob) if blob.ndim else 0)
        # Height and width may differ from the cfg's.
        if blob.ndim != len(expected) or blob.shape[1] != expected[1] or 0 in blob.shape:
            wanted = "B, {}, H, W" if len(expected) == 4 else "B, {}"
            raise InputError(
                f"expected a blob of shape ({wanted.format(expected[1])}), got {blob.shape}"
            )
        array = blob.astype(np.float32, copy=False)
        # A sum is faster than isfinite, and it is finite only if all values are.
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise InputError("the blob holds numbers that are NaN or infinite")
        return array

    @overload  # a str is a Sequence of str as well, but the first signature is tried first
    def forward(self, outputName: str = "") -> np.ndarray: ...  # type: ignore[overload-overlap]

    @overload
    def forward(self, outputName: Sequence[str]) -> tuple[np.ndarray, ...]: ...

    @overload
    def forward(self, *, outBlobNames: Sequence[str]) -> tuple[np.ndarray, ...]: ...

    def forward(
        self, outputName: str | Sequence[str] = "", *, outBlobNames: Sequence[str] | None = None
    ) -> np.ndarray | tuple[np.ndarray, ...]:
        """Run the network.

        Args:
            outputName: name of a layer, or names of several; default: the last layer.
            outBlobNames: OpenCV's other name for several names.

        Returns:
            The output of the layer, float32, or a tuple of outputs for several names. A detection
            head gives (N, 5 + C), or (B, N, 5 + C) for several images: see ``rows_of``. Other
            layers give (B, C, H, W) or (B, N).

        Raises:
            InputError: for an unknown layer, without an input, or if its size does not fit.
        """
        wanted = outputName if outBlobNames is None else outBlobNames
        if not isinstance(wanted, str):
            return tuple(self._outputs([self._stage(name) for name in wanted]))
        return self._outputs([self._stage(wanted) if wanted else self._stages[-1]])[0]

    def getPerfProfile(self) -> tuple[int, np.ndarray]:
        """Return the ticks of the last ``forward``, and an array (layers,) of the ticks by layer.

        The layers are not timed one by one: all ticks are counted for the last one.
        ``cv2.getTickFrequency()`` is the number of ticks in a second.
        """
        ticks = int(self._seconds * load_opencv().getTickFrequency())
        timings = np.zeros(len(self._stages))
        timings[-1] = ticks
        return ticks, timings

    def _stage(self, name: str) -> Stage:
        return self._stages[self._stage_number(name) - 1]

    def _stage_number(self, name: str) -> int:
        if name not in self._numbers:
            raise InputError(
                f"layer {name!r} not found", hint=did_you_mean(str(name), self._numbers)
            )
        return self._numbers[name]

    @torch.inference_mode()
    def _outputs(self, stages: Sequence[Stage]) -> list[np.ndarray]:
        if self._input is None:
            raise InputError("no input is set: call setInput(blob) before forward()")
        started = time.perf_counter()
        network = self._prepare(self._input)
        network.reset_state()
        x = self._input.to(network.device)
        outputs = values_of(network, stages, x, self._runner, suppress=self._suppresses)
        self._seconds = time.perf_counter() - started
        return outputs

    @torch.inference_mode(False)
    def _prepare(self, x: Tensor) -> Network:
        """Return the network, resized to an input, on its device and with its fast path."""
        if x.dim() == 4:
            size = x.shape[3], x.shape[2]
            if size != self._network.input_size:
                self._network, self._runner = resized(self._original, *size), None
        if self._runner is None:
            preferences = self._preferences
            self._network.to(preferences.device)
            self._original.to(preferences.device)
            if preferences.fuses:
                fast = self._network.optimized(preferences.precision, preferences.engine)
                self._runner = fast.outputs
        return self._network
