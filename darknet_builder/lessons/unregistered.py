"""Finds what a module holds but has not registered, for any ``nn.Module``.

``nn.Module.__setattr__`` registers Parameters, Modules and Buffers that are set as attributes. It
does not look inside a list, a tuple or a dict, and it takes a plain tensor for any other value.
What slips through is missing from ``parameters()``, ``state_dict()``, ``to()`` and ``eval()``, and
nothing says so.
"""

from __future__ import annotations

import dataclasses
from collections import UserDict, UserList, deque
from collections.abc import Iterator
from types import MappingProxyType, SimpleNamespace

import torch
from torch import Tensor, nn

_SEQUENCES = (list, tuple, deque, UserList)
_SETS = (set, frozenset)
_MAPPINGS = (dict, UserDict, MappingProxyType)
_MODULE_INTERNALS = frozenset(vars(nn.Module()))
"""Where ``nn.Module`` itself keeps what is registered, and its hooks."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
_Step = tuple[str, object, object]
"""How a step of the path is written, its name or place, and what is there."""


def find_unregistered(module: nn.Module) -> list[str]:
    """The attribute paths of modules, parameters and tensors that ``module`` holds without having
    registered them.

    It looks at the attributes of every module of the tree, its class's included, and inside lists,
    tuples, deques, sets, dicts, namespaces and dataclasses, however nested. A path reads as Python
    does, from ``module`` on: ``layers[3]``, ``cache['k']``, ``stem.parts[0][1].weight``; the
    elements of a set, which have no place, are counted: ``pool{0}``. Each object is named once, by
    the first path to it; of a module in a list that is the module, not the parameters inside it.

    Not reported: what is registered anywhere in the tree (shared modules, the flat weights of an
    LSTM), a module that holds this one (a way back to the parent), and tensors that are only
    another view of registered ones or computed from them (``weight`` under weight norm, spectral
    norm and pruning). Objects of other classes, closures and weak references are not looked into.

    Args:
        module: any module. Nothing in it is run or changed.
    """
    registered = _Registered(module)
    found: list[tuple[str, nn.Module | Tensor]] = []
    seen: set[int] = set()
    stack: list[tuple[str, object, nn.Module]] = [("", module, module)]
    while stack:
        path, value, owner = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not registered.has_tensor(value):
                found.append((path, value))
            continue
        if isinstance(value, nn.Module):
            if not registered.has_module(value):
                if any(part is owner for part in value.modules()):
                    continue
                found.append((path, value))
            owner = value
        steps = [step for step in _steps(value) if _may_hold(step[-1])]
        stack.extend(
            (path + form.format(place), item, owner) for form, place, item in reversed(steps)
        )
    return [path.removeprefix(".") for path in _without_parts(found)]


class _Registered:
    """What a module's own walks (``modules()``, ``parameters()``, ``buffers()``) reach."""

    def __init__(self, module: nn.Module) -> None:
        self._modules = {id(part) for part in module.modules()}
        tensors = [*module.parameters(), *module.buffers()]
        gradients = [tensor.grad for tensor in module.parameters() if tensor.grad is not None]
        self._tensors = {id(tensor) for tensor in tensors}
        self._storages = {_storage(tensor) for tensor in [*tensors, *gradients]} - {None}

    def has_module(self, module: nn.Module) -> bool:
        """Whether it is one of them."""
        return id(module) in self._modules

    def has_tensor(self, tensor: Tensor) -> bool:
        """Whether it is one of them, a view of one, computed from them alone, or holds no value at
        all.
        """
        if id(tensor) in self._tensors:
            return True
        if isinstance(tensor, nn.Parameter):
            return False
        return (
            tensor.numel() == 0 or _storage(tensor) in self._storages or self._is_computed(tensor)
        )

    def _is_computed(self, tensor: Tensor) -> bool:
        leaves = list(_leaves(tensor))
        return bool(leaves) and all(id(leaf) in self._tensors for leaf in leaves)


def _storage(tensor: Tensor) -> int | None:
    """What two views of the same memory have in common; also on the meta device, where every
    address is 0.
    """
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, ValueError):  # sparse tensors, lazy parameters
        return None


def _leaves(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that autograd would give a gradient from ``tensor``."""
    seen: set[object] = set()
    stack = [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        stack.extend(following for following, _ in node.next_functions)


def _may_hold(value: object) -> bool:
    if type(value) in _PLAIN:
        return False
    return (
        isinstance(value, (nn.Module, Tensor, SimpleNamespace, *_SEQUENCES, *_SETS, *_MAPPINGS))
        or dataclasses.is_dataclass(value)
        and not isinstance(value, type)
    )


def _steps(value: object) -> Iterator[_Step]:
    """Everything inside ``value``."""
    if isinstance(value, nn.Module):
        yield from _attributes(value)
        yield from _children(value)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((".{}", name, item) for name, item in zip(value._fields, value, strict=True))
    elif isinstance(value, _SEQUENCES):
        yield from (("[{}]", index, item) for index, item in enumerate(value))
    elif isinstance(value, _SETS):
        yield from (("{{{}}}", index, item) for index, item in enumerate(value))
    elif isinstance(value, _MAPPINGS):
        yield from ((".keys(){{{}}}", index, key) for index, key in enumerate(value))
        yield from (("[{!r}]", key, item) for key, item in value.items())
    elif isinstance(value, SimpleNamespace):
        yield from ((".{}", name, item) for name, item in vars(value).items())
    elif dataclasses.is_dataclass(value):
        yield from (
            (".{}", field.name, getattr(value, field.name, None))
            for field in dataclasses.fields(value)
        )


def _attributes(module: nn.Module) -> Iterator[_Step]:
    """Its plain attributes, then those of its classes that it does not hide."""
    if isinstance(module, torch.jit.ScriptModule):
        return  # compiled: what it holds lives in its C++ half, of which these attributes are only handles
    names = set(_MODULE_INTERNALS) | _recomputed(module)
    for name, value in vars(module).items():
        if name not in names:
            yield _attribute(name), name, value
    for registered in (vars(module), module._parameters, module._buffers, module._modules):
        names.update(registered)
    for owner in type(module).__mro__:
        if owner not in nn.Module.__mro__:
            yield from (
                (_attribute(name), name, value)
                for name, value in vars(owner).items()
                if name not in names
            )
            names.update(vars(owner))


def _recomputed(module: nn.Module) -> set[str]:
    """Attributes that torch sets anew before each ``forward``.

    They are the targets of the hooks of weight_norm, spectral_norm and prune, and the flat weights
    of an LSTM or GRU.
    """
    hooks = module._forward_pre_hooks.values()
    names = {getattr(hook, key, None) for hook in hooks for key in ("name", "_tensor_name")}
    flat = {"_flat_weights"} if isinstance(module, nn.RNNBase) else set()
    return flat | {name for name in names if isinstance(name, str)}


def _children(module: nn.Module) -> Iterator[_Step]:
    """Its registered children, by the step with which Python reaches them."""
    for position, (name, child) in enumerate(module._modules.items()):
        if isinstance(module, nn.ModuleDict):
            yield "[{!r}]", name, child
        elif isinstance(module, (nn.ModuleList, nn.Sequential)) and name.isdigit():
            yield "[{}]", position, child
        else:
            yield (".{}" if name.isidentifier() else "._modules[{!r}]"), name, child


def _attribute(name: str) -> str:
    return ".{}" if name.isidentifier() else ".__dict__[{!r}]"


def _without_parts(found: list[tuple[str, nn.Module | Tensor]]) -> list[str]:
    """The paths, less those of what belongs to a module that is named itself."""
    parts: set[int] = set()
    for _, value in found:
        if isinstance(value, nn.Module):
            parts.update(id(part) for part in value.modules() if part is not value)
            parts.update(id(tensor) for tensor in [*value.parameters(), *value.buffers()])
    return [path for path, value in found if id(value) not in parts]
