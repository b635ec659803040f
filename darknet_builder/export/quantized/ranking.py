"""Find the layers that int8 harms most, and return them to float32 until the accuracy holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from darknet_builder.errors import ExportError
from darknet_builder.export.quantized.calibration import Photographs
from darknet_builder.export.quantized.quantizer import Int8Quantizer
from darknet_builder.export.quantized.running import raw_part, run_raw
from darknet_builder.export.quantized.settings import (
    LIMITS,
    Accuracy,
    Int8Report,
    Int8Settings,
    RunRaw,
)


def relative_error(wanted: Tensor, found: Tensor) -> float:
    """Return the root mean square of the difference, divided by that of the wanted values.

    Example:
        >>> relative_error(torch.tensor([4.0, 0.0]), torch.tensor([4.0, 1.0]))
        0.25
    """
    error = (found - wanted).double().square().mean()
    size = wanted.double().square().mean()
    return float((error / size.clamp_min(torch.finfo(size.dtype).tiny)).sqrt())


class Judged:
    """A quantized model and its accuracy.

    Args:
        quantizer: after its calibration.
        raw_names: names of the tensors that hold the raw maps.
        inputs: (1, C, H, W) each; the layers are ranked by their errors on them.
        float32: computes the raw maps in float32.

    Attributes:
        model: the quantized ``onnx.ModelProto``.
        float_layers: indices of the layers that went back to float32, the worst first.
        before: accuracy in float32; None if it was not measured.
        after: accuracy of ``model``; None if it was not measured.
    """

    def __init__(
        self,
        quantizer: Int8Quantizer,
        raw_names: Sequence[str],
        inputs: Sequence[Tensor],
        float32: RunRaw,
    ) -> None:
        self._quantizer, self._raw_names = quantizer, raw_names
        self._inputs, self._float32 = inputs, float32
        self.model: Any = quantizer.quantize()
        self.float_layers: tuple[int, ...] = ()
        self.before: Accuracy | None = None
        self.after: Accuracy | None = None

    def run(self, model: Any) -> RunRaw:
        """Return a function that computes the raw maps by a quantized model."""
        return run_raw(raw_part(model, self._raw_names))

    def keep_accuracy(self, settings: Int8Settings) -> None:
        """Measure the accuracy, and return layers to float32 until it holds.

        The worst layer goes first, then the two worst, the four worst, and so on, because each
        attempt takes a whole evaluation.

        Args:
            settings: its judge and its limits.

        Raises:
            ExportError: if the accuracy does not hold with half of the layers in float32.
        """
        judge = settings.judge
        if judge is None:
            return
        before = self.before = judge(self._float32)
        after = self.after = judge(self.run(self.model))
        ranked: list[int] = []
        while limit := settings.broken_limit(before, after):
            ranked = ranked or self._worst_first()
            # At most half of the layers: with more, int8 gains too little to be worth its errors.
            count = min(max(1, 2 * len(self.float_layers)), len(ranked) // 2)
            if count == len(self.float_layers):
                raise ExportError(
                    f"float32 has {before.describe()} and int8 {after.describe()}, with"
                    f" {len(self.float_layers)} of {len(ranked)} layers in float32; the limit is"
                    f" a loss of {getattr(settings, limit):g} points of {LIMITS[limit]}",
                    hint="calibrate on more photographs, or allow a larger loss",
                    argument=limit,
                )
            self.float_layers = tuple(ranked[:count])
            self.model = self._quantizer.quantize(self.float_layers)
            after = self.after = judge(self.run(self.model))

    def report(self, photographs: Photographs) -> Int8Report:
        """Return how the model was made.

        Args:
            photographs: those of the calibration.
        """
        return Int8Report(
            photographs.num_read,
            photographs.unreadable,
            len(self._quantizer.layers) - len(self.float_layers),
            self.float_layers,
            self.before,
            self.after,
        )

    def _worst_first(self) -> list[int]:
        """Return the layers in the order of the error that each one causes alone in int8."""
        wanted = [self._float32(x) for x in self._inputs]
        errors = {layer: self._error_of(layer, wanted) for layer in self._quantizer.layers}
        return sorted(errors, key=lambda layer: -errors[layer])

    def _error_of(self, layer: int, wanted: Sequence[Sequence[Tensor]]) -> float:
        others = set(self._quantizer.layers) - {layer}
        run = self.run(self._quantizer.quantize(others))
        return sum(
            relative_error(expected, found) ** 2
            for x, maps in zip(self._inputs, wanted, strict=True)
            for expected, found in zip(maps, run(x), strict=True)
        )
