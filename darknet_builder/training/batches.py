"""Plan the samples of each training step, and load them in worker processes.

Nothing here has a state. The images of a step, their size and their augmentation depend on the seed
and the number of the step alone. So a resumed training sees the same samples as an uninterrupted
one, with any number of workers.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from darknet_builder.data.classifier_augmentation import ClassifierRule
from darknet_builder.data.detector_augmentation import AugmentRule
from darknet_builder.data.sample import rand_uniform
from darknet_builder.errors import CfgError, DarknetError, DataError
from darknet_builder.images.opencv import load_opencv
from darknet_builder.losses.base import Targets
from darknet_builder.network.network import Network
from darknet_builder.training.samples import (
    LabelledImages,
    MadeSample,
    SamplePlan,
    SampleRule,
    TrainingSamples,
)
from darknet_builder.training.samples import ListedImages as ListedImages

_ORDER, _STEP, _SIZE = 0, 1, 3
"""A part of the seed of each random stream, so that no two streams are equal;
``samples.py`` has 2 and 4."""
_SIZE_PERIOD = 10
"""Steps between changes of size (detector.c:196)."""
_LAST_STEPS = 100
"""Number of steps at the end whose images have the largest size, like those of the first step."""
_DEFAULT_RANDOM = 1.4
"""The factor for ``random=1`` (detector.c:197)."""
_SIZE_STEP = 32
"""Default for ``resize_step=``, in pixels."""
_DEAD_WORKER = re.compile(
    r"DataLoader worker \(pid.*?\) (.*exited unexpectedly|is killed by signal: [\w ]+)"
)
_BATCHES_AHEAD = 4
"""Parts of batches that each worker prefetches."""


@dataclass(frozen=True)
class Batch:
    """The samples of one part of a step.

    Attributes:
        images: (B, H, W, 3) uint8, blue, green, red.
        boxes: one (T, 5) float32 tensor for each image, rows x, y, w, h, class.
        indices: number of the first image of each sample in the data set.
        shares: (B, C) float32 class probabilities; None for detectors.
        skipped: (number in the data set, reason) of each image that could not be read and was
            replaced.
    """

    images: Tensor
    boxes: tuple[Tensor, ...]
    indices: tuple[int, ...]
    shares: Tensor | None = None
    skipped: tuple[tuple[int, str], ...] = ()

    def pin_memory(self) -> Batch:
        """Return a copy in page-locked memory, which a GPU reads faster."""
        return replace(self, images=self.images.pin_memory())

    def inputs(self, channels: int, device: torch.device) -> Tensor:
        """Return the network's input.

        Args:
            channels: 3 for red, green, blue; 1 for grey.
            device: device of the result.

        Returns:
            (B, channels, H, W) float32 in [0, 1].
        """
        # (B, H, W, 3) blue, green, red -> (B, 3, H, W) red, green, blue. The bytes are copied to
        # the device first: floats would be four times as many.
        x = self.images.to(device, non_blocking=True).permute(0, 3, 1, 2).flip(1).float() / 255
        if channels == 1:
            x = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        return x.contiguous(memory_format=torch.channels_last)

    def targets(self, device: torch.device) -> Targets:
        """Return the targets of the losses, on a device."""
        return Targets(() if self.shares is not None else self.boxes, self.shares).to(device)


@dataclass(frozen=True)
class Shard:
    """The part of every batch that one process takes.

    Attributes:
        rank: number of the process, 0 to ``world_size`` - 1.
        world_size: number of processes; it divides the samples of each part.
    """

    rank: int = 0
    world_size: int = 1


class StepPlan(Sampler[list[SamplePlan]]):
    r"""The samples of every part of every step; a batch sampler for ``DataLoader``.

    Darknet draws images with replacement. Here each epoch shows every image once.

    Args:
        num_images: number of images in the data set, 1 or more.
        network: has batch, subdivisions, input size and the multi-scale options.
        rule: draws the number of images in a sample.
        seed: equal seeds give equal plans.
        first: number of finished steps; the plan begins after them.
        last: number of steps of the whole training.
        shard: the samples of each part that this process takes; None for all of them.

    Raises:
        DataError: for an empty data set.
        CfgError: when ``batch`` cannot be split evenly by ``subdivisions`` and ``shard``.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nbatch=4\nsubdivisions=2\nwidth=8\nheight=8\nchannels=1\n[softmax]\n"
        >>> network = build_network(cfg)
        >>> plan = StepPlan(10, network, sample_rule(network), seed=0, first=0, last=3)
        >>> len(plan)  # 3 steps of 2 parts
        6
        >>> [len(part) for part in plan]
        [2, 2, 2, 2, 2, 2]
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
            # Process r of n takes samples r, r + n, r + 2n, ... of each part.
            for start in range(0, self.batch, length):
                yield samples[start : start + length][self.shard.rank :: self.shard.world_size]

    def samples(self, step: int) -> list[SamplePlan]:
        """Plan all samples of a step; steps are counted from 0."""
        # Mosaic, mixup and size are drawn once for a step, as in Darknet, not for each sample.
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
        """Return (width, height) of the input in a step, in pixels.

        With ``random=`` in a head it changes every 10 steps (detector.c:196).
        """
        if not self.random:
            return self.size
        # Largest at first, to see whether the memory is enough, and at the end, for the batch norm
        # statistics (detector.c:208).
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
        epoch, index = divmod(position, self.num_images)
        return int(_order(self.seed, epoch, self.num_images)[index])


# Two epochs: at the end of one, a batch may need images of the next.
@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num_images)


def multi_scale_factor(network: Network) -> float:
    """Return the maximum factor of the input size, 0 for a fixed size (detector.c:197).

    ``random=1`` means 1.4.
    """
    factor = max((head.augment.random for head in network.heads), default=0.0)
    return _DEFAULT_RANDOM if factor == 1 else factor


def sample_rule(network: Network) -> SampleRule:
    """Return the augmentation of a network: a detector's rule, or a classifier's.

    Raises:
        InputError: for an option that this kind of network does not support.
    """
    return AugmentRule.of(network) if network.heads else ClassifierRule.of(network)


def _check_division(network: Network, world_size: int) -> None:
    options, net = network.options, network.blocks[0]
    if options.batch % options.subdivisions:
        raise net.error(
            f"expected a divisor of batch={options.batch}, which is split into this number of "
            "equal parts",
            "subdivisions",
        )
    length = options.batch // options.subdivisions
    if length % world_size:
        raise CfgError(
            f"the {length} images of each part (batch / subdivisions) cannot be "
            f"shared evenly by {world_size} processes",
            **net.place("batch"),
            hint="change the number of processes or subdivisions=",
        )


def collate(made: Sequence[MadeSample] | DarknetError) -> Batch | DarknetError:
    """Stack samples of equal size into a batch; pass an error through."""
    if isinstance(made, DarknetError):
        return made
    samples = [one.sample for one in made]
    boxes = [torch.from_numpy(np.ascontiguousarray(sample.boxes)) for sample in samples]
    shares = [sample.shares for sample in samples if sample.shares is not None]
    images = np.stack([sample.image for sample in samples])  # (B, H, W, 3)
    indices = [one.index for one in made]
    skipped = [failure for one in made for failure in one.skipped]
    return Batch(
        torch.from_numpy(images),
        tuple(boxes),
        tuple(indices),
        torch.from_numpy(np.stack(shares)) if shares else None,  # (B, C)
        tuple(skipped),
    )


def load_batches(
    images: LabelledImages, plan: StepPlan, *, workers: int, pinned: bool = False
) -> Iterator[Batch]:
    """Yield the batches of a plan in order, prefetched by worker processes.

    Args:
        images: the training images with their labels.
        plan: the samples of each batch.
        workers: number of processes; 0 makes each batch in this process when it is needed.
        pinned: put batches into page-locked memory, for a GPU.

    Raises:
        DarknetError: for an image or a label that cannot be used, or a worker that was killed.

    Example:
        >>> import tempfile
        >>> from darknet_builder import DataFile, build_network
        >>> from darknet_builder.data import write_scenes
        >>> network = build_network("shapes")
        >>> plan = StepPlan(8, network, sample_rule(network), seed=0, first=0, last=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = DataFile.read(write_scenes(folder, {"train": 8}))
        ...     batch = next(load_batches(ListedImages(data.load("train")), plan, workers=0))
        >>> batch.images.shape
        torch.Size([8, 192, 192, 3])
    """
    with _naming_dead_workers():
        for made in _make_loader(images, plan, workers=workers, pinned=pinned):
            if isinstance(made, DarknetError):
                raise made
            yield made


@contextmanager
def _naming_dead_workers() -> Iterator[None]:
    """Turn PyTorch's error about a worker that was killed into one line.

    The system kills processes when memory is short.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        found = _DEAD_WORKER.search(str(error))
        if found is None and isinstance(error, RuntimeError):
            raise
        # The connection may break before PyTorch sees that the process has ended.
        raise DataError(
            f"a process that prepares images {found[1] if found else 'ended unexpectedly'}",
            argument="workers",
            hint="if memory was short, use fewer of them",
        ) from None


def _make_loader(
    images: LabelledImages, plan: StepPlan, *, workers: int, pinned: bool
) -> Iterable[Batch | DarknetError]:
    samples = TrainingSamples(images, plan.rule, plan.seed)
    # Its own generator: the loader must not advance torch's, whose state is part of a checkpoint.
    # collate and _start_worker are functions of the module: workers that are spawned pickle them.
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
    """Ignore Ctrl-C, which the main process handles, and keep OpenCV to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The workers share the cores already; threads in each of them would compete.
    load_opencv().setNumThreads(0)
