"""List the parts of a network by PyTorch's names.

::

    listing = list_network(network, "parameters")
    shown = listing.matching("*.conv.weight")
    text, data = listing.text(shown), listing.to_dict(shown)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.inspection.listings import (
    PARTS,
    Listing,
    Row,
    Totals,
    write_counts,
    write_table,
)
from darknet_builder.inspection.summary import summarize
from darknet_builder.layers.base import Layer
from darknet_builder.network.network import Network
from darknet_builder.support.text import plural

_MODULE_COLUMNS = ("name", "type", "parameters", "output", "details")
_TENSOR_COLUMNS = {
    "parameters": ("name", "shape", "values", "dtype"),
    "buffers": ("name", "shape", "values", "dtype", "saved"),
}
_ROOT = "(the network)"


def list_network(network: Network, what: str, of: str = "") -> Listing:
    """List the parts of a network.

    Args:
        network: the network; its weights do not matter.
        what: the kind of parts, one of ``PARTS``.
        of: dotted name of a module, to list only its parts; empty for the whole network. A summary
            is always of the whole network.

    Raises:
        InputError: if the module ``of`` does not exist, or for an unknown ``what``.
    """
    if what not in PARTS:
        raise InputError(f"expected one of {', '.join(PARTS)}", argument="what", value=what)
    if what == "summary":
        return _list_summary(network)
    modules = dict(network.named_modules(remove_duplicate=False))
    if of not in modules:
        raise InputError(
            "the network has no such module",
            argument="of",
            value=of,
            hint=did_you_mean(of, modules),
        )
    module = modules[of]
    if what == "modules":
        return _list_modules(list(module.named_modules(prefix=of)), "module")
    if what == "children":
        prefix = f"{of}." if of else ""
        children = [(prefix + name, child) for name, child in module.named_children()]
        return _list_modules(children, "child")
    return _list_parameters(module, of) if what == "parameters" else _list_buffers(network, of)


# ---- modules, children --------------------------------------------------------------------------


def _list_modules(named: list[tuple[str, nn.Module]], noun: str) -> Listing:
    rows = [
        Row((name, type(module).__name__), _module_data(name, module), module)
        for name, module in named
    ]

    def text(shown: Sequence[Row]) -> str:
        cells = [_module_cells(row) for row in shown]
        return write_table(
            _MODULE_COLUMNS,
            cells,
            write_counts(_module_totals(shown), _module_totals(rows), noun, "parameter"),
        )

    return Listing(noun, tuple(rows), _module_totals, text)


def _module_data(name: str, module: nn.Module) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": name,
        "type": type(module).__name__,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
    }
    if isinstance(module, Layer):
        data["output"] = list(module.out_shape.batched(1)[1:])
    data["details"] = module.extra_repr()
    return data


def _module_cells(row: Row) -> tuple[str, ...]:
    output = str(row.part.out_shape) if isinstance(row.part, Layer) else ""
    return (
        row.data["name"] or _ROOT,
        row.data["type"],
        f"{row.data['parameters']:,}",
        output,
        row.data["details"],
    )


def _module_totals(rows: Sequence[Row]) -> Totals:
    """Count a parameter once, even if it is in several of the modules."""
    inside = {
        id(parameter): parameter.numel() for row in rows for parameter in row.part.parameters()
    }
    return {"entries": len(rows), "values": sum(inside.values())}


# ---- parameters, buffers ------------------------------------------------------------------------


def _list_parameters(module: nn.Module, prefix: str) -> Listing:
    rows = [
        Row((name,), _tensor_data(name, tensor), tensor)
        for name, tensor in module.named_parameters(prefix=prefix)
    ]
    return _list_tensors(rows, "parameter")


def _list_buffers(network: Network, of: str) -> Listing:
    # PyTorch does not tell which buffers are persistent, but the state_dict has only those.
    saved = network.state_dict().keys()
    rows = [
        Row((name,), _tensor_data(name, tensor) | {"saved": name in saved}, tensor)
        for name, tensor in network.get_submodule(of).named_buffers(prefix=of)
    ]
    return _list_tensors(rows, "buffer")


def _list_tensors(rows: list[Row], noun: str) -> Listing:
    columns = _TENSOR_COLUMNS[plural(2, noun)]

    def text(shown: Sequence[Row]) -> str:
        cells = []
        for row in shown:
            cells.append(tuple(_cell(row.data[column]) for column in columns))
        return write_table(
            columns, cells, write_counts(_tensor_totals(shown), _tensor_totals(rows), noun, "value")
        )

    return Listing(noun, tuple(rows), _tensor_totals, text)


def _tensor_data(name: str, tensor: Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(tensor.shape),
        "values": tensor.numel(),
        "dtype": str(tensor.dtype).removeprefix("torch."),
    }


def _tensor_totals(rows: Sequence[Row]) -> Totals:
    values = sum(row.part.numel() for row in rows)
    num_bytes = sum(row.part.numel() * row.part.element_size() for row in rows)
    return {"entries": len(rows), "values": values, "bytes": num_bytes}


# ---- summary ----------------------------------------------------------------------------


def _list_summary(network: Network) -> Listing:
    summary = summarize(network)
    data = summary.to_dict()["layers"]
    rows = [
        Row((f"layers.{layer.index}", layer.type), row, layer)
        for layer, row in zip(summary.layers, data, strict=True)
    ]

    def total(shown: Sequence[Row]) -> Totals:
        return summary.totals([row.part for row in shown])

    def table(shown: Sequence[Row]) -> str:
        return summary.table([row.part for row in shown])

    return Listing("layer", tuple(rows), total, table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return f"{value:,}" if isinstance(value, int) else str(value)
