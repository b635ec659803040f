"""Checks of the faults in which PyTorch does not find a part of a module, or finds it twice.

A check takes the reader's module, and yields one sentence for each thing that is not right.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import torch
from torch import nn

from darknet_builder.lessons.unregistered import explain_unregistered


def unregistered(module: nn.Module) -> Iterator[str]:
    """Yield what ``find_unregistered`` finds, with its advice.

    Args:
        module: any module.

    Example:
        >>> module = nn.Module()
        >>> module.layers = [nn.Linear(2, 2)]
        >>> list(unregistered(module))
        ['layers[0] is a module that is not registered: use an nn.ModuleList']
    """
    yield from map(str, explain_unregistered(module))


def never_learns(code: ModuleType) -> Iterator[str]:
    """Check that all layers of ``Tower`` are registered, in the order of ``forward``."""
    tower = code.Tower(3)
    yield from unregistered(tower)
    layers = [part for part in tower.modules() if isinstance(part, nn.Linear)]
    if len(layers) != 4:
        yield f"modules() finds {len(layers)} linear layers; a Tower(3) has 4"
        return
    x = torch.rand(2, 8)
    expected = layers[3](layers[2](layers[1](layers[0](x).relu()).relu()).relu())
    if not torch.allclose(tower(x), expected):
        yield "the output is not that of three hidden layers with ReLU and an output layer"


def wrong_after_moving(code: ModuleType) -> Iterator[str]:
    """Check that ``Normalize`` saves and moves its numbers, and does not train them."""
    module = code.Normalize([0.5, 0.25], [0.5, 2.0])
    yield from unregistered(module)
    if trained := [name for name, _ in module.named_parameters()]:
        yield f"{trained[0]} is a parameter, so an optimiser would change it; make it a buffer"
    if len(module.state_dict()) != 2:
        yield f"state_dict() has {len(module.state_dict())} tensors, not 2"
    expected = torch.tensor([1.0, 0.375], dtype=torch.float64).view(1, 2, 1, 1)
    ones = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    result = module.to(torch.float64)(ones)
    if not torch.allclose(result, expected):
        yield "the output is not (x - mean) / std"
    other = code.Normalize([0.0, 0.0], [1.0, 1.0]).to(torch.float64)
    other.load_state_dict(module.state_dict())
    if not torch.equal(other(ones), result):
        yield "a second module that loads the saved tensors gives another result"


def too_many_weights(code: ModuleType) -> Iterator[str]:
    """Check ``count_weights`` on a module with a shared part, and on one without."""
    alone = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))
    if (counted := code.count_weights(alone)) != 30:
        yield f"a model without shared parts has 30 values; {counted} are counted"
    shared = nn.Linear(3, 3)
    branches = nn.ModuleDict({"left": nn.Sequential(shared), "right": nn.Sequential(shared)})
    if (counted := code.count_weights(branches)) != 12:
        yield f"two branches that share a layer of 12 values: {counted} are counted"
    tied = nn.ModuleList([nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)])
    tied[1].weight = tied[0].weight  # the weight is shared, not the module
    if (counted := code.count_weights(tied)) != 15:
        yield f"two layers that share a weight of 15 values: {counted} are counted"


def head_stays_behind(code: ModuleType) -> Iterator[str]:
    """Check that ``to()`` reaches the head of ``Detector``."""
    detector = code.Detector(2)
    yield from unregistered(detector)
    if len(list(detector.parameters())) != 4:
        yield f"parameters() finds {len(list(detector.parameters()))} tensors; a Detector has 4"
        return
    scores = detector.to(torch.float64)(torch.rand(1, 3, 5, 5, dtype=torch.float64))
    if scores.shape != (1, 2, 5, 5):
        yield f"the output has the shape {tuple(scores.shape)}, not (1, 2, 5, 5)"
    if not bool(((scores > 0) & (scores < 1)).all()):
        yield "the output is not between 0 and 1: the sigmoid is missing"
