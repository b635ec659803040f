"""Which frames ``detect`` processes, and which objects it keeps and hides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from darknet_builder.boxes.regions import blur_objects, pixelate_objects
from darknet_builder.cfg.names import find_classes
from darknet_builder.prediction.pipeline import Outcome


@dataclass(frozen=True)
class DetectionRules:
    """Which frames to process, which objects to keep, and which to make unrecognisable.

    Attributes:
        every: process the first frame and then each ``every``-th one.
        most_frames: number of frames of a source to process; None for all.
        classes: numbers of the classes to keep; None for all.
        min_size: pixels of the shorter side of a box, at least.
        blurred: numbers of the classes to blur.
        pixelated: numbers of the classes to pixelate.
    """

    every: int = 1
    most_frames: int | None = None
    classes: Sequence[int] | None = None
    min_size: float = 0
    blurred: Sequence[int] = ()
    pixelated: Sequence[int] = ()

    @classmethod
    def from_options(cls, args: argparse.Namespace, names: Sequence[str]) -> DetectionRules:
        """Return what the options say.

        Args:
            args: the parsed arguments of the command.
            names: names of all classes of the network.

        Raises:
            InputError: if a class does not exist or a value is out of range.
        """
        return cls(
            args.every,
            args.max_frames,
            None if args.classes is None else find_classes(args.classes, names),
            args.min_size,
            find_classes(args.blur, names, "blur"),
            find_classes(args.pixelate, names, "pixelate"),
        )

    def apply(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the objects to keep, and with the others hidden in its image.

        Objects are blurred and pixelated whether they are kept or not.
        """
        found, image = outcome.detections, outcome.image
        if self.blurred:
            image = blur_objects(image, found.keep(self.blurred))
        if self.pixelated:
            image = pixelate_objects(image, found.keep(self.pixelated))
        return replace(outcome, image=image, detections=found.keep(self.classes, self.min_size))

    def count_frames(self, num_frames: int) -> int:
        """Return the number of frames to process of a video of ``num_frames``; 0 if unknown."""
        count = -(-num_frames // self.every)
        return count if self.most_frames is None else min(count, self.most_frames)
