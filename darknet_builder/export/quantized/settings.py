"""Settings and results of a quantization; none of it needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darknet_builder.errors import InputError
from darknet_builder.support.text import plural

if TYPE_CHECKING:
    from torch import Tensor

INT8 = "int8"
"""The precision of quantized files, as ``ExportSettings`` and the engines name it."""
NUM_IMAGES = 300
"""Default number of photographs to calibrate on."""
MAX_DROP = 1.0
"""Default limit for the loss of mAP@0.5, in points of 100."""
MAX_AP_DROP = 2.0
"""Default limit for the loss of COCO's AP, in points of 100."""
LIMITS = {"max_drop": "mAP@0.5", "max_ap_drop": "COCO's AP"}
"""What each limit of ``Int8Settings`` is about."""


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a network on labelled images.

    Attributes:
        map50: Darknet's mAP@0.5 over the classes that occur, 0 to 1.
        coco_ap: COCO's AP, 0 to 1; None if it was not computed.

    Example:
        >>> Accuracy(0.5, 0.25).describe()
        'mAP@0.5 50.00 %, COCO AP 25.00 %'
    """

    map50: float
    coco_ap: float | None = None

    def describe(self) -> str:
        """Return both numbers as text, in percent."""
        coco = "" if self.coco_ap is None else f", COCO AP {100 * self.coco_ap:.2f} %"
        return f"mAP@0.5 {100 * self.map50:.2f} %{coco}"

    def drop_to(self, other: Accuracy) -> float:
        """Return by how many points mAP@0.5 falls to another accuracy; negative if it rises.

        Example:
            >>> Accuracy(0.75).drop_to(Accuracy(0.5))
            25.0
        """
        return 100 * (self.map50 - other.map50)

    def ap_drop_to(self, other: Accuracy) -> float:
        """Return by how many points COCO's AP falls; 0 if it was not computed.

        Example:
            >>> Accuracy(0.75, 0.5).ap_drop_to(Accuracy(0.75, 0.25))
            25.0
        """
        if self.coco_ap is None or other.coco_ap is None:
            return 0.0
        return 100 * (self.coco_ap - other.coco_ap)


RunRaw = Callable[["Tensor"], "list[Tensor]"]
"""Map images (B, C, H, W) to the raw map of every head."""
Judge = Callable[[RunRaw], Accuracy]
"""Measure the accuracy of a network that is given by its raw maps."""


@dataclass(frozen=True)
class Int8Settings:
    """How to quantize a network.

    Attributes:
        images: photographs to calibrate on, like those that the network will see.
        judge: measures the accuracy in float32 and in int8; None to compare numbers only.
        max_drop: most points of mAP@0.5 that the file may lose; needs ``judge``. Layers go back to
            float32 until it does not lose more.
        symmetric: whether activations are signed and 0 is their middle, as TensorRT needs; the
            file is slower on CPUs.
        max_ap_drop: most points of COCO's AP that the file may lose, where the judge measures it.

    Example:
        >>> Int8Settings(["a.jpg"]).max_drop
        1.0
    """

    images: Sequence[str | Path]
    judge: Judge | None = None
    max_drop: float = MAX_DROP
    symmetric: bool = False
    max_ap_drop: float = MAX_AP_DROP

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: if there are no images, or a limit is out of range.
        """
        if not self.images:
            raise InputError("no photographs to calibrate on", argument="calibrate")
        for name in LIMITS:
            value = getattr(self, name)
            if not 0 <= value <= 100:
                raise InputError("expected points from 0 to 100", argument=name, value=value)

    def broken_limit(self, before: Accuracy, after: Accuracy) -> str | None:
        """Return the name of the limit that a loss of accuracy exceeds, or None.

        Example:
            >>> Int8Settings(["a.jpg"]).broken_limit(Accuracy(0.9, 0.5), Accuracy(0.9, 0.4))
            'max_ap_drop'
        """
        if before.drop_to(after) > self.max_drop:
            return "max_drop"
        return "max_ap_drop" if before.ap_drop_to(after) > self.max_ap_drop else None


@dataclass(frozen=True)
class Int8Report:
    r"""How a file was quantized.

    Attributes:
        images: number of photographs that it was calibrated on.
        unreadable: why each of the others was left out, by path.
        layers: number of convolutions in int8.
        float_layers: indices of layers that went back to float32 for accuracy, the worst first.
        float32, int8: accuracy of the network and of the file; None without a judge.

    Example:
        >>> report = Int8Report(16, {}, 17, (3,), Accuracy(0.75), Accuracy(0.745))
        >>> print(*report.lines(), sep="\n")
        int8: 17 convolutions, calibrated on 16 photographs
        back in float32 for accuracy: layer 3
        float32: mAP@0.5 75.00 %
        int8: mAP@0.5 74.50 % (0.50 points less)
    """

    images: int
    unreadable: dict[str, str]
    layers: int
    float_layers: tuple[int, ...] = ()
    float32: Accuracy | None = None
    int8: Accuracy | None = None

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        counts = f"{self.layers} {plural(self.layers, 'convolution')}, calibrated on {self.images}"
        lines = [f"int8: {counts} {plural(self.images, 'photograph')}"]
        if self.unreadable:
            path, reason = next(iter(self.unreadable.items()))
            count = len(self.unreadable)
            lines.append(
                f"{count} {plural(count, 'photograph')} could not be read: {path}: {reason}"
            )
        if self.float_layers:
            listed = ", ".join(map(str, self.float_layers))
            word = plural(len(self.float_layers), "layer")
            lines.append(f"back in float32 for accuracy: {word} {listed}")
        if self.float32 is not None and self.int8 is not None:
            change = _change(self.float32.drop_to(self.int8))
            if self.int8.coco_ap is not None:
                change += f" and {_change(self.float32.ap_drop_to(self.int8))}"
            lines += [
                f"float32: {self.float32.describe()}",
                f"int8: {self.int8.describe()} ({change})",
            ]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary that ``json.dumps`` accepts."""
        return asdict(self)


def _change(drop: float) -> str:
    return f"{abs(drop):.2f} points {'less' if drop >= 0 else 'more'}"
