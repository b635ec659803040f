"""Several processes that train one network together, as ``torchrun`` starts them; on torch.distributed throughout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Crew:
    """The processes of a training; one alone needs no communication.

    Attributes:
        rank: of this process; 0 leads: it writes all files and validates.
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
        return DistributedDataParallel(model)

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """While only a part of a batch is learnt: gradients are exchanged with the last one."""
        if last or not isinstance(model, DistributedDataParallel):
            return nullcontext()
        return cast("AbstractContextManager[None]", model.no_sync())

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.world > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so for any process."""
        return flag if self.world == 1 else bool(self.total(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def crew_of(device: str) -> Iterator[Crew]:
    """The crew that ``torchrun`` has started, by its environment; this process alone without one.

    Args:
        device: ``cuda`` becomes the GPU of the process's number on its machine.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Crew(device=device)
        return
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    if own.startswith("cuda"):
        torch.cuda.set_device(own)
    options: dict[str, Any] = {"backend": "nccl" if own.startswith("cuda") else "gloo"}
    distributed.init_process_group(**options)
    try:
        yield Crew(distributed.get_rank(), world, own)
    finally:
        distributed.destroy_process_group()
