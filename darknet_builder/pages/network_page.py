"""A network as one page for a browser: its picture, with what hovering, searching and clicking
add.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from darknet_builder.cfg.block import Block
from darknet_builder.errors import InputError
from darknet_builder.network.network import Network
from darknet_builder.pages.diagram import KINDS, Diagram
from darknet_builder.pages.templates import fill, html_text, read_part, script_data, theme_css
from darknet_builder.support.files import write_text, writing

SUFFIXES = (".html", ".htm", ".svg")


def save_network_picture(
    network: Network, path: str | Path, *, title: str | None = None, weights: bool = False
) -> None:
    """Write a page (``.html``) or a picture (``.svg``) of a network.

    Args:
        network: any.
        path: of the file.
        title: the name of the network's cfg by default.
        weights: whether its weights mean something, and histograms of them are wanted.

    Raises:
        InputError: for another suffix, or when the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            "expected a name that ends in .html (a page) or .svg (a picture)", path=path
        )
    diagram = Diagram.of(network, title, weights=weights)
    with writing(path):
        write_text(path, diagram.svg() if suffix == ".svg" else make_page(network, diagram))


def make_page(network: Network, diagram: Diagram) -> str:
    """HTML that loads nothing: the picture, its styles, its data and its script.

    Args:
        network: any.
        diagram: of it.
    """
    headings, rows = diagram.embedded()
    style = "\n".join([theme_css(), *map(read_part, ("base.css", "diagram.css", "network.css"))])
    return fill(
        "network.html",
        title=html_text(diagram.title),
        totals=html_text(diagram.totals()),
        style=style,
        headings=headings,
        rows=rows,
        data=script_data(_page_data(network, diagram)),
        script=read_part("network.js"),
    )


def _page_data(network: Network, diagram: Diagram) -> dict[str, Any]:
    used = {kind: words for kind, words in KINDS.items() if kind in diagram.kinds}
    return {
        "layers": [
            _layer_data(network.blocks[index + 1], diagram, index)
            for index in range(len(network.layers))
        ],
        "totals": diagram.summary.totals(),
        "kinds": used,
    }


def _layer_data(block: Block, diagram: Diagram, index: int) -> dict[str, Any]:
    row = diagram.summary.layers[index]
    statistics = diagram.statistics[index] if diagram.statistics else None
    return {
        "index": index,
        "type": row.type,
        "kind": diagram.kinds[index],
        "filters": row.filters,
        "size": row.size,
        "sources": list(dict.fromkeys(row.sources)),
        "inputs": [str(shape) for shape in row.inputs],
        "output": str(row.output),
        "parameters": row.parameters,
        "bflops": row.bflops,
        "line": block.line,
        "text": "\n".join([f"[{block.name}]", *(f"{key}={value}" for key, value in block.items())]),
        "weights": None if statistics is None else asdict(statistics),
    }
