"""Find what an ``nn.Module`` holds but has not registered.

``nn.Module.__setattr__`` registers Parameters, Modules and Buffers that are set as attributes. It
does not look inside a list, a tuple or a dict, and it treats a plain tensor like any other value.
Whatever is not registered is missing from ``parameters()``, ``state_dict()``, ``to()`` and
``eval()``, without any error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from darknet_builder.lessons.holders import (
    MAPPINGS,
    SEQUENCES,
    SETS,
    is_object,
    may_hold,
    steps,
)


@dataclass(frozen=True)
class Unregistered:
    """A module or tensor that PyTorch does not find, and where it belongs.

    Attributes:
        path: the Python expression that follows the module.
        kind: ``module``, ``parameter`` or ``tensor``.
        advice: the container or call of ``nn`` that registers it, as the rest of a sentence.

    Example:
        >>> print(Unregistered("layers[0]", "module", "use an nn.ModuleList"))
        layers[0] is a module that is not registered: use an nn.ModuleList
    """

    path: str
    kind: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path} is a {self.kind} that is not registered: {self.advice}"


def find_unregistered(module: nn.Module) -> list[str]:
    """Return the attribute paths of modules, parameters and tensors that are not registered.

    The search covers the attributes of every module of the tree, including those of its class, and
    the contents of lists, tuples, deques, sets, dicts, namespaces, dataclasses and other objects at
    any depth. In functions it covers closures, default values, ``functools.partial`` and the
    objects of bound methods. A path is the Python expression that follows ``module``:
    ``layers[3]``, ``cache['k']``, ``stem.parts[0][1].weight``. Elements of a set have no index and
    are counted: ``pool{0}``. Each object is named once, by the first path to it. For a module in a
    list, the module is named and not the parameters inside it.

    Not reported are: whatever is registered anywhere in the tree (shared modules, the flat weights
    of an LSTM); a module that contains this one (a reference back to the parent); tensors that are
    views of registered ones or computed from them (``weight`` under weight norm, spectral norm and
    pruning). Optimisers, schedules, data sets, weak references and global variables are not
    searched.

    Args:
        module: any module; nothing in it is run or changed.

    Example:
        >>> module = nn.Module()
        >>> module.stem = nn.Linear(2, 2)
        >>> module.layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
        >>> find_unregistered(module)
        ['layers[0]', 'layers[1]']
    """
    return [found.path for found in explain_unregistered(module)]


def explain_unregistered(module: nn.Module) -> list[Unregistered]:
    """Return what ``find_unregistered`` finds, with its kind and the container that registers it.

    Args:
        module: any module; nothing in it is run or changed.

    Example:
        >>> module = nn.Module()
        >>> module.scale = Tensor([1, 1])
        >>> module.blocks = [{"skip": nn.Conv2d(8, 8, 1)}]
        >>> for found in explain_unregistered(module):
        ...     print(found.path, "->", found.advice)
        scale -> use register_buffer, or an nn.Parameter if it is to be trained
        blocks[0]['skip'] -> use an nn.ModuleDict in an nn.ModuleList
    """
    return [
        Unregistered(found.path.removeprefix("."), _kind(found.value), _advice(found))
        for found in _without_parts(_search(module))
    ]


@dataclass(frozen=True)
class _Place:
    """A value and the way to it.

    Attributes:
        path: the Python expression after the root.
        value: what is there.
        owner: the nearest module on the way.
        holders: the objects between the owner and the value, outermost first.
    """

    path: str
    value: object
    owner: nn.Module
    holders: tuple[object, ...] = ()

    def inside(self) -> Iterator[_Place]:
        """Yield the places directly inside this one."""
        is_module = isinstance(self.value, nn.Module)
        owner = self.value if isinstance(self.value, nn.Module) else self.owner
        holders = () if is_module else (*self.holders, self.value)
        for form, key, item in steps(self.value):
            if may_hold(item):
                yield _Place(self.path + form.format(key), item, owner, holders)


def _search(module: nn.Module) -> list[_Place]:
    """Return the places of everything that is not registered, also inside modules that are not."""
    registered = _Registered(module)
    found: list[_Place] = []
    seen: set[int] = set()
    stack = [_Place("", module, module)]
    while stack:
        place = stack.pop()
        value = place.value
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not registered.has_tensor(value):
                found.append(place)
            continue
        if isinstance(value, nn.Module) and not registered.has_module(value):
            if any(part is place.owner for part in value.modules()):
                continue  # a reference back to the parent
            found.append(place)
        # Reversed, because the stack returns the last one first.
        stack.extend(reversed(list(place.inside())))
    return found


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


def _without_parts(found: list[_Place]) -> list[_Place]:
    """Return the places, except those of the contents of a module that is named itself."""
    parts: set[int] = set()
    for place in found:
        if isinstance(place.value, nn.Module):
            module = place.value
            parts.update(id(part) for part in module.modules() if part is not module)
            parts.update(id(tensor) for tensor in [*module.parameters(), *module.buffers()])
    return [place for place in found if id(place.value) not in parts]


# ---- advice --------------------------------------------------------------------------------------


def _kind(value: object) -> str:
    if isinstance(value, nn.Module):
        return "module"
    return "parameter" if isinstance(value, nn.Parameter) else "tensor"


def _advice(place: _Place) -> str:
    """Return what registers the value of a place, as the rest of a sentence."""
    kind = _kind(place.value)
    containers = _containers(place, "module" if kind == "module" else "parameter")
    if kind == "tensor":
        return f"use register_buffer, or {containers or 'an nn.Parameter'} if it is to be trained"
    return f"use {containers}" if containers else "assign it to an attribute of the module"


def _containers(place: _Place, kind: str) -> str:
    """Return the containers to use in place of the present holders, innermost first."""
    family = kind.capitalize()
    words = []
    for holder in reversed(place.holders):
        if isinstance(holder, MAPPINGS):
            words.append(f"an nn.{family}Dict")
        elif is_object(holder) or hasattr(holder, "_fields"):
            words.append(f"an nn.Module in place of {type(holder).__name__}")
        elif isinstance(holder, (*SEQUENCES, *SETS)):
            words.append(f"an nn.{family}List")
        else:
            continue  # a function
        family = "Module"
    return " in ".join(words)
