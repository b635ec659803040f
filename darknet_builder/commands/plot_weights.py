"""``darknet-builder plot-weights``: histograms of any parameters, of one or several states of a network."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from typing import Any, TextIO

import torch
from torch import Tensor

from darknet_builder.arguments import add_dialect, add_seed
from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.evaluation_plot import EXTRA, check_plot
from darknet_builder.extras import load_extra
from darknet_builder.files import atomic_path
from darknet_builder.initialization import InitRule, initialize
from darknet_builder.model_arguments import add_model, take_model
from darknet_builder.model_files import is_model_file
from darknet_builder.network import build_network
from darknet_builder.weights import load_weights

HELP = "histograms of a network's weights, before and after training"
EXAMPLES = """\
Every --state is one colour: darknet, kaiming, xavier or normal:MEAN,STD for freshly drawn weights, or a .weights,
.safetensors or .pt file, which may be a checkpoint of a training. NAMES are PyTorch's, as darknet-builder dump --what
parameters lists them; * ? and [ ] stand for several.

examples:
  darknet-builder plot-weights cfg/shapes.cfg --state darknet --state weights/shapes.weights --output weights.png
  darknet-builder plot-weights my.cfg --state darknet --state kaiming --names 'layers.0.*' --output init.png
"""
OPTIONS = {"rule": "--state"}
"""The option for a library argument of another name."""
_FILES = ".weights, .safetensors or .pt"
_MOST_PLOTS = 64
_COLUMNS = 4
_BINS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_model(parser, weights=None)
    parser.add_argument("--state", action="append", metavar="STATE",
                        help="see below (default: CFG's own weights, if it holds them, or darknet)")
    parser.add_argument("--names", default="*.conv.weight", metavar="PATTERN",
                        help="which parameters (default: %(default)s)")
    parser.add_argument("--output", required=True, metavar="FILE", help="where to, as PNG, SVG, PDF or JPEG")
    add_seed(parser, "drawn weights")
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Draw the picture."""
    take_model(args)
    check_plot(args.output)
    figures = load_extra("matplotlib.figure", EXTRA)
    own = args.cfg if is_model_file(args.cfg) else "darknet"
    states = {state: _values(args, state) for state in args.state or [own]}
    names = list(next(iter(states.values())))
    rows = -(-len(names) // _COLUMNS)
    figure = figures.Figure(figsize=(4 * min(len(names), _COLUMNS), 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, min(len(names), _COLUMNS), squeeze=False).flatten()
    for place, name in zip(axes, names, strict=False):
        _plot(place, name, {state: values[name] for state, values in states.items()})
    for place in axes[len(names):]:
        place.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(states))
    try:
        with atomic_path(args.output) as temporary:
            figure.savefig(temporary, dpi=80)
    except OSError as error:
        raise InputError(f"{args.output}: cannot be written: {error.strerror}") from None
    out.write(f"{args.output}: {len(names)} histograms of {len(states)} states\n")
    return 0


def _plot(place: Any, name: str, values: dict[str, Tensor]) -> None:
    """One parameter, one line a state."""
    low = min(float(tensor.min()) for tensor in values.values())
    high = max(float(tensor.max()) for tensor in values.values())
    for state, tensor in values.items():
        place.hist(tensor.flatten().numpy(), bins=_BINS, range=(low, high) if low < high else None, histtype="step",
                   density=True, label=state)
    deviations = " / ".join(f"{float(tensor.std(correction=0)):.3g}" for tensor in values.values())
    place.set_title(f"{name}, std {deviations}", fontsize=8)
    place.tick_params(labelsize=7)


def _values(args: argparse.Namespace, state: str) -> dict[str, Tensor]:
    """The chosen parameters of a network in some state.

    Raises:
        InputError: for a pattern that fits nothing, or too much.
        WeightsError: for a file that does not fit the network.
    """
    torch.manual_seed(args.seed)
    network = build_network(args.cfg, dialect=args.dialect)
    if state.endswith(".weights") or is_model_file(state):
        load_weights(network, state)
    else:
        initialize(network, [_parse_rule(state)])
    named = dict(network.named_parameters())
    chosen = {name: tensor.detach() for name, tensor in named.items() if fnmatchcase(name, args.names)}
    if not chosen:
        raise InputError(f"--names {args.names}: fits no parameter{did_you_mean(args.names, named)}; a name reads "
                         f"{next(iter(named), '(none)')}")
    if len(chosen) > _MOST_PLOTS:
        raise InputError(f"--names {args.names}: fits {len(chosen)} parameters, more than the {_MOST_PLOTS} of one "
                         "picture; name fewer, such as 'layers.1?.*'")
    return chosen


def _parse_rule(state: str) -> InitRule:
    try:
        return InitRule.parse(state)
    except InputError as error:
        hints = (f"a file ends in {_FILES}", error.hint)
        raise InputError(error.message, argument=error.argument, value=error.value,
                         hint="; ".join(hint for hint in hints if hint)) from None
