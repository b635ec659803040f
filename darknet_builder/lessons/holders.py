"""List what a Python object holds, with the expression that leads there.

``find_unregistered`` walks through these steps. An object is not searched if it is a class, a
module of Python, or belongs to Python, NumPy or PyTorch itself: optimisers, schedules, data sets
and loaders hold tensors that no module has to register.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import UserDict, UserList, deque
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MappingProxyType, MethodType, ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

Step = tuple[str, object, object]
"""Format of a step of the path, its name or index, and the value there."""
SEQUENCES = (list, tuple, deque, UserList)
SETS = (set, frozenset)
MAPPINGS = (dict, UserDict, MappingProxyType)
FUNCTIONS = (FunctionType, MethodType, partial)
_MODULE_INTERNALS = frozenset(vars(nn.Module()))
"""Attributes in which ``nn.Module`` itself keeps hooks and everything that is registered."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
_OF_OTHERS = frozenset({*sys.stdlib_module_names, "torch", "numpy", "builtins"})
"""Packages whose objects and functions are not searched."""
_NOT_PARTS = (
    torch.optim.Optimizer,
    torch.optim.lr_scheduler.LRScheduler,
    torch.utils.data.Dataset,
    torch.utils.data.DataLoader,
    torch.utils.data.Sampler,
)
"""Classes whose objects, also those of derived classes, are beside a model and not part of it."""


def is_object(value: object) -> bool:
    """Return whether a value is a plain object, whose attributes are searched.

    A distribution of ``torch.distributions`` is one: ``to()`` does not move its tensors.

    Args:
        value: anything.

    Example:
        >>> class Prior:
        ...     pass
        >>> is_object(Prior()), is_object(Prior), is_object([Prior()])
        (True, False, False)
    """
    if isinstance(value, (type, ModuleType, nn.Module, Tensor, *_NOT_PARTS)):
        return False
    if isinstance(value, SimpleNamespace) or dataclasses.is_dataclass(value):
        return True
    if isinstance(value, (*SEQUENCES, *SETS, *MAPPINGS, *FUNCTIONS)):
        return False
    if isinstance(value, torch.distributions.Distribution):
        return True
    has_attributes = hasattr(value, "__dict__") or hasattr(type(value), "__slots__")
    return has_attributes and _package(type(value)) not in _OF_OTHERS


def may_hold(value: object) -> bool:
    """Return whether a value may contain modules or tensors, or is one.

    Args:
        value: anything.

    Example:
        >>> may_hold([1]), may_hold(1), may_hold(torch.ones(1))
        (True, False, True)
    """
    if type(value) in _PLAIN:
        return False
    if isinstance(value, FunctionType):
        return _package(value) not in _OF_OTHERS
    containers = (nn.Module, Tensor, MethodType, partial, *SEQUENCES, *SETS, *MAPPINGS)
    return isinstance(value, containers) or is_object(value)


def steps(value: object) -> Iterator[Step]:
    """Yield everything directly inside a value.

    Args:
        value: anything.

    Example:
        >>> [form.format(key) for form, key, _ in steps({"k": 1})]
        ['.keys(){0}', "['k']"]
    """
    if isinstance(value, nn.Module):
        yield from _of_module(value)
        yield from _children(value)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((".{}", name, item) for name, item in zip(value._fields, value, strict=True))
    elif isinstance(value, SEQUENCES):
        yield from (("[{}]", index, item) for index, item in enumerate(value))
    elif isinstance(value, SETS):
        yield from (("{{{}}}", index, item) for index, item in enumerate(value))
    elif isinstance(value, MAPPINGS):
        yield from ((".keys(){{{}}}", index, key) for index, key in enumerate(value))
        yield from (("[{!r}]", key, item) for key, item in value.items())
    elif isinstance(value, FUNCTIONS):
        yield from _of_function(value)
    elif is_object(value):
        yield from _of_object(value)


def _package(thing: object) -> str:
    """Return the package of a class or function: ``torch`` for ``torch.nn.functional``."""
    return str(getattr(thing, "__module__", None)).partition(".")[0]


def _of_function(value: object) -> Iterator[Step]:
    """Yield what a function keeps between two calls."""
    if isinstance(value, partial):
        yield ".{}", "func", value.func
        yield ".{}", "args", value.args
        yield ".{}", "keywords", value.keywords
    elif isinstance(value, MethodType):
        yield ".{}", "__self__", value.__self__
        yield ".{}", "__func__", value.__func__
    elif isinstance(value, FunctionType):
        for index, cell in enumerate(value.__closure__ or ()):
            # A cell is empty while the function that makes it is still running.
            with_contents = [cell.cell_contents] if _is_filled(cell) else []
            yield from ((".__closure__[{}].cell_contents", index, item) for item in with_contents)
        yield ".{}", "__defaults__", value.__defaults__
        yield ".{}", "__kwdefaults__", value.__kwdefaults__


def _is_filled(cell: object) -> bool:
    try:
        cell.cell_contents  # type: ignore[attr-defined]  # noqa: B018
    except ValueError:
        return False
    return True


def _of_object(value: object) -> Iterator[Step]:
    """Yield the attributes of an object that is not a module, also those in ``__slots__``."""
    names = dict.fromkeys(getattr(value, "__dict__", ()))
    for owner in type(value).__mro__:
        slots = vars(owner).get("__slots__", ())
        names.update(dict.fromkeys([slots] if isinstance(slots, str) else slots))
    for name in names:
        if isinstance(name, str) and name not in ("__dict__", "__weakref__"):
            yield attribute(name), name, _attribute_of(value, name)


def _attribute_of(value: object, name: str) -> object:
    """Return an attribute without running a property, and None for a slot that is not set."""
    found = getattr(value, "__dict__", {})
    return found[name] if name in found else getattr(value, name, None)


def _of_module(module: nn.Module) -> Iterator[Step]:
    """Yield the plain attributes of a module, then those of its classes that it does not hide."""
    if isinstance(module, torch.jit.ScriptModule):
        return  # its attributes are handles of objects in C++, which holds the real ones
    names = set(_MODULE_INTERNALS) | _recomputed(module)
    for name, value in vars(module).items():
        if name not in names:
            yield attribute(name), name, value
    # Python looks at the class last: an attribute there is hidden by one of the instance.
    for registered in (vars(module), module._parameters, module._buffers, module._modules):
        names.update(registered)
    for owner in type(module).__mro__:
        if owner not in nn.Module.__mro__:
            yield from (
                (attribute(name), name, value)
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


def _children(module: nn.Module) -> Iterator[Step]:
    """Yield the registered children, with the step by which Python reaches them."""
    for position, (name, child) in enumerate(module._modules.items()):
        if isinstance(module, nn.ModuleDict):
            yield "[{!r}]", name, child
        elif isinstance(module, (nn.ModuleList, nn.Sequential)) and name.isdigit():
            yield "[{}]", position, child
        else:
            yield (".{}" if name.isidentifier() else "._modules[{!r}]"), name, child


def attribute(name: str) -> str:
    """Return the format of the step to an attribute, whose name may be any text.

    Args:
        name: of the attribute.

    Example:
        >>> attribute("scale"), attribute("a b")
        ('.{}', '.__dict__[{!r}]')
    """
    return ".{}" if name.isidentifier() else ".__dict__[{!r}]"
