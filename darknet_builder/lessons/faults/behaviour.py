"""Checks of the faults in what a module or a training does.

A check takes the reader's module, and yields one sentence for each thing that is not right.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

_RATE = 0.1


def weak_gradient(code: ModuleType) -> Iterator[str]:
    """Check output and gradient of ``Residual``."""
    block = code.Residual(3)
    x = torch.rand(1, 3, 4, 4, requires_grad=True)
    reference = x + torch.relu(block.conv(x))
    (expected,) = torch.autograd.grad(reference.sum(), x)
    output = block(x)
    if not torch.allclose(output, reference):
        yield "the output is not x + relu(conv(x))"
    (gradient,) = torch.autograd.grad(output.sum(), x, allow_unused=True)
    if gradient is None:
        yield "the output does not depend on the input for autograd: it has no gradient at all"
    elif not torch.allclose(gradient, expected):
        missing = float((expected - gradient).abs().mean())
        yield (
            f"the gradient of the input differs by {missing:.2f} on average: it does not pass"
            " through both ways of the block"
        )


def never_the_same_twice(code: ModuleType) -> Iterator[str]:
    """Check that ``Classifier`` drops values in training, and not in evaluation."""
    classifier = code.Classifier(3)
    x = torch.rand(5, 4)
    classifier.eval()
    first, second = classifier(x), classifier(x)
    if not torch.equal(first, second):
        yield "two calls in evaluation mode give different answers for one input"
    elif not torch.allclose(first, classifier.output(classifier.hidden(x).relu())):
        yield "the answer in evaluation mode is not that of the two layers"
    classifier.train()
    if torch.equal(classifier(x), classifier(x)):
        yield "two calls in training mode give the same answer: nothing is dropped any more"


def rate_falls_too_fast(code: ModuleType) -> Iterator[str]:
    """Check the learning rate of each update of ``train``."""
    model, rates = nn.Linear(2, 1), []
    optimizer = SGD(model.parameters(), lr=_RATE)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.5)
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    batches = [(torch.rand(4, 2), torch.rand(4, 1)) for _ in range(3)]
    code.train(model, optimizer, scheduler, batches, 2)
    expected = [_RATE] * 3 + [_RATE / 2] * 3
    if rates != expected:
        yield (
            f"two epochs of three batches are trained with the rates {_listed(rates)}; expected"
            f" {_listed(expected)}"
        )
    if scheduler.last_epoch != 2:
        yield f"scheduler.step() was called {scheduler.last_epoch} times for two epochs"
    yield from _other_training(code, batches)


def _other_training(code: ModuleType, batches: list[tuple[Tensor, Tensor]]) -> Iterator[str]:
    """Compare one epoch at a constant rate with a loop that is written out."""
    mine, theirs = nn.Linear(2, 1), nn.Linear(2, 1)
    theirs.load_state_dict(mine.state_dict())
    for inputs, targets in batches:
        loss = nn.functional.mse_loss(mine(inputs), targets)
        gradients = torch.autograd.grad(loss, list(mine.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(mine.parameters(), gradients, strict=True):
                parameter.sub_(_RATE * gradient)
    optimizer = SGD(theirs.parameters(), lr=_RATE)
    code.train(theirs, optimizer, StepLR(optimizer, step_size=9), batches, 1)
    if not torch.allclose(theirs.weight, mine.weight):
        yield "the weights after one epoch differ from those of plain gradient descent"


def _listed(rates: list[float]) -> str:
    return " ".join(f"{rate:g}" for rate in rates)


def forgets_its_head(code: ModuleType) -> Iterator[str]:
    """Check that ``restore`` gives a network all the weights that were saved."""
    saved = code.Animals(3)
    restored = code.restore(saved.state_dict())
    for name, tensor in restored.state_dict().items():
        wanted = saved.state_dict().get(name)
        if wanted is None or not torch.equal(tensor, wanted):
            yield f"{name} is not the saved tensor"
    x = torch.rand(2, 4)
    if restored(x).shape != saved(x).shape:
        yield f"the restored network has {restored(x).shape[1]} outputs; the saved one had 3"


def frozen_but_moving(code: ModuleType) -> Iterator[str]:
    """Check that nothing in the backbone of ``Frozen`` changes in a training."""
    backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    head = nn.Linear(4, 1)
    model = nn.Sequential(code.Frozen(backbone), head)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    optimizer = SGD(model.parameters(), lr=_RATE, weight_decay=0.1)
    weight = head.weight.detach().clone()
    for _ in range(2):
        model.train()
        optimizer.zero_grad()
        model(torch.rand(8, 4)).sum().backward()
        optimizer.step()
    for name, tensor in backbone.state_dict().items():
        if not torch.equal(tensor, before[name]):
            yield f"{name} of the backbone has changed in a training"
    if not model.training or not head.training:
        yield "train() does not reach the rest of the model any more"
    if torch.equal(head.weight, weight):
        yield "the head behind the backbone does not learn any more"


def best_is_last(code: ModuleType) -> Iterator[str]:
    """Check which weights ``Best`` keeps."""
    model = nn.Linear(1, 1)
    best = code.Best(model)
    for value, score in ((1.0, 0.3), (2.0, 0.9), (3.0, 0.5)):
        with torch.no_grad():
            model.weight.fill_(value)
        best.update(score)
    best.restore()
    restored = model.weight.item()
    if restored != 2.0:
        yield (
            f"the weight was 2 when the score was highest and 3 in the end; restore() gives"
            f" {restored:g}"
        )
    with torch.no_grad():
        model.weight.fill_(4.0)
    best.restore()
    if model.weight.item() != 2.0:
        yield "a second restore() gives another weight: the kept ones change with the model"
