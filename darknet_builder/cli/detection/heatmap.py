"""``detect --heatmap``: pictures that show where the scores came from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darknet_builder.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from darknet_builder.cli.detection.outputs import Target
    from darknet_builder.prediction.detector import Detector
    from darknet_builder.prediction.pipeline import Outcome

_DEFAULT = -1
"""``--heatmap`` without a layer."""


def add_heatmap(parser: argparse._ActionsContainer) -> None:
    """Add ``--heatmap``."""
    parser.add_argument(
        "--heatmap",
        nargs="?",
        type=_layer,
        const=_DEFAULT,
        metavar="LAYER",
        help="draw where the scores came from: heatmaps/NAME.png or .jpg; LAYER is the layer to"
        " look at (default: the last one that all heads depend on, before the coarsest map)",
    )


def _layer(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"{text}: expected the number of a layer; write the sources before --heatmap"
        )
    return int(text)


@dataclass(frozen=True)
class HeatmapOutput:
    """The pictures of ``--heatmap``.

    Attributes:
        folder: the folder of the pictures.
        detector: the detector; its network is run again, in float32 and with gradients.
        layer: index of the layer.
    """

    folder: Path
    detector: Detector
    layer: int

    @classmethod
    def plan(
        cls, args: argparse.Namespace, detector: Detector, targets: Sequence[Target]
    ) -> HeatmapOutput | None:
        """Return what the option asks for, or None without it; create the folder.

        Args:
            args: the parsed arguments of the command.
            detector: the detector.
            targets: the sources and the names of their pictures.

        Raises:
            InputError: if there can be no heat maps, or one would overwrite a source.
        """
        if args.heatmap is None:
            return None
        from darknet_builder.images.sources.finding import is_video
        from darknet_builder.images.sources.live import LiveSource
        from darknet_builder.prediction.heatmap import check_layer

        if detector.tiling is not None:
            raise InputError("--heatmap: not possible with --tile")
        layer = check_layer(detector.network, None if args.heatmap == _DEFAULT else args.heatmap)
        folder = Path(args.output) / "heatmaps"
        for target in targets:
            source = target.source
            if isinstance(source, LiveSource) or is_video(source):
                raise InputError(f"--heatmap: {source} is a video; expected images only")
            if isinstance(source, Path) and (folder / target.picture).resolve() == source.resolve():
                raise InputError(f"--output {args.output}: would overwrite the source {source}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--output {folder}: the folder cannot be created: {error.strerror}"
            ) from None
        return cls(folder, detector, layer)

    def save(self, target: Target, image: np.ndarray, selected: Outcome) -> None:
        """Write the picture of one image, with the heat of all its objects.

        Args:
            target: gives the name of the picture.
            image: (H, W, 3) uint8, what the network saw.
            selected: the objects, and the image to draw on, in which others may be hidden.
        """
        from darknet_builder.images.files import write_image
        from darknet_builder.prediction.heatmap import draw_heatmap, explain

        heat = explain(self.detector, image, selected.detections.shown(), layer=self.layer)
        write_image(self.folder / target.picture, draw_heatmap(selected.image, heat))
