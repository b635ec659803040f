"""Measure what PyTorch finds in a module: parameters, state, devices, modes, and what a step
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from darknet_builder.layers.base import Layer
from darknet_builder.lessons.unregistered import find_unregistered
from darknet_builder.network.network import Network
from darknet_builder.support.text import align_columns

_SEED = 0


_RATE = 0.1


_IMAGES = 2


_SILENCE = "nothing"


_Result = TypeVar("_Result")


_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Reach:
    """How many of all the things that a module holds something reached."""

    reached: int
    total: int

    def __str__(self) -> str:
        return f"{self.reached:,} of {self.total:,}"


@dataclass(frozen=True)
class Variant:
    """One way of holding things.

    Attributes:
        name: for the heading.
        make: builds the module anew, with the same values each time.
        loss: something to be made smaller, in which all that is held has its part.
        held: the layers or tensors that it holds, found without PyTorch's help.
    """

    name: str
    make: Callable[[], nn.Module]
    loss: Callable[[nn.Module], Tensor]
    held: Callable[[nn.Module], Sequence[nn.Module | Tensor]]

    def parts(self, module: nn.Module) -> list[nn.Module]:
        """The modules that it holds, those inside them included."""
        return _unique(
            part
            for thing in self.held(module)
            if isinstance(thing, nn.Module)
            for part in thing.modules()
        )

    def learnable(self, module: nn.Module) -> list[Tensor]:
        """The tensors that are held for their own sake, and the parameters of the modules."""
        own = [thing for thing in self.held(module) if isinstance(thing, Tensor)]
        return _unique(
            [*own, *(tensor for part in self.parts(module) for tensor in part.parameters())]
        )

    def keepable(self, module: nn.Module) -> list[Tensor]:
        """The tensors that are held for their own sake, and the buffers of the modules."""
        own = [thing for thing in self.held(module) if isinstance(thing, Tensor)]
        return _unique(
            [*own, *(tensor for part in self.parts(module) for tensor in part.buffers())]
        )

    def tensors(self, module: nn.Module) -> list[Tensor]:
        """All of them, batch norm's statistics included."""
        return _unique([*self.learnable(module), *self.keepable(module)])


def _row(label: str) -> Any:
    return field(metadata={"label": label})


@dataclass(frozen=True)
class Measured:
    """What PyTorch reaches of one variant; each field has the label of its row."""

    parameters: Reach = _row("parameters() finds")
    values: Reach = _row("  values in them")
    buffers: Reach = _row("buffers() finds")
    saved: Reach = _row("state_dict() saves")
    modules: Reach = _row("modules() finds")
    to_double: Reach = _row(".to(torch.float64) reaches")
    to_eval: Reach = _row(".eval() reaches")
    learning_in_eval: Reach = _row("  batch norms that still learn in it")
    stepped: Reach = _row("one optimiser step changes")
    optimiser_says: str = _row("  and the optimiser says")
    stepped_beside: Reach = _row("  with one registered layer beside")
    optimiser_says_beside: str = _row("  and the optimiser says")
    unregistered: int = _row("find_unregistered() names")


@dataclass(frozen=True)
class Lesson:
    """One comparison; ``str(lesson)`` is its title, its table and its remark.

    Attributes:
        title: what is held, and how.
        names: of the variants.
        measured: one for each.
        remark: what to see in it.
    """

    title: str
    names: tuple[str, ...]
    measured: tuple[Measured, ...]
    remark: str

    def rows(self) -> list[tuple[str, ...]]:
        """The table's cells, a label first; what reaches nothing in any of the variants is left
        out.
        """
        rows = [
            (
                row.metadata["label"],
                *(str(getattr(measured, row.name)) for measured in self.measured),
            )
            for row in fields(Measured)
        ]
        return [row for row in rows if not all(cell.startswith("0 of ") for cell in row[1:])]

    def __str__(self) -> str:
        lines = align_columns([("", *self.names), *self.rows()], left=("",))
        return "\n".join([self.title, "", *lines, "", self.remark]) + "\n"


# ---- measuring -----------------------------------------------------------------------------------


def measure(variant: Variant) -> Measured:
    """Build it as often as needed, and see what reaches what it holds."""
    module = variant.make()
    learnable, parts = variant.learnable(module), variant.parts(module)
    stepped, says = _step(variant, beside=False)
    stepped_beside, says_beside = _step(variant, beside=True)
    found = list(module.parameters())
    return Measured(
        parameters=_among(found, learnable),
        values=Reach(
            sum(tensor.numel() for tensor in found), sum(tensor.numel() for tensor in learnable)
        ),
        buffers=_among(list(module.buffers()), variant.keepable(module)),
        saved=_among(list(module.state_dict(keep_vars=True).values()), variant.tensors(module)),
        modules=_among(list(module.modules()), parts),
        to_double=_to_double(variant),
        to_eval=_to_eval(variant),
        learning_in_eval=_learning_in_eval(variant),
        stepped=stepped,
        optimiser_says=says,
        stepped_beside=stepped_beside,
        optimiser_says_beside=says_beside,
        unregistered=len(find_unregistered(module)),
    )


def compare(title: str, variants: Sequence[Variant], remark: str) -> Lesson:
    """Measure every variant of a lesson."""
    return Lesson(
        title, tuple(variant.name for variant in variants), tuple(map(measure, variants)), remark
    )


def _to_double(variant: Variant) -> Reach:
    module = variant.make().to(torch.float64)
    floating = [tensor for tensor in variant.tensors(module) if tensor.is_floating_point()]
    return Reach(sum(tensor.dtype == torch.float64 for tensor in floating), len(floating))


def _to_eval(variant: Variant) -> Reach:
    parts = variant.parts(variant.make().eval())
    return Reach(sum(not part.training for part in parts), len(parts))


def _learning_in_eval(variant: Variant) -> Reach:
    """Whose running mean a forward pass still moves."""
    module = variant.make().eval()
    means = [
        part.running_mean
        for part in variant.parts(module)
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None
    ]
    before = [mean.clone() for mean in means]
    with torch.no_grad():
        variant.loss(module)
    return Reach(_changed(before, means), len(means))


def _step(variant: Variant, *, beside: bool) -> tuple[Reach, str]:
    """One step of SGD: how many tensors it changes, and what the optimiser has to say.

    Args:
        beside: whether the module also has a registered layer that has nothing to do with the
            others.
    """
    module = variant.make()
    learnable = variant.learnable(module)
    neighbour = seeded(lambda: nn.Linear(1, 1))
    if beside:
        module.beside = neighbour
    try:
        optimiser = torch.optim.SGD(module.parameters(), lr=_RATE)
    except ValueError as error:
        return Reach(0, len(learnable)), type(error).__name__
    (variant.loss(module) + neighbour(torch.ones(1, 1)).sum()).backward()
    before = [tensor.detach().clone() for tensor in learnable]
    optimiser.step()
    return Reach(_changed(before, learnable), len(learnable)), _SILENCE


def layers_of(network: nn.Module) -> list[Layer]:
    """Return the layers of a Network, for type checkers."""
    assert isinstance(network, Network)
    return network.sequence()


def network_loss_of(network: nn.Module) -> Tensor:
    """The mean square of all that comes out."""
    assert isinstance(network, Network)
    return torch.stack([output.square().mean() for output in outputs_of(network)]).sum()


def outputs_of(network: Network) -> list[Tensor]:
    """What comes out for two images of noise."""
    shape = network.input_shape.batched(_IMAGES * network.options.time_steps)
    outputs = seeded(
        lambda: network(torch.rand(shape))
    )  # the same noise, and the same draws of any dropout
    return outputs if isinstance(outputs, list) else [outputs]


def seeded(make: Callable[[], _Result]) -> _Result:
    """The same random numbers each time, and the caller's own generator left where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return make()


def _among(found: Sequence[object], held: Sequence[object]) -> Reach:
    ids = {id(thing) for thing in found}
    return Reach(sum(id(thing) in ids for thing in held), len(held))


def _changed(before: Sequence[Tensor], after: Sequence[Tensor]) -> int:
    return sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def _unique(things: Iterable[_Thing]) -> list[_Thing]:
    """In order, shared ones once."""
    return list({id(thing): thing for thing in things}.values())
