"""``darknet-builder dump``: what a network consists of, by the names that PyTorch gives its parts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TextIO

from torch import Tensor, nn

from darknet_builder.arguments import add_dialect, add_input_size, add_json
from darknet_builder.cfg_files import read_cfg
from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.layers.base import Layer
from darknet_builder.model_arguments import add_model, take_model
from darknet_builder.network import Network, build_network
from darknet_builder.output import STDOUT, check_answer, write_answer
from darknet_builder.parser import Block, format_cfg
from darknet_builder.summary import LayerSummary, align_columns, summarize

HELP = "show a network's modules, children, parameters, buffers, summary or blocks"
EXAMPLES = """\
names are PyTorch's own: layers.81.conv.weight is the weight of the conv of Darknet's layer 81.

PATTERN of --filter: with * ? or [ ] it is a glob that must fit the whole name ('layers.8?.*', '*.conv.weight');
without them it names whole parts of a dotted name: layers.8 is layer 8 and all that is in it, but not layer 81;
conv.weight is the weight of every conv. Modules, layers and blocks also go by their type: BatchNorm2d, yolo, maxpool.
Where nothing fits, the command says so and its exit status is 2.

examples:
  darknet-builder dump cfg/lesson.cfg
  darknet-builder dump cfg/lesson.cfg --what parameters --filter conv.weight
  darknet-builder dump cfg/lesson.cfg --what modules --filter 'layers.1?.*' --json
  darknet-builder dump cfg/lesson.cfg --what children --of layers.4
"""
_MODULE_COLUMNS = ("name", "type", "parameters", "output")
_TENSOR_COLUMNS = {"parameters": ("name", "shape", "values", "dtype"),
                   "buffers": ("name", "shape", "values", "dtype", "saved")}
_WORDS = ("name", "type", "shape", "dtype", "saved", "output")
_ROOT = "(the network)"
_WILDCARDS = "*?["


@dataclass(frozen=True)
class _Row:
    """One thing that is listed.

    Attributes:
        names: what ``--filter`` is held against.
        data: what JSON says of it.
        thing: itself, for the totals and the text.
    """

    names: tuple[str, ...]
    data: dict[str, Any]
    thing: Any


_Totals = dict[str, int | float]


@dataclass(frozen=True)
class _Listing:
    """All rows of one kind, how to add them up, and how to write them."""

    rows: list[_Row]
    total: Callable[[Sequence[_Row]], _Totals]
    text: Callable[[Sequence[_Row]], str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    add_model(parser, weights=None)
    parser.add_argument("--what", choices=list(_LISTINGS), default="summary", help="to show (default: %(default)s)")
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="json is the same as --json (default: %(default)s)")
    add_json(parser, "the listing")
    parser.add_argument("--filter", metavar="PATTERN", help="only what goes by such a name (see below)")
    parser.add_argument("--of", metavar="NAME", default="",
                        help="of this module instead of the whole network, for example layers.8")
    add_input_size(parser)
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write the listing."""
    check_answer(args.json)
    take_model(args)
    cfg = args.cfg
    if args.of and args.what in ("summary", "blocks"):
        raise InputError(f"--of {args.of}: goes with --what modules, children, parameters or buffers, "
                         f"not with {args.what}")
    listing = _LISTINGS[args.what](args, cfg)
    shown = _filtered(listing.rows, args.filter, args.what)
    target = args.json or (STDOUT if args.format == "json" else None)
    if target != STDOUT:
        out.write(listing.text(shown))
    if target is None:
        return 0
    data = {"cfg": cfg, "what": args.what, "of": args.of, "filter": args.filter,
            "totals": listing.total(shown), "totals_unfiltered": listing.total(listing.rows),
            "rows": [row.data for row in shown]}
    write_answer(target, _json(data), out)
    return 0


# ---- which rows ---------------------------------------------------------------------------------------------------

def _filtered(rows: list[_Row], pattern: str | None, what: str) -> list[_Row]:
    """The rows of which a name fits.

    Raises:
        InputError: when there is none.
    """
    if pattern is None:
        return rows
    shown = [row for row in rows if any(_fits(name, pattern) for name in row.names)]
    if not shown:
        kind = "layers" if what == "summary" else what
        known = dict.fromkeys(part for row in rows for name in row.names for part in [name, *name.split(".")])
        example = f" (a name reads {rows[-1].names[0]})" if rows else ""
        raise InputError(f"--filter {pattern}: fits none of the {len(rows)} {kind}{example}"
                         f"{did_you_mean(pattern, known)}")
    return shown


def _fits(name: str, pattern: str) -> bool:
    if any(character in pattern for character in _WILDCARDS):
        return fnmatchcase(name, pattern)
    return f".{pattern.strip('.')}." in f".{name}."


# ---- modules, children --------------------------------------------------------------------------------------------

def _modules(args: argparse.Namespace, cfg: str) -> _Listing:
    module = _module_of(args, _build(args, cfg))
    return _module_listing([(name, part) for name, part in module.named_modules(prefix=args.of)], "modules")


def _children(args: argparse.Namespace, cfg: str) -> _Listing:
    module = _module_of(args, _build(args, cfg))
    prefix = f"{args.of}." if args.of else ""
    return _module_listing([(prefix + name, child) for name, child in module.named_children()], "children")


def _module_listing(named: list[tuple[str, nn.Module]], what: str) -> _Listing:
    rows = [_Row((name, type(module).__name__), _module_data(name, module), module) for name, module in named]

    def text(shown: Sequence[_Row]) -> str:
        cells = [(row.data["name"] or _ROOT, row.data["type"], _thousands(row.data["parameters"]),
                  str(row.thing.out_shape) if isinstance(row.thing, Layer) else "") for row in shown]
        return _table(_MODULE_COLUMNS, cells, _counts(_module_totals(shown), _module_totals(rows), what, "parameters"))
    return _Listing(rows, _module_totals, text)


def _module_data(name: str, module: nn.Module) -> dict[str, Any]:
    data: dict[str, Any] = {"name": name, "type": type(module).__name__,
                            "parameters": sum(parameter.numel() for parameter in module.parameters())}
    if isinstance(module, Layer):
        data["output"] = list(module.out_shape.batched(1)[1:])
    return data


def _module_totals(rows: Sequence[_Row]) -> _Totals:
    """A parameter counts once, however many of the modules it is in."""
    inside = {id(parameter): parameter.numel() for row in rows for parameter in row.thing.parameters()}
    return {"entries": len(rows), "values": sum(inside.values())}


# ---- parameters, buffers ------------------------------------------------------------------------------------------

def _parameters(args: argparse.Namespace, cfg: str) -> _Listing:
    module = _module_of(args, _build(args, cfg))
    return _tensor_listing([_Row((name,), _tensor_data(name, tensor), tensor)
                            for name, tensor in module.named_parameters(prefix=args.of)], "parameters")


def _buffers(args: argparse.Namespace, cfg: str) -> _Listing:
    network = _build(args, cfg)
    saved = network.state_dict().keys()
    return _tensor_listing([_Row((name,), _tensor_data(name, tensor) | {"saved": name in saved}, tensor)
                            for name, tensor in _module_of(args, network).named_buffers(prefix=args.of)], "buffers")


def _tensor_listing(rows: list[_Row], what: str) -> _Listing:
    columns = _TENSOR_COLUMNS[what]

    def text(shown: Sequence[_Row]) -> str:
        cells = [tuple(_cell(row.data[column]) for column in columns) for row in shown]
        return _table(columns, cells, _counts(_tensor_totals(shown), _tensor_totals(rows), what, "values"))
    return _Listing(rows, _tensor_totals, text)


def _tensor_data(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "shape": list(tensor.shape), "values": tensor.numel(),
            "dtype": str(tensor.dtype).removeprefix("torch.")}


def _tensor_totals(rows: Sequence[_Row]) -> _Totals:
    return {"entries": len(rows), "values": sum(row.thing.numel() for row in rows),
            "bytes": sum(row.thing.numel() * row.thing.element_size() for row in rows)}


# ---- summary, blocks ----------------------------------------------------------------------------------------------

def _summary(args: argparse.Namespace, cfg: str) -> _Listing:
    summary = summarize(_build(args, cfg))
    data = summary.to_dict()["layers"]
    rows = [_Row((f"layers.{layer.index}", layer.type), row, layer)
            for layer, row in zip(summary.layers, data, strict=True)]

    def layers(shown: Sequence[_Row]) -> list[LayerSummary]:
        return [row.thing for row in shown]
    return _Listing(rows, lambda shown: summary.totals(layers(shown)), lambda shown: summary.table(layers(shown)))


def _blocks(args: argparse.Namespace, cfg: str) -> _Listing:
    blocks = read_cfg(cfg).blocks
    rows = [_Row((f"layers.{index}" if index >= 0 else "net", block.name), _block_data(index, block), block)
            for index, block in enumerate(blocks, start=-1)]

    def text(shown: Sequence[_Row]) -> str:
        sections = [f"# {row.names[0]}, line {row.thing.line}\n{format_cfg([row.thing])}\n" for row in shown]
        total = _counts(_block_totals(shown), _block_totals(rows), "blocks", "options")
        return "".join(sections) + f"# {total}\n"
    return _Listing(rows, _block_totals, text)


def _block_data(index: int, block: Block) -> dict[str, Any]:
    return {"layer": index if index >= 0 else None, "name": block.name, "line": block.line, "options": dict(block)}


def _block_totals(rows: Sequence[_Row]) -> _Totals:
    return {"entries": len(rows), "values": sum(len(row.thing) for row in rows)}


# ---- what they share ----------------------------------------------------------------------------------------------

def _build(args: argparse.Namespace, cfg: str) -> Network:
    return build_network(cfg, width=args.width, height=args.height, dialect=args.dialect, initialize=False)


def _module_of(args: argparse.Namespace, network: Network) -> nn.Module:
    modules = dict(network.named_modules(remove_duplicate=False))
    if args.of not in modules:
        raise InputError(f"--of {args.of}: the network has no such module{did_you_mean(args.of, modules)}")
    return modules[args.of]


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]], total: str) -> str:
    lines = align_columns([columns, *cells], left=_WORDS) if cells else []
    return "\n".join([*lines, total]) + "\n"


def _counts(shown: _Totals, every: _Totals, what: str, values: str) -> str:
    """``3 of 41 parameters, 216 of 28,868 values``; without the second numbers where everything is shown."""
    pairs = [(shown["entries"], every["entries"], what), (shown["values"], every["values"], values)]
    if shown["entries"] == every["entries"]:
        return ", ".join(f"{part:,} {_noun(part, name)}" for part, _, name in pairs)
    return ", ".join(f"{part:,} of {whole:,} {_noun(whole, name)}" for part, whole, name in pairs)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return _thousands(value) if isinstance(value, int) else str(value)


def _noun(count: int | float, plural: str) -> str:
    return plural if count != 1 else {"children": "child"}.get(plural, plural[:-1])


def _json(data: dict[str, Any]) -> str:
    """One key a line, and one row a line: shapes spread over lines are hard to read."""
    rows = ",\n".join(f"    {json.dumps(row)}" for row in data["rows"])
    keys = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items() if key != "rows"]
    body = ",\n".join([*keys, f'  "rows": [\n{rows}\n  ]' if rows else '  "rows": []'])
    return f"{{\n{body}\n}}\n"


def _thousands(value: int) -> str:
    return f"{value:,}"


_LISTINGS: dict[str, Callable[[argparse.Namespace, str], _Listing]] = {
    "modules": _modules, "children": _children, "parameters": _parameters, "buffers": _buffers, "summary": _summary,
    "blocks": _blocks,
}
