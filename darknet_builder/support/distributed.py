"""Process groups as ``torchrun`` starts them, on top of torch.distributed.

The processes train one network, each on its part of every batch, or each works through its shard
of a list.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from darknet_builder.support.devices import find_device

_PATIENCE = timedelta(days=1)
"""Timeout of communication. It is long because the others wait while the main process validates,
and because image sizes differ between processes."""
_T = TypeVar("_T")
_NOTHING = object()


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that share one task; a group of one needs no communication.

    Attributes:
        rank: number of this process. Rank 0 is the main process: it validates and writes all
            shared files.
        world_size: number of processes, 1 or more.
        device: torch device of this process.

    Example:
        >>> ProcessGroup(rank=1, world_size=3).shard(range(7))
        range(1, 7, 3)
    """

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Return whether this process writes the shared files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wrap the model in DistributedDataParallel, which averages gradients over the processes.

        A group of one, or a model without trained parameters, is returned as it is.
        """
        # DistributedDataParallel raises for a model in which nothing requires a gradient.
        trained = any(parameter.requires_grad for parameter in model.parameters())
        if self.world_size == 1 or not trained:
            return model
        for parameter in model.parameters():
            _stride_gradient_as(parameter)
        return DistributedDataParallel(model)

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Return a context that postpones the exchange of gradients until the last part of a batch.

        Args:
            model: the result of ``wrap``.
            last: whether this is the last part, after which gradients are exchanged.
        """
        if last or not isinstance(model, DistributedDataParallel):
            return nullcontext()
        return cast("AbstractContextManager[None]", model.no_sync())

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes (all-reduce) and return the sum in each of them."""
        if self.world_size > 1:
            # all_reduce writes into its argument; the caller's tensor must stay as it is.
            values = values.to(self.device, copy=True)
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is true in any process."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.world_size > 1:
            distributed.barrier()

    # ---- objects ---------------------------------------------------------------------------------

    def shard(self, whole: Sequence[_T]) -> Sequence[_T]:
        """Return this process's part of a list.

        The part is every ``world_size``-th item, starting at item ``rank``.
        """
        return whole if self.world_size == 1 else whole[self.rank :: self.world_size]

    def gather(self, part: Sequence[_T]) -> list[_T]:
        """Collect the results for the shards of a list in the order of the list.

        All processes must call this.

        Args:
            part: one result for each item of this process's shard.

        Returns:
            One result for each item of the whole list in the main process; an empty list elsewhere.
        """
        if self.world_size == 1:
            return list(part)
        parts: list[Any] | None = [None] * self.world_size if self.is_main else None
        # Pickled objects go through main memory, so gloo is needed even where tensors go by nccl.
        distributed.gather_object(
            list(part), parts, group=distributed.new_group(backend="gloo", timeout=_PATIENCE)
        )
        # Shards are strided, so reading across them restores the order. With 3 processes:
        #   shards  [0 3 6]  [1 4]  [2 5]
        #   rounds  (0 1 2)  (3 4 5)  (6 - -)     "-" is _NOTHING: that shard has ended
        rounds = zip_longest(*(parts or ()), fillvalue=_NOTHING)
        return [cast("_T", item) for item in chain.from_iterable(rounds) if item is not _NOTHING]

    def broadcast(self, make: Callable[[], _T]) -> _T:
        """Call ``make`` in the main process and return its result in every process.

        The other processes need not have the files that ``make`` reads.
        """
        if self.world_size == 1:
            return make()
        made: list[Any] = [make() if self.is_main else None]
        distributed.broadcast_object_list(
            made, group=distributed.new_group(backend="gloo", timeout=_PATIENCE)
        )
        return cast("_T", made[0])


def _stride_gradient_as(parameter: nn.Parameter) -> None:
    """Give each gradient the strides of its parameter if both have the same layout in memory.

    With images in channels_last, kernels with one channel (depthwise) or one cell (1 x 1) get
    gradients whose strides differ only on axes of size 1. The layout is the same, but
    DistributedDataParallel compares the strides and warns.
    """

    def restride(gradient: Tensor) -> Tensor:
        pairs = zip(gradient.shape, gradient.stride(), parameter.stride(), strict=True)
        # The stride of an axis of size 1 is never used to compute an address.
        same = all(size == 1 or ours == theirs for size, ours, theirs in pairs)
        return gradient.as_strided(gradient.shape, parameter.stride()) if same else gradient

    if parameter.requires_grad:
        parameter.register_hook(restride)


def launched_processes() -> int:
    """Return the number of processes that ``torchrun`` has started; 1 without it.

    Example:
        >>> launched_processes()
        1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def init_processes(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` has started, as its environment variables describe them.

    Without ``torchrun`` the group consists of this process alone.

    Args:
        device: torch device; ``cuda`` becomes the GPU whose number is this process's local rank.

    Yields:
        The group, which is left when the block ends.

    Raises:
        InputError: if the device is not available.

    Example:
        >>> with init_processes("cpu") as group:
        ...     group.is_main, group.world_size
        (True, 1)
    """
    world_size = launched_processes()
    if world_size == 1:
        find_device(device)
        yield ProcessGroup(device=device)
        return
    local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    find_device(local)
    if local.startswith("cuda"):
        torch.cuda.set_device(local)
    backend = "nccl" if local.startswith("cuda") else "gloo"
    distributed.init_process_group(backend=backend, timeout=_PATIENCE)
    try:
        yield ProcessGroup(distributed.get_rank(), world_size, local)
    finally:
        # Reference cycles may still hold the group. Its threads would then outlive the interpreter,
        # which aborts the process.
        gc.collect()
        distributed.destroy_process_group()
