"""Several processes on one task, as ``torchrun`` starts them, on top of torch.distributed.

They train one network, each on its part of every batch, or each works through its shard of a list.
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
"""How long a process waits for the others: the main one may be validating, or have larger
images."""
_T = TypeVar("_T")
_NOTHING = object()


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that work on one task; a single process needs no communication.

    Attributes:
        rank: number of this process. Rank 0 is the main one: it validates and writes all shared
            files.
        world_size: number of processes.
        device: torch device of this process.
    """

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this process writes the shared files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model in DistributedDataParallel, which averages gradients over the
        processes.
        """
        if self.world_size == 1 or not any(
            parameter.requires_grad for parameter in model.parameters()
        ):
            return model
        for parameter in model.parameters():
            _stride_gradient_as(parameter)
        return DistributedDataParallel(model)

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Hold the exchange of gradients back until the last part of a batch."""
        if last or not isinstance(model, DistributedDataParallel):
            return nullcontext()
        return cast("AbstractContextManager[None]", model.no_sync())

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes (all-reduce)."""
        if self.world_size > 1:
            values = values.to(self.device, copy=True)
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any process."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            distributed.barrier()

    # ---- objects ---------------------------------------------------------------------------------

    def shard(self, whole: Sequence[_T]) -> Sequence[_T]:
        """Return this process's part of a list: every ``world_size``-th item, from number ``rank``
        on.
        """
        return whole if self.world_size == 1 else whole[self.rank :: self.world_size]

    def gather(self, part: Sequence[_T]) -> list[_T]:
        """Collect the results for the shards of a list, one an item, in the list's order.

        All processes must call it; only the main one gets the list, the others an empty one.
        """
        if self.world_size == 1:
            return list(part)
        parts: list[Any] | None = [None] * self.world_size if self.is_main else None
        # Pickled objects go through main memory, so gloo is needed even where tensors go by nccl.
        distributed.gather_object(
            list(part), parts, group=distributed.new_group(backend="gloo", timeout=_PATIENCE)
        )
        turns = zip_longest(*(parts or ()), fillvalue=_NOTHING)
        return [cast("_T", item) for item in chain.from_iterable(turns) if item is not _NOTHING]

    def broadcast(self, make: Callable[[], _T]) -> _T:
        """Call ``make`` in the main process and return its result in every process.

        The others need not have the file that it reads.
        """
        if self.world_size == 1:
            return make()
        made: list[Any] = [make() if self.is_main else None]
        distributed.broadcast_object_list(
            made, group=distributed.new_group(backend="gloo", timeout=_PATIENCE)
        )
        return cast("_T", made[0])


def _stride_gradient_as(parameter: nn.Parameter) -> None:
    """Let a gradient that lies in memory as its parameter does say so with the same strides.

    Images in channels_last give kernels of one channel (depthwise) or one place (1 x 1) gradients
    whose strides differ where the size is 1: the same places, but the exchange of gradients
    compares the strides, and warns.
    """

    def restride(gradient: Tensor) -> Tensor:
        pairs = zip(gradient.shape, gradient.stride(), parameter.stride(), strict=True)
        same = all(size == 1 or ours == theirs for size, ours, theirs in pairs)
        return gradient.as_strided(gradient.shape, parameter.stride()) if same else gradient

    if parameter.requires_grad:
        parameter.register_hook(restride)


@contextmanager
def init_processes(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` has started, as its environment variables describe them.

    Without ``torchrun`` the group is this process alone.

    Args:
        device: torch device; ``cuda`` becomes the GPU with this process's number on its machine.

    Raises:
        InputError: for a device that is not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
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
