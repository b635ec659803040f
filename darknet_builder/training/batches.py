"""Which images each step sees and how they come: a plan that follows from the seed, and workers
that keep up with it.

Nothing here has a state. The images of a step, their size and what happens to each follow from the
seed and the step's number alone, so that a training taken up again sees what the unbroken one would
have seen, with any number of workers.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from darknet_builder.data.classifier_augmentation import ClassifierRule
from darknet_builder.data.detector_augmentation import AugmentRule
from darknet_builder.data.image_set import ImageSet
from darknet_builder.data.sample import Sample, rand_uniform
from darknet_builder.errors import CfgError, DarknetError, DataError, ImageError
from darknet_builder.images.files import read_image
from darknet_builder.images.opencv import load_opencv
from darknet_builder.losses.base import Targets
from darknet_builder.network.network import Network

_ORDER, _STEP, _SAMPLE, _SIZE, _REPLACEMENT = range(5)
"""What a random stream is for; each has its own."""
_SIZE_PERIOD = 10
"""Steps between changes of size (detector.c:196)."""
_LAST_STEPS = 100
"""At the end, as in the first step, images have the largest size."""
_DEFAULT_RANDOM = 1.4
_SIZE_STEP = 32
_MOST_UNREADABLE = 100
"""Unreadable images in a row, drawn at random, after which a training gives up."""
_BATCHES_AHEAD = 4
"""Parts of batches that wait to be learnt from, for each worker."""


class SampleRule(Protocol):
    """What happens to training images: a detector's ``AugmentRule`` or a ``ClassifierRule``."""

    def images_in(self, random: np.random.Generator) -> int:
        """How many images each sample of a batch shows."""

    def make(
        self, random: np.random.Generator, sources: Sequence[Sample], net_size: tuple[int, int]
    ) -> Sample:
        """One sample of ``net_size`` (width, height)."""


class LabelledImages(Protocol):
    """A training set."""

    def __len__(self) -> int:
        """How many images there are."""

    def sample(self, index: int) -> Sample:
        """An image of any size and its boxes, or its class."""

    def path(self, index: int) -> str:
        """The image's file, for messages."""


class ListedImages:
    """The images of a list, read when they are wanted."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """The image as it is, and its boxes."""
        image = self.images[index]
        return Sample(read_image(image.path), image.boxes)

    def path(self, index: int) -> str:
        """Its file."""
        return str(self.images[index].path)


@dataclass(frozen=True)
class SamplePlan:
    """From what one sample of a step is made.

    Attributes:
        indices: numbers of its images in the data set; several for mixup and mosaic.
        position: number of the sample in the whole training, which seeds its augmentation.
        net_size: (width, height) of the sample in pixels.
    """

    indices: tuple[int, ...]
    position: int
    net_size: tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """What one part of a step learns from.

    Attributes:
        images: (B, H, W, 3) uint8, blue, green, red.
        boxes: one (T, 5) float32 an image, rows x, y, w, h, class.
        indices: of the images in the data set.
        shares: (B, C) float32, how much of each class each image is; None for detectors.
        skipped: number in the data set and reason of each image that could not be read and was
            replaced.
    """

    images: Tensor
    boxes: tuple[Tensor, ...]
    indices: tuple[int, ...]
    shares: Tensor | None = None
    skipped: tuple[tuple[int, str], ...] = ()

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which copies to a GPU are quick."""
        return replace(self, images=self.images.pin_memory())

    def inputs(self, channels: int, device: torch.device) -> Tensor:
        """(B, C, H, W) float32 in [0, 1]: red, green, blue, or grey."""
        x = self.images.to(device, non_blocking=True).permute(0, 3, 1, 2).flip(1).float() / 255
        if channels == 1:
            x = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        return x.contiguous(memory_format=torch.channels_last)

    def targets(self, device: torch.device) -> Targets:
        """What the losses take."""
        return Targets(() if self.shares is not None else self.boxes, self.shares).to(device)


@dataclass(frozen=True)
class Shard:
    """The part of every batch that this process takes: number ``rank`` of ``world_size``."""

    rank: int = 0
    world_size: int = 1


class StepPlan(Sampler[list[SamplePlan]]):
    """The samples of every part of every step, from some step on.

    Darknet draws images with replacement; here every image comes once before any comes again.

    Args:
        num_images: of the data set.
        network: batch, subdivisions, size and what heads say of multi-scale.
        rule: says how many images a sample shows.
        seed: decides everything.
        first: steps that lie behind.
        last: steps in all.
        shard: the part of each part of a batch that this process takes; all of it by default.

    Raises:
        DataError: for an empty data set.
        CfgError: located, where batch, subdivisions and shard do not divide.
    """

    def __init__(
        self,
        num_images: int,
        network: Network,
        rule: SampleRule,
        *,
        seed: int,
        first: int,
        last: int,
        shard: Shard | None = None,
    ) -> None:
        if num_images < 1:
            raise DataError("the training list has no images")
        self.num_images, self.rule, self.seed = num_images, rule, seed
        self.first, self.last, self.shard = first, last, shard or Shard()
        self.batch, self.parts = network.options.batch, network.options.subdivisions
        self.size, self.random = network.input_size, multi_scale_factor(network)
        self.step_of_size = network.options.augmentation.resize_step or _SIZE_STEP
        _check_division(network, self.shard.world_size)

    def __len__(self) -> int:
        return max(self.last - self.first, 0) * self.parts

    def __iter__(self) -> Iterator[list[SamplePlan]]:
        for step in range(self.first, self.last):
            samples = self.samples(step)
            length = self.batch // self.parts
            for start in range(0, self.batch, length):
                yield samples[start : start + length][self.shard.rank :: self.shard.world_size]

    def samples(self, step: int) -> list[SamplePlan]:
        """Plan all samples of a step; steps are counted from 0."""
        random = np.random.default_rng((self.seed, _STEP, step))
        count, size = self.rule.images_in(random), self.size_at(step)
        others = random.integers(self.num_images, size=(self.batch, count - 1))
        plans = []
        for number in range(self.batch):
            position = step * self.batch + number
            indices = (self._image_at(position), *map(int, others[number]))
            plans.append(SamplePlan(indices, position, size))
        return plans

    def size_at(self, step: int) -> tuple[int, int]:
        """(width, height) of the input: other ones every 10 steps where a head says ``random=``
        (detector.c:196).
        """
        if not self.random:
            return self.size
        largest = self._scaled(self.random)
        if step == 0 or step >= self.last - _LAST_STEPS:
            return largest
        random = np.random.default_rng((self.seed, _SIZE, step // _SIZE_PERIOD))
        factor = rand_uniform(random, 1, self.random)
        return self._scaled(factor if random.random() < 0.5 else 1 / factor)

    def _scaled(self, factor: float) -> tuple[int, int]:
        width, height = (
            round(factor * side / self.step_of_size + 1) * self.step_of_size for side in self.size
        )
        # A factor below 1 must not enlarge, which the + 1 would do to small sizes.
        return (
            (min(width, self.size[0]), min(height, self.size[1])) if factor < 1 else (width, height)
        )

    def _image_at(self, position: int) -> int:
        epoch, place = divmod(position, self.num_images)
        return int(_order(self.seed, epoch, self.num_images)[place])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num_images)


def multi_scale_factor(network: Network) -> float:
    """How far sizes may go up and down: 0 for not at all; ``random=1`` means 1.4
    (detector.c:186).
    """
    factor = max((head.augment.random for head in network.heads), default=0.0)
    return _DEFAULT_RANDOM if factor == 1 else factor


def sample_rule(network: Network) -> SampleRule:
    """Return what happens to a network's training images: a detector's rule, or a classifier's.

    Raises:
        InputError: for a cfg with a rule that the network cannot have.
    """
    return AugmentRule.of(network) if network.heads else ClassifierRule.of(network)


def _check_division(network: Network, world_size: int) -> None:
    options, net = network.options, network.blocks[0]
    if options.batch % options.subdivisions:
        raise net.error(
            f"batch={options.batch} is no multiple of subdivisions={options.subdivisions}: "
            "a batch is cut into so many equal parts",
            "subdivisions",
        )
    length = options.batch // options.subdivisions
    if length % world_size:
        raise CfgError(
            f"the {length} images of each part (batch / subdivisions) cannot be "
            f"shared evenly by {world_size} processes",
            **net.place("batch"),
            hint="start another number of them, or change subdivisions=",
        )


@dataclass(frozen=True)
class MadeSample:
    """One sample, ready to be collated.

    Attributes:
        sample: augmented, of the size that was planned.
        index: number of its first image in the data set.
        skipped: number and reason of each image that could not be read and was replaced.
    """

    sample: Sample
    index: int
    skipped: tuple[tuple[int, str], ...] = ()


class TrainingSamples(Dataset[MadeSample]):
    """Make the samples that a plan names; run by the workers."""

    def __init__(self, images: LabelledImages, rule: SampleRule, seed: int) -> None:
        self.images, self.rule, self.seed = images, rule, seed

    def __getitems__(self, plans: Sequence[SamplePlan]) -> list[MadeSample] | DarknetError:
        """Make the samples of one batch for the DataLoader.

        An error is returned, not raised: the DataLoader would wrap it in the worker's traceback.
        """
        try:
            return [self[planned] for planned in plans]
        except DarknetError as error:
            return error

    def __getitem__(self, planned: SamplePlan) -> MadeSample:
        random = np.random.default_rng((self.seed, _SAMPLE, planned.position))
        read = [self._read(planned, place) for place in range(len(planned.indices))]
        sample = self.rule.make(random, [source.sample for source in read], planned.net_size)
        skipped = tuple(failure for source in read for failure in source.skipped)
        return MadeSample(sample, read[0].index, skipped)

    def _read(self, planned: SamplePlan, place: int) -> MadeSample:
        """Read one image of a plan, or the first readable one of a random series in its stead.

        The series follows from the seed and the position alone, so that a resumed training draws
        the same images.

        Raises:
            ImageError: of the planned image, when every image of a long series is unreadable.
        """
        key = (self.seed, _REPLACEMENT, planned.position, place)
        random, index = np.random.default_rng(key), planned.indices[place]
        failures: list[tuple[int, ImageError]] = []
        while len(failures) < _MOST_UNREADABLE:
            try:
                skipped = tuple((number, str(error)) for number, error in failures)
                return MadeSample(self.images.sample(index), index, skipped)
            except ImageError as error:
                failures.append((index, error))
                index = int(random.integers(len(self.images)))
        raise failures[0][1]


def collate(made: Sequence[MadeSample] | DarknetError) -> Batch | DarknetError:
    """Samples of one size -> a batch."""
    if isinstance(made, DarknetError):
        return made
    samples = [one.sample for one in made]
    shares = [sample.shares for sample in samples if sample.shares is not None]
    return Batch(
        torch.from_numpy(np.stack([sample.image for sample in samples])),
        tuple(torch.from_numpy(np.ascontiguousarray(sample.boxes)) for sample in samples),
        tuple(one.index for one in made),
        torch.from_numpy(np.stack(shares)) if shares else None,
        tuple(failure for one in made for failure in one.skipped),
    )


def load_batches(
    images: LabelledImages, plan: StepPlan, *, workers: int, pinned: bool = False
) -> Iterator[Batch]:
    """The plan's batches in order, made ahead by ``workers`` processes, or by this one in its turn
    where that is 0.

    Raises:
        DarknetError: for what is wrong with an image or its labels.
    """
    for made in _make_loader(images, plan, workers=workers, pinned=pinned):
        if isinstance(made, DarknetError):
            raise made
        yield made


def _make_loader(
    images: LabelledImages, plan: StepPlan, *, workers: int, pinned: bool
) -> Iterable[Batch | DarknetError]:
    samples = TrainingSamples(images, plan.rule, plan.seed)
    # Its own generator: the loader must not advance torch's, whose state is part of a checkpoint.
    return DataLoader(
        samples,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pinned,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(plan.seed),
        prefetch_factor=_BATCHES_AHEAD if workers else None,
    )


def _start_worker(number: int) -> None:
    """Ctrl-C is the main process's affair, and a worker's OpenCV must not start threads of its
    own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_opencv().setNumThreads(0)
