"""Registry of layer classes: the class of each section, and the dialects that know the section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from darknet_builder.cfg.block import NET_SECTIONS, Block
from darknet_builder.cfg.dialects import DIALECTS, Dialect
from darknet_builder.cfg.synonyms import darknets_name, suggest
from darknet_builder.errors import CfgError

if TYPE_CHECKING:
    from darknet_builder.layers.base import Layer

_REGISTRY: dict[str, type[Layer]] = {}
_LayerType = TypeVar("_LayerType", bound="type[Layer]")


def register(
    *spellings: str, dialects: tuple[str, ...] = tuple(DIALECTS)
) -> Callable[[_LayerType], _LayerType]:
    """Return a class decorator that registers a layer under its section names.

    Args:
        spellings: every section name that builds this layer, Darknet's main one first.
        dialects: names of the dialects that know the section; all by default.

    Raises:
        ValueError: if a section name is already registered.
    """

    def decorate(layer_class: _LayerType) -> _LayerType:
        for spelling in spellings:
            if spelling in _REGISTRY:
                other = _REGISTRY[spelling].__name__
                raise ValueError(
                    f"[{spelling}] is registered twice: {other}, {layer_class.__name__}"
                )
            _REGISTRY[spelling] = layer_class
        layer_class.section = spellings[0]
        layer_class.spellings = spellings
        layer_class.dialects = dialects
        return layer_class

    return decorate


def registered_sections() -> dict[str, type[Layer]]:
    """Return every section name, aliases included, with its class."""
    return dict(_REGISTRY)


def forget_sections(module: str) -> None:
    """Remove the sections that a module registered."""
    for section in [key for key, kind in _REGISTRY.items() if kind.__module__ == module]:
        del _REGISTRY[section]


def restore_sections(sections: Mapping[str, type[Layer]]) -> None:
    """Make the registry what ``registered_sections`` returned before."""
    _REGISTRY.clear()
    _REGISTRY.update(sections)


def find_layer_class(block: Block, dialect: Dialect) -> type[Layer]:
    """Return the class for a section.

    Raises:
        CfgError: located, with the nearest known name, or the dialect that knows the section.
    """
    if block.name not in _REGISTRY:
        raise _unknown_section(block)
    layer_class = _REGISTRY[block.name]
    if dialect.name not in layer_class.dialects:
        raise block.error(
            f"the dialect {dialect.name} does not know this section",
            hint=f"build with dialect={layer_class.dialects[0]!r}",
        )
    return layer_class


def _unknown_section(block: Block) -> CfgError:
    """The error for a section that is not registered.

    Forks of Darknet have sections of their own, so a name that is merely similar to a known one may
    be right: the hint then names the way to add it too.
    """
    if block.name in NET_SECTIONS:
        return block.error("unknown section", hint="a cfg has only one, at its beginning")
    if darknets_name(block.name, _REGISTRY) is not None:
        return block.error("unknown section", hint=suggest(block.name, _REGISTRY))
    near = suggest(block.name, _REGISTRY)
    advice = "a plugin can add sections"
    if near.endswith("?"):
        advice = f"{near} {advice.capitalize()}"
    elif near:
        advice = f"{near}; {advice}"
    return block.error("unknown section", hint=advice, argument="plugin")
