"""Save a network as an interactive HTML page, or as an SVG picture."""

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
    r"""Write a page (``.html``) or a picture (``.svg``) of a network.

    Args:
        network: a network; its weights matter only with ``weights``.
        path: the file to write; its suffix decides between page and picture.
        title: text over the picture; None takes the file name of the network's cfg.
        weights: whether to show histograms of the weights. They say nothing about a network whose
            weights were not loaded.

    Raises:
        InputError: for another suffix, or if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "small.svg"
        ...     save_network_picture(network, path, title="small")
        ...     path.read_text().startswith("<svg")
        True
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
    """Return the HTML page of a network, with the picture, styles, data and script embedded.

    Args:
        network: the network that the diagram was made of.
        diagram: its picture, from ``Diagram.of(network)``.
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
    """Return the data that ``network.js`` reads."""
    # Block 0 is [net]; layer i is block i + 1.
    layers = [_layer_data(block, diagram, index) for index, block in enumerate(network.blocks[1:])]
    # The legend shows only the kinds that occur.
    used = {kind: words for kind, words in KINDS.items() if kind in diagram.kinds}
    return {"layers": layers, "totals": diagram.summary.totals(), "kinds": used}


def _layer_data(block: Block, diagram: Diagram, index: int) -> dict[str, Any]:
    row = diagram.summary.layers[index]
    statistics = diagram.statistics[index] if diagram.statistics else None
    weights = None if statistics is None else asdict(statistics)
    lines = [f"[{block.name}]", *(f"{key}={value}" for key, value in block.items())]
    return {
        "index": index,
        "type": row.type,
        "kind": diagram.kinds[index],
        "filters": row.filters,
        "size": row.size,
        "sources": list(dict.fromkeys(row.sources)),  # each once, in order
        "inputs": list(map(str, row.inputs)),
        "output": str(row.output),
        "parameters": row.parameters,
        "bflops": row.bflops,
        "line": block.line,
        "text": "\n".join(lines),
        "weights": weights,
    }
