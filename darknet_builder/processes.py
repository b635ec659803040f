"""Several processes that work together, as ``torchrun`` starts them; on torch.distributed throughout.

They train one network, each on its part of every batch; or each works through its share of a long list.
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

from darknet_builder.devices import find_device

_PATIENCE = timedelta(days=1)
"""How long a process waits for the others: one may be at the validation, or have the larger images."""
_T = TypeVar("_T")
_NOTHING = object()


@dataclass(frozen=True)
class Crew:
    """The processes of one task; one alone needs no communication.

    Attributes:
        rank: of this process; 0 leads: it writes what belongs to all, and validates.
        world: how many there are.
        device: where this process works.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients that are means over the processes."""
        if self.world == 1 or not any(parameter.requires_grad for parameter in model.parameters()):
            return model
        for parameter in model.parameters():
            _stride_gradient_as(parameter)
        return DistributedDataParallel(model)

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """While only a part of a batch is learnt: gradients are exchanged with the last one."""
        if last or not isinstance(model, DistributedDataParallel):
            return nullcontext()
        return cast("AbstractContextManager[None]", model.no_sync())

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.world > 1:
            values = values.to(self.device, copy=True)
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so for any process."""
        return flag if self.world == 1 else bool(self.total(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()

    # ---- objects ------------------------------------------------------------------------------------

    def share(self, whole: Sequence[_T]) -> Sequence[_T]:
        """This process's part of a list: every ``world``-th item, from number ``rank`` on."""
        return whole if self.world == 1 else whole[self.rank::self.world]

    def gather(self, part: Sequence[_T]) -> list[_T]:
        """What became of the shares of a list, one result an item: all in the list's order for the leader.

        The other processes get nothing. All must call it.
        """
        if self.world == 1:
            return list(part)
        parts: list[Any] | None = [None] * self.world if self.leads else None
        # Pickled objects go between the processors' memories, whatever the tensors go by.
        distributed.gather_object(list(part), parts, group=distributed.new_group(backend="gloo", timeout=_PATIENCE))
        turns = zip_longest(*(parts or ()), fillvalue=_NOTHING)
        return [cast("_T", item) for item in chain.from_iterable(turns) if item is not _NOTHING]

    def hand_out(self, make: Callable[[], _T]) -> _T:
        """What the leader makes, to every process: the others need not have the file that it comes from."""
        if self.world == 1:
            return make()
        made: list[Any] = [make() if self.leads else None]
        distributed.broadcast_object_list(made, group=distributed.new_group(backend="gloo", timeout=_PATIENCE))
        return cast("_T", made[0])


def _stride_gradient_as(parameter: nn.Parameter) -> None:
    """Let a gradient that lies in memory as its parameter does say so with the same strides.

    Images in channels_last give kernels of one channel (depthwise) or one place (1 x 1) gradients whose strides differ
    where the size is 1: the same places, but the exchange of gradients compares the strides, and warns.
    """
    def restride(gradient: Tensor) -> Tensor:
        pairs = zip(gradient.shape, gradient.stride(), parameter.stride(), strict=True)
        same = all(size == 1 or ours == theirs for size, ours, theirs in pairs)
        return gradient.as_strided(gradient.shape, parameter.stride()) if same else gradient
    if parameter.requires_grad:
        parameter.register_hook(restride)


@contextmanager
def crew_of(device: str) -> Iterator[Crew]:
    """The crew that ``torchrun`` has started, by its environment; this process alone without one.

    Args:
        device: ``cuda`` becomes the GPU of the process's number on its machine.

    Raises:
        InputError: for a device that is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        find_device(device)
        yield Crew(device=device)
        return
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    find_device(own)
    if own.startswith("cuda"):
        torch.cuda.set_device(own)
    options: dict[str, Any] = {"backend": "nccl" if own.startswith("cuda") else "gloo", "timeout": _PATIENCE}
    distributed.init_process_group(**options)
    try:
        yield Crew(distributed.get_rank(), world, own)
    finally:
        # What still holds the group, in circles, would let its threads end after Python has: that aborts the process.
        gc.collect()
        distributed.destroy_process_group()
