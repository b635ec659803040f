"""Measure what PyTorch finds in a module: parameters, state, devices, modes, effect of a step."""

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
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Reach:
    """The number of objects that an operation reached, of all objects that a module holds.

    Attributes:
        reached: number of objects reached.
        total: number of objects held.

    Example:
        >>> print(Reach(0, 28868))
        0 of 28,868
    """

    reached: int
    total: int

    def __str__(self) -> str:
        return f"{self.reached:,} of {self.total:,}"


@dataclass(frozen=True)
class Variant:
    """One way in which a module can hold modules and tensors.

    Attributes:
        name: heading of its column.
        make: builds the module, with the same values each time.
        loss: a loss to minimise, to which everything that is held contributes.
        held: returns the layers or tensors that the module holds, without PyTorch's help.
    """

    name: str
    make: Callable[[], nn.Module]
    loss: Callable[[nn.Module], Tensor]
    held: Callable[[nn.Module], Sequence[nn.Module | Tensor]]

    def parts(self, module: nn.Module) -> list[nn.Module]:
        """Return the modules that it holds, including those inside them."""
        held = [item for item in self.held(module) if isinstance(item, nn.Module)]
        return _unique(part for item in held for part in item.modules())

    def learnable(self, module: nn.Module) -> list[Tensor]:
        """Return the tensors that it holds directly, and the parameters of its modules."""
        bare = [item for item in self.held(module) if isinstance(item, Tensor)]
        inside = (tensor for part in self.parts(module) for tensor in part.parameters())
        return _unique([*bare, *inside])

    def keepable(self, module: nn.Module) -> list[Tensor]:
        """Return the tensors that it holds directly, and the buffers of its modules."""
        bare = [item for item in self.held(module) if isinstance(item, Tensor)]
        inside = (tensor for part in self.parts(module) for tensor in part.buffers())
        return _unique([*bare, *inside])

    def tensors(self, module: nn.Module) -> list[Tensor]:
        """Return all tensors, including the statistics of batch norms."""
        return _unique([*self.learnable(module), *self.keepable(module)])


def _row(label: str) -> Any:
    return field(metadata={"label": label})


@dataclass(frozen=True)
class Measured:
    """The parts of one variant that PyTorch reaches; each field has the label of its row.

    Attributes:
        parameters: tensors that ``parameters()`` finds.
        values: values in these tensors.
        buffers: tensors that ``buffers()`` finds.
        saved: tensors that ``state_dict()`` saves.
        modules: modules that ``modules()`` finds.
        to_double: tensors that ``.to(torch.float64)`` converts.
        to_eval: modules that ``.eval()`` reaches.
        learning_in_eval: batch norms whose running mean still changes after ``.eval()``.
        stepped: tensors that one step of the optimiser changes.
        optimiser_says: the exception that the optimiser raises, or ``nothing``.
        stepped_beside: ``stepped`` for a module that has one registered layer as well.
        optimiser_says_beside: ``optimiser_says`` for that module.
        unregistered: number of paths that ``find_unregistered`` returns.
    """

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
    """A comparison of variants; ``str(lesson)`` is its title, its table and its remark.

    Attributes:
        title: one line on what is stored, and in what.
        names: names of the variants.
        measured: the measurements of each variant.
        remark: one sentence on what the numbers show.
    """

    title: str
    names: tuple[str, ...]
    measured: tuple[Measured, ...]
    remark: str

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of the table, labels first, without rows where nothing is reached."""
        rows = []
        for row in fields(Measured):
            cells = [str(getattr(measured, row.name)) for measured in self.measured]
            if not all(cell.startswith("0 of ") for cell in cells):
                rows.append((row.metadata["label"], *cells))
        return rows

    def __str__(self) -> str:
        lines = align_columns([("", *self.names), *self.rows()], left=("",))
        return "\n".join([self.title, "", *lines, "", self.remark]) + "\n"


# ---- measuring -----------------------------------------------------------------------------------


def measure(variant: Variant) -> Measured:
    """Build a variant as often as needed, and measure what PyTorch reaches in it."""
    module = variant.make()
    learnable, parts = variant.learnable(module), variant.parts(module)
    stepped, says = _step(variant, beside=False)
    stepped_beside, says_beside = _step(variant, beside=True)
    parameters = list(module.parameters())
    return Measured(
        parameters=_among(parameters, learnable),
        values=Reach(_num_values(parameters), _num_values(learnable)),
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
    """Measure every variant of a lesson.

    Args:
        title: one line on what is stored, and in what.
        variants: one for each column.
        remark: one sentence on what the numbers show.
    """
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
    """Count the batch norms whose running mean a forward pass changes after ``.eval()``."""
    module = variant.make().eval()
    means = [
        part.running_mean
        for part in variant.parts(module)
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None
    ]
    # A batch norm in training mode moves its running mean in every forward pass.
    before = [mean.clone() for mean in means]
    with torch.no_grad():
        variant.loss(module)
    return Reach(_changed(before, means), len(means))


def _step(variant: Variant, *, beside: bool) -> tuple[Reach, str]:
    """Take one step of SGD, and return how many tensors it changes and what the optimiser raises.

    Args:
        variant: the variant to build.
        beside: whether the module also has a registered layer, independent of the others.
    """
    module = variant.make()
    learnable = variant.learnable(module)
    # With a registered neighbour the optimiser has something to train, and does not complain.
    neighbour = seeded(lambda: nn.Linear(1, 1))
    if beside:
        module.beside = neighbour
    try:
        optimiser = torch.optim.SGD(module.parameters(), lr=_RATE)
    except ValueError as error:  # the list of parameters is empty
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
    """Return the mean square of each output, added up."""
    assert isinstance(network, Network)
    return torch.stack([output.square().mean() for output in outputs_of(network)]).sum()


def outputs_of(network: Network) -> list[Tensor]:
    """Return the outputs for two images of noise."""
    shape = network.input_shape.batched(_IMAGES * network.options.time_steps)
    # The same noise for every variant, and the same random numbers for any dropout.
    outputs = seeded(lambda: network(torch.rand(shape)))
    return outputs if isinstance(outputs, list) else [outputs]


def seeded(make: Callable[[], _Result]) -> _Result:
    """Call ``make`` with the same random numbers each time; the caller's generator is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return make()


def _num_values(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _among(reached: Sequence[object], held: Sequence[object]) -> Reach:
    # By identity: tensors with equal values are different tensors.
    ids = {id(item) for item in reached}
    return Reach(sum(id(item) in ids for item in held), len(held))


def _changed(before: Sequence[Tensor], after: Sequence[Tensor]) -> int:
    return sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def _unique(items: Iterable[_Item]) -> list[_Item]:
    """Return the items in order, each once."""
    return list({id(item): item for item in items}.values())
