"""The checks of chapters 1 to 4: cfg, modules, forward pass, weights."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from darknet_builder.lessons.marker.probe import (
    Probe,
    UnexpectedModuleError,
    find_parts,
    has_weights,
    layer_title,
    layers_of,
    tensors_of,
)
from darknet_builder.lessons.marker.recorded import Recorded, shapes_files, solution

_TEXTS = {
    "two sections with options": "[net]\nwidth=32\nheight=24\n[maxpool]\nsize=2\nstride=2\n",
    "the last line has no line break": "[net]\nwidth=32\n[maxpool]\nsize=2",
    "two sections of the same type": "[net]\n[maxpool]\nsize=2\n[maxpool]\nsize=3\n",
    "empty lines": "\n[net]\n\nwidth=32\n\n\n[maxpool]\n\nsize=2\n",
    "comments with #": "# a network\n[net]\nwidth=32\n#height=8\n[maxpool]\nsize=2\n# end\n",
    "comments with ;": "; a network\n[net]\nwidth=32\n;height=8\n[maxpool]\nsize=2\n; end\n",
    "spaces around names and values": "[net]\n width = 32 \n\theight= 24\n[maxpool] \nsize =2\n",
    "spaces inside a value": "[net]\nsteps = 10, 20,  30\n[yolo]\nanchors = 1,2, 3,4\n",
    "a comment after spaces": "[net]\nwidth=32\n  # height=8\n[maxpool]\nsize=2\n",
    "a value with another =": "[net]\nnote=a=b\n[maxpool]\nsize=2\n",
}
"""What a text tries -> the text."""


def cfg_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 1."""
    code = solution()
    lists = ("10,14,  23.5,27", "3", "-1, -4", " .5, 1.")
    probes = [
        Probe(f"numbers({text!r})", _calling("numbers", text), code.numbers(text)) for text in lists
    ]
    texts = {**_TEXTS, "all of scratch.cfg": recorded.cfg, "all of shapes.cfg": shapes_files()[0]}
    for title, text in texts.items():
        call = _calling("parse_cfg", text)
        given = repr(text) if title in _TEXTS else ""
        probes.append(Probe(f"parse_cfg: {title}", call, code.parse_cfg(text), given=given))
    return probes


def module_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 2."""
    return [
        *_source_probes(),
        *_layer_probes(recorded),
        *_pool_probes(recorded),
        Probe("make_modules: how many modules", _count_modules(recorded), 21),
        Probe(
            "make_modules: parameters() finds the numbers of all layers",
            lambda code: _count_parameters(code.make_modules(recorded.blocks)),
            _count_parameters(solution().make_modules(recorded.blocks)),
        ),
        _shape_probe(recorded),
    ]


def _source_probes() -> list[Probe]:
    blocks: list[tuple[dict[str, str], int]] = [
        ({"type": "route", "layers": "-1"}, 5),
        ({"type": "route", "layers": "-1,-3"}, 7),
        ({"type": "route", "layers": "11"}, 14),
        ({"type": "route", "layers": "-1,4"}, 17),
        ({"type": "route", "layers": "0"}, 3),
        ({"type": "shortcut", "from": "-2"}, 4),
        ({"type": "shortcut", "from": "2"}, 4),
    ]
    return [
        Probe(
            f"source_layers: {layer_title(block, index)}",
            _calling("source_layers", block, index),
            solution().source_layers(block, index),
        )
        for block, index in blocks
    ]


def _layer_probes(recorded: Recorded) -> list[Probe]:
    """Check every layer that is a module: its parts, and what it computes from Darknet's input."""
    probes = []
    for index, block in layers_of(recorded):
        title = f"make_layer: {layer_title(block, index)}"
        if has_weights(block):
            made = _make(index, recorded)
            shapes = _shapes(made(solution()), block)
            probes.append(Probe(f"{title}, shapes of its weights", _shapes_of(made, block), shapes))
        if block["type"] not in ("route", "shortcut", "yolo"):
            probes.append(Probe(title, _run_filled(index, recorded), recorded.output(index)))
    return probes


def _pool_probes(recorded: Recorded) -> list[Probe]:
    """Check max pools that scratch.cfg does not have: on odd maps, and of size 3."""
    x = -recorded.output(0)[:, :2, :5, :7].abs()  # a padding of 0 would win
    probes = []
    for size, stride in ((2, 2), (3, 1), (3, 2)):
        block = {"type": "maxpool", "size": str(size), "stride": str(stride)}
        call = _pool(block, x)
        title = f"make_layer: [maxpool] size={size} stride={stride} on 5 x 7"
        probes.append(Probe(title, call, call(solution()), is_recorded=False))
    return probes


def _pool(block: dict[str, str], x: Tensor) -> Callable[[ModuleType], Any]:
    return lambda code: code.make_layer(dict(block), x.shape[1]).eval()(x.clone())


def _make(index: int, recorded: Recorded) -> Callable[[ModuleType], nn.Module]:
    block, x = recorded.blocks[index + 1], _input_of(index, recorded)
    return lambda code: code.make_layer(dict(block), x.shape[1])


def _input_of(index: int, recorded: Recorded) -> Tensor:
    return recorded.output(index - 1) if index else recorded.image


def _shapes_of(
    make: Callable[[ModuleType], nn.Module], block: dict[str, str]
) -> Callable[[ModuleType], dict[str, Any]]:
    return lambda code: _shapes(make(code), block)


def _shapes(module: nn.Module, block: dict[str, str]) -> dict[str, Any]:
    """Return the shapes of all tensors of a section, and whether its convolution has a bias."""
    tensors = {
        name: None if tensor is None else tuple(tensor.shape)
        for name, tensor in tensors_of(module, block).items()
    }
    conv, _ = find_parts(module, block)
    return {**tensors, "the convolution has a bias": conv.bias is not None}


def _run_filled(index: int, recorded: Recorded) -> Callable[[ModuleType], Tensor]:
    """Return a call that runs a reader's module with Darknet's weights on Darknet's input."""

    def call(code: ModuleType) -> Tensor:
        module = _make(index, recorded)(code)
        fill(module, index, recorded)
        with torch.no_grad():
            result: Tensor = module.eval()(_input_of(index, recorded))
        return result

    return call


def fill(module: nn.Module, index: int, recorded: Recorded) -> None:
    """Put Darknet's weights into the module of a layer, if the layer has any.

    Raises:
        UnexpectedModuleError: if the module has other parts or shapes.
    """
    block = recorded.blocks[index + 1]
    if not has_weights(block):
        return
    right = tensors_of(_filled_solution(recorded)[index], block)
    for name, tensor in tensors_of(module, block).items():
        source = right[name]
        if tensor is None or source is None or tensor.shape != source.shape:
            shown = None if tensor is None else tuple(tensor.shape)
            raise UnexpectedModuleError(f"the {name} of layer {index} have the shape {shown}")
        with torch.no_grad():
            tensor.copy_(source)


def fill_all(modules: nn.ModuleList, recorded: Recorded) -> nn.ModuleList:
    """Put Darknet's weights into all modules and return them in evaluation mode."""
    for index, module in enumerate(modules):
        fill(module, index, recorded)
        module.eval()
    return modules


@cache
def _filled_solution(recorded: Recorded) -> nn.ModuleList:
    """Return the solution's modules with Darknet's weights; they must not be changed."""
    modules: nn.ModuleList = solution().make_modules(recorded.blocks)
    solution().load_weights(recorded.blocks, modules, recorded.weights)
    return modules


def _count_modules(recorded: Recorded) -> Callable[[ModuleType], int]:
    return lambda code: len(code.make_modules(recorded.blocks))


def _count_parameters(modules: object) -> int:
    """Return how many numbers PyTorch finds below a container; none below one that is no module."""
    holder = nn.Module()
    holder.layers = modules  # type: ignore[assignment]
    return sum(parameter.numel() for parameter in holder.parameters())


def _shape_probe(recorded: Recorded) -> Probe:
    """Check that every convolution of the network reads the right number of channels."""

    def call(code: ModuleType) -> dict[str, Any]:
        modules = code.make_modules(recorded.blocks)
        return {
            layer_title(block, index): _shapes(modules[index], block)
            for index, block in layers_of(recorded)
            if has_weights(block)
        }

    return Probe("make_modules: shapes of all weights", call, call(solution()))


def forward_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 3."""
    titles = [layer_title(block, index) for index, block in layers_of(recorded)]
    probes = [
        Probe(f"run_layer: {titles[index]}", _run_layer(index, recorded), recorded.output(index))
        for index, _ in layers_of(recorded)
    ]
    whole = Probe("forward", _forward(recorded), recorded.outputs(21), names=titles)
    return [*probes, whole]


def _run_layer(index: int, recorded: Recorded) -> Callable[[ModuleType], Tensor]:
    def call(code: ModuleType) -> Tensor:
        block = recorded.blocks[index + 1]
        module = _make(index, recorded)(code)
        fill(module, index, recorded)
        outputs = recorded.outputs(index)
        x = outputs[-1] if outputs else recorded.image
        with torch.no_grad():
            result: Tensor = code.run_layer(dict(block), module.eval(), x, outputs)
        return result

    return call


def _forward(recorded: Recorded) -> Callable[[ModuleType], list[Tensor]]:
    def call(code: ModuleType) -> list[Tensor]:
        modules = fill_all(code.make_modules(recorded.blocks), recorded)
        with torch.no_grad():
            result: list[Tensor] = code.forward(recorded.blocks, modules, recorded.image)
        return result

    return call


_HEADERS = {
    "version 0.2.5, 20 bytes": struct.pack("<iiiq", 0, 2, 5, 32013312),
    "version 0.1.0, 16 bytes": struct.pack("<iiii", 0, 1, 0, 32013312),
    "version 1.0.0, 20 bytes": struct.pack("<iiiq", 1, 0, 0, 6400),
    "more than 2 billion images": struct.pack("<iiiq", 0, 2, 5, 6_400_000_000),
}
_MORE = struct.pack("<4f", 0.5, -0.25, 1.0, 2.0)
"""The first weights after a header."""


def weight_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 4."""
    names = ("major", "minor", "revision", "images seen", "length of the header")
    probes = [
        Probe(
            f"read_header: {title}",
            _calling("read_header", data + _MORE),
            solution().read_header(data),
            names=names,
        )
        for title, data in _HEADERS.items()
    ]
    files = {": 20-byte header": recorded.weights, ": 16-byte header": recorded.old_weights()}
    for where, data in files.items():
        count = f"load_weights{where}, how many numbers"
        probes.append(
            Probe(count, _count_loaded(recorded, data), (len(recorded.weights) - 20) // 4)
        )
        probes.append(_loaded_probe(recorded, data, where))
    folded = {
        "weight": recorded.arrays["fused/weight"].view(8, 3, 3, 3),
        "bias": recorded.arrays["fused/bias"],
    }
    return [
        *probes,
        Probe("fold_batch_norm: layer 0", _fold(recorded), folded),
        Probe("load_network: mode of its modules", _mode(recorded), "evaluation"),
        _network_probe(recorded),
    ]


def _load(code: ModuleType, recorded: Recorded, data: bytes) -> tuple[nn.ModuleList, Any]:
    """Run a reader's loader on the solution's modules of his own network."""
    modules = code.make_modules(recorded.blocks)
    return modules, code.load_weights(recorded.blocks, modules, data)


def _count_loaded(recorded: Recorded, data: bytes) -> Callable[[ModuleType], Any]:
    return lambda code: _load(code, recorded, data)[1]


def _loaded_probe(recorded: Recorded, data: bytes, where: str) -> Probe:
    """Check every tensor after loading."""

    def call(code: ModuleType) -> dict[str, Any]:
        modules, _ = _load(code, recorded, data)
        return {
            layer_title(block, index): tensors_of(modules[index], block)
            for index, block in layers_of(recorded)
            if has_weights(block)
        }

    return Probe(f"load_weights{where}, all tensors", call, call(solution()), axes=_FILTERS)


_FILTERS = ("filter", "channel", "row", "column")


def _fold(recorded: Recorded) -> Callable[[ModuleType], Any]:
    def call(code: ModuleType) -> dict[str, Tensor]:
        first = copy.deepcopy(_filled_solution(recorded)[0])
        conv, norm = find_parts(first, recorded.blocks[1])
        weight, bias = code.fold_batch_norm(conv, norm)
        return {"weight": weight, "bias": bias}

    return call


def _mode(recorded: Recorded) -> Callable[[ModuleType], str]:
    def call(code: ModuleType) -> str:
        _, modules = code.load_network(recorded.cfg, recorded.weights)
        is_training = any(part.training for module in modules for part in module.modules())
        return "training" if is_training else "evaluation"

    return call


def _network_probe(recorded: Recorded) -> Probe:
    def call(code: ModuleType) -> list[Tensor]:
        blocks, modules = code.load_network(recorded.cfg, recorded.weights)
        with torch.no_grad():
            result: list[Tensor] = code.forward(blocks, modules, recorded.image)
        return result

    titles = [layer_title(block, index) for index, block in layers_of(recorded)]
    return Probe("load_network, then forward", call, recorded.outputs(21), names=titles)


def _calling(name: str, *arguments: Any) -> Callable[[ModuleType], Any]:
    return lambda code: getattr(code, name)(*arguments)
