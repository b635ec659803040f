"""Make the augmented samples of a training from their plans, in its worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset

from darknet_builder.data.image_set import ImageSet
from darknet_builder.data.sample import Sample
from darknet_builder.errors import DarknetError, ImageError
from darknet_builder.images.files import read_image

_SAMPLE, _REPLACEMENT = 2, 4
"""A part of the seed of each random stream; ``batches.py`` has the other numbers."""
_MAX_UNREADABLE = 100
"""Number of unreadable images, drawn one after the other, that ends a training."""


class SampleRule(Protocol):
    """Augmentation: a detector's ``AugmentRule`` or a ``ClassifierRule``."""

    def images_in(self, random: np.random.Generator) -> int:
        """Draw the number of images that each sample of a batch shows."""

    def make(
        self, random: np.random.Generator, sources: Sequence[Sample], net_size: tuple[int, int]
    ) -> Sample:
        """Make one sample of ``net_size`` (width, height) in pixels."""


class LabelledImages(Protocol):
    """A training set."""

    def __len__(self) -> int:
        """Return the number of images."""

    def sample(self, index: int) -> Sample:
        """Return an image of any size with its boxes or its class."""

    def path(self, index: int) -> str:
        """Return the file of an image, for messages."""


class ListedImages:
    """The images of an ``ImageSet``, read when they are needed."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Read an image, with its boxes."""
        image = self.images[index]
        return Sample(read_image(image.path), image.boxes)

    def path(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return str(self.images[index].path)


@dataclass(frozen=True)
class SamplePlan:
    """The plan of one sample of a step.

    Attributes:
        indices: numbers of its images in the data set; several for mixup, cutmix and mosaic.
        position: number of the sample in the whole training, which seeds its augmentation.
        net_size: (width, height) of the sample in pixels.
    """

    indices: tuple[int, ...]
    position: int
    net_size: tuple[int, int]


@dataclass(frozen=True)
class MadeSample:
    """A sample, ready to be collated.

    Attributes:
        sample: the augmented sample, of the planned size.
        index: number of its first image in the data set.
        skipped: (number, reason) of each image that could not be read and was replaced.
    """

    sample: Sample
    index: int
    skipped: tuple[tuple[int, str], ...] = ()


class TrainingSamples(Dataset[MadeSample]):
    """Make augmented samples from their plans; runs in the workers.

    Args:
        images: the training images with their labels.
        rule: limits of the random changes to an image.
        seed: seed of the training.
    """

    def __init__(self, images: LabelledImages, rule: SampleRule, seed: int) -> None:
        self.images, self.rule, self.seed = images, rule, seed

    def __getitems__(self, plans: Sequence[SamplePlan]) -> list[MadeSample] | DarknetError:
        """Make the samples of one batch for the DataLoader.

        Each is returned with the number of its first image in the data set. A ``DarknetError`` is
        returned instead of raised: the DataLoader would wrap it in the worker's traceback.
        """
        try:
            return [self[planned] for planned in plans]
        except DarknetError as error:
            return error

    def __getitem__(self, planned: SamplePlan) -> MadeSample:
        # A generator for each sample, so that the number of workers does not change the numbers
        # drawn.
        random = np.random.default_rng((self.seed, _SAMPLE, planned.position))
        read = [self._read(planned, slot) for slot in range(len(planned.indices))]
        sample = self.rule.make(random, [source.sample for source in read], planned.net_size)
        skipped = tuple(failure for source in read for failure in source.skipped)
        return MadeSample(sample, read[0].index, skipped)

    def _read(self, planned: SamplePlan, slot: int) -> MadeSample:
        """Read one image of a plan; if it is unreadable, draw others until one is readable.

        The drawn images depend on the seed and the position alone, so that a resumed training
        draws the same ones.

        Raises:
            ImageError: for the planned image, when 100 images in a row are unreadable.
        """
        key = (self.seed, _REPLACEMENT, planned.position, slot)
        random, index = np.random.default_rng(key), planned.indices[slot]
        failures: list[tuple[int, ImageError]] = []
        while len(failures) < _MAX_UNREADABLE:
            try:
                skipped = tuple((number, str(error)) for number, error in failures)
                return MadeSample(self.images.sample(index), index, skipped)
            except ImageError as error:
                failures.append((index, error))
                index = int(random.integers(len(self.images)))
        raise failures[0][1]
