"""Calibrate on photographs: find them, and measure the range of every activation."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import read_image_list
from darknet_builder.errors import ImageError, InputError
from darknet_builder.export.onnx.runtime import open_session
from darknet_builder.export.quantized.settings import NUM_IMAGES
from darknet_builder.images.files import IMAGE_SUFFIXES, read_image
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.sources.finding import find_sources
from darknet_builder.support.extras import load_extra

_DATA_SUFFIX = ".data"
_READ_AHEAD = 4


def find_photographs(source: str | Path, count: int = NUM_IMAGES) -> list[Path]:
    """Return photographs to calibrate on, evenly spread over all that there are.

    Args:
        source: an image, a folder or a glob; or a ``.data`` file, whose ``train=`` list is taken,
            or the ``valid=`` list if it has no other.
        count: most photographs to return, 1 or more.

    Raises:
        InputError: if there is no image, or ``count`` is below 1.
        DataError: if the ``.data`` file or its list cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(6):
        ...         Path(folder, f"{number}.jpg").touch()
        ...     [path.name for path in find_photographs(folder, 3)]
        ['0.jpg', '2.jpg', '4.jpg']
    """
    if count < 1:
        raise InputError("expected 1 or more images", argument="calibration_images", value=count)
    if Path(source).suffix.lower() == _DATA_SUFFIX:
        data = DataFile.read(source)
        found = read_image_list(data.file("train" if data.has("train") else "valid"))
    else:
        sources = find_sources([str(source)])
        found = [path for path in sources if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError("no images to calibrate on", path=source)
    chosen = min(count, len(found))
    # For example 3 of 6: places 0, 2 and 4.
    return [found[place * len(found) // chosen] for place in range(chosen)]


class Photographs:
    """The photographs of a calibration, read one after the other.

    Args:
        paths: paths of the image files.
        fit: converts (H, W, 3) uint8 in BGR order to the network's input (C, H, W).
        keep: number of inputs to keep for later comparisons.

    Attributes:
        kept: the first inputs that could be read, by path.
        num_read: number of photographs that could be read.
        unreadable: why each of the others could not be read, by path.
    """

    def __init__(
        self, paths: Sequence[str | Path], fit: Callable[[np.ndarray], Tensor], keep: int
    ) -> None:
        self._paths, self._fit, self._keep = paths, fit, keep
        self.kept: dict[str, Tensor] = {}
        self.num_read = 0
        self.unreadable: dict[str, str] = {}

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the input (C, H, W) of each photograph that can be read."""
        with closing(read_ahead(self._read, self._paths, batch=_READ_AHEAD)) as inputs:
            for path, x in zip(self._paths, inputs, strict=True):
                if isinstance(x, ImageError):
                    self.unreadable[str(path)] = x.message
                    continue
                self.num_read += 1
                if len(self.kept) < self._keep:
                    self.kept[str(path)] = x
                yield x
        if not self.num_read:
            path, reason = next(iter(self.unreadable.items()))
            count = len(self.unreadable)
            raise InputError(f"none of {count} photographs could be read: {path}: {reason}")

    def _read(self, path: str | Path) -> Tensor | ImageError:
        try:
            return self._fit(read_image(path))
        except ImageError as error:
            return error


def measure_ranges(
    model: Path, operators: Sequence[str], inputs: Iterable[dict[str, np.ndarray]]
) -> Any:
    """Measure the range of each activation, without its rarest values.

    Args:
        model: an ONNX file, in a folder for temporary files.
        operators: kinds of nodes whose inputs and outputs are measured.
        inputs: the graph's inputs by name, for one call after the other.

    Returns:
        ONNX Runtime's ``TensorsData``.
    """
    calibrate = load_extra("onnxruntime.quantization.calibrate", "int8")
    augmented = str(model.with_name("augmented.onnx"))
    with redirect_stdout(io.StringIO()):  # ONNX Runtime prints what it is doing
        calibrator = calibrate.create_calibrator(
            model,
            operators,
            augmented,
            calibrate.CalibrationMethod.Percentile,
            extra_options={"percentile": _PERCENTILE, "symmetric": False},
        )
        # Its own session takes all cores and optimises nothing.
        calibrator.infer_session = open_session(augmented)
        # One call at a time: the calibrator holds all values of all calls until it counts them.
        for values in inputs:
            calibrator.collect_data(_OneCall(values))
        return calibrator.compute_data()


_PERCENTILE = 99.99
"""The range holds this percentage of an activation's values. The rest, half of it at each end, is
clipped: a few outliers would otherwise make the steps of all other values coarse."""


class _OneCall:
    """ONNX Runtime's ``CalibrationDataReader`` for a single call."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self._left = [values]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the inputs once, then None."""
        return self._left.pop() if self._left else None
