"""Find what an ``nn.Module`` holds but has not registered.

``nn.Module.__setattr__`` registers Parameters, Modules and Buffers that are set as attributes. It
does not look inside a list, a tuple or a dict, and it treats a plain tensor like any other value.
Whatever is not registered is missing from ``parameters()``, ``state_dict()``, ``to()`` and
``eval()``, without any error.
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
"""Attributes in which ``nn.Module`` itself keeps hooks and everything that is registered."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
_Step = tuple[str, object, object]
"""Format of a step of the path, its name or index, and the value there."""


def find_unregistered(module: nn.Module) -> list[str]:
    """Return the attribute paths of modules, parameters and tensors that are not registered.

    The search covers the attributes of every module of the tree, including those of its class, and
    the contents of lists, tuples, deques, sets, dicts, namespaces and dataclasses at any depth. A
    path is the Python expression that follows ``module``: ``layers[3]``, ``cache['k']``,
    ``stem.parts[0][1].weight``. Elements of a set have no index and are counted: ``pool{0}``. Each
    object is named once, by the first path to it. For a module in a list, the module is named and
    not the parameters inside it.

    Not reported are: whatever is registered anywhere in the tree (shared modules, the flat weights
    of an LSTM); a module that contains this one (a reference back to the parent); tensors that are
    views of registered ones or computed from them (``weight`` under weight norm, spectral norm and
    pruning). Objects of other classes, closures and weak references are not searched.

    Args:
        module: any module; nothing in it is run or changed.

    Example:
        >>> module = nn.Module()
        >>> module.stem = nn.Linear(2, 2)
        >>> module.layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
        >>> find_unregistered(module)
        ['layers[0]', 'layers[1]']
    """
    registered = _Registered(module)
    unregistered: list[tuple[str, nn.Module | Tensor]] = []
    seen: set[int] = set()
    stack: list[tuple[str, object, nn.Module]] = [("", module, module)]
    while stack:
        path, value, owner = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not registered.has_tensor(value):
                unregistered.append((path, value))
            continue
        if isinstance(value, nn.Module):
            if not registered.has_module(value):
                if any(part is owner for part in value.modules()):
                    continue  # a reference back to the parent
                unregistered.append((path, value))
            owner = value
        # Reversed, because the stack returns the last one first.
        for form, key, item in reversed([step for step in _steps(value) if _may_hold(step[-1])]):
            stack.append((path + form.format(key), item, owner))
    return [path.removeprefix(".") for path in _without_parts(unregistered)]


class _Registered:
    """The objects that ``modules()``, ``parameters()`` and ``buffers()`` of a module reach.

    Args:
        module: the root of the tree of modules.
    """

    def __init__(self, module: nn.Module) -> None:
        self._modules = {id(part) for part in module.modules()}
        tensors = [*module.parameters(), *module.buffers()]
        # Gradients are not registered, but reachable from their parameters.
        gradients = [tensor.grad for tensor in module.parameters() if tensor.grad is not None]
        self._tensors = {id(tensor) for tensor in tensors}
        # Views and detached copies are other objects on the same storage.
        self._storages = {_storage(tensor) for tensor in [*tensors, *gradients]} - {None}

    def has_module(self, module: nn.Module) -> bool:
        """Return whether the module is one of them."""
        return id(module) in self._modules

    def has_tensor(self, tensor: Tensor) -> bool:
        """Return whether the tensor is one of them, derived from them alone, or empty."""
        if id(tensor) in self._tensors:
            return True
        if isinstance(tensor, nn.Parameter):
            return False  # even on a registered storage, it is trained only if it is registered
        return (
            tensor.numel() == 0 or _storage(tensor) in self._storages or self._is_computed(tensor)
        )

    def _is_computed(self, tensor: Tensor) -> bool:
        leaves = list(_leaves(tensor))
        return bool(leaves) and all(id(leaf) in self._tensors for leaf in leaves)


def _storage(tensor: Tensor) -> int | None:
    """Return a number that all views of the same memory share; None without memory.

    An address would not do: on the meta device it is always 0.
    """
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, ValueError):  # sparse tensors, lazy parameters
        return None


def _leaves(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensors that autograd would give a gradient from ``tensor``."""
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
    """Return whether a value may contain modules or tensors, or is one."""
    if type(value) in _PLAIN:
        return False
    return (
        isinstance(value, (nn.Module, Tensor, SimpleNamespace, *_SEQUENCES, *_SETS, *_MAPPINGS))
        or dataclasses.is_dataclass(value)
        and not isinstance(value, type)
    )


def _steps(value: object) -> Iterator[_Step]:
    """Yield everything directly inside ``value``."""
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
    """Yield the plain attributes of a module, then those of its classes that it does not hide."""
    if isinstance(module, torch.jit.ScriptModule):
        return  # its attributes are handles of objects in C++, which holds the real ones
    names = set(_MODULE_INTERNALS) | _recomputed(module)
    for name, value in vars(module).items():
        if name not in names:
            yield _attribute(name), name, value
    # Python looks at the class last: an attribute there is hidden by one of the instance.
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
    """Return the names of attributes that torch sets again before each ``forward``.

    These are the targets of the hooks of weight_norm, spectral_norm and prune, and the flat weights
    of an LSTM or GRU.
    """
    # weight_norm and spectral_norm keep the attribute's name in `name`, prune in `_tensor_name`.
    hooks = module._forward_pre_hooks.values()
    names = {getattr(hook, key, None) for hook in hooks for key in ("name", "_tensor_name")}
    flat = {"_flat_weights"} if isinstance(module, nn.RNNBase) else set()
    return flat | {name for name in names if isinstance(name, str)}


def _children(module: nn.Module) -> Iterator[_Step]:
    """Yield the registered children, with the step by which Python reaches them."""
    for position, (name, child) in enumerate(module._modules.items()):
        if isinstance(module, nn.ModuleDict):
            yield "[{!r}]", name, child
        elif isinstance(module, (nn.ModuleList, nn.Sequential)) and name.isdigit():
            yield "[{}]", position, child
        else:
            yield (".{}" if name.isidentifier() else "._modules[{!r}]"), name, child


def _attribute(name: str) -> str:
    return ".{}" if name.isidentifier() else ".__dict__[{!r}]"


def _without_parts(unregistered: list[tuple[str, nn.Module | Tensor]]) -> list[str]:
    """Return the paths, except those of the contents of a module that is named itself."""
    parts: set[int] = set()
    for _, value in unregistered:
        if isinstance(value, nn.Module):
            parts.update(id(part) for part in value.modules() if part is not value)
            parts.update(id(tensor) for tensor in [*value.parameters(), *value.buffers()])
    return [path for path, value in unregistered if id(value) not in parts]
