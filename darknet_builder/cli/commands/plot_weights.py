"""Plot histograms of parameters: ``darknet-builder plot-weights``.

They may come from one or several states of a network.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cfg.model_metadata import is_model_file
from darknet_builder.cli.arguments import add_dialect, add_seed
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.errors import InputError
from darknet_builder.support.figures import check_plot

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_builder.training.initialization import InitRule

HELP = "histograms of a network's weights, before and after training"
EXAMPLES = """\
Every --state is one colour: darknet, kaiming, xavier or normal:MEAN,STD for freshly drawn weights, or a .weights,
.safetensors or .pt file, which may be a checkpoint of a training. NAMES are PyTorch's, as darknet-builder dump --what
parameters lists them; * ? and [ ] stand for several.

examples:
  darknet-builder plot-weights cfg/shapes.cfg --state darknet --state weights/shapes.weights --output weights.png
  darknet-builder plot-weights my.cfg --state darknet --state kaiming --names 'layers.0.*' --output init.png
"""
OPTIONS = {"rule": "--state", "pattern": "--names"}
"""The option for a library argument of another name."""
_FILES = ".weights, .safetensors or .pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_model(parser, weights=None)
    parser.add_argument(
        "--state",
        action="append",
        metavar="STATE",
        help="see below (default: CFG's own weights, if it holds them, or darknet)",
    )
    parser.add_argument(
        "--names",
        default="*.conv.weight",
        metavar="PATTERN",
        help="which parameters (default: %(default)s)",
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="where to, as PNG, SVG, PDF or JPEG"
    )
    add_seed(parser, "drawn weights")
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Draw the picture."""
    take_model(args)
    check_plot(args.output)
    from darknet_builder.inspection.statistics import plot_histograms

    own = args.cfg if is_model_file(args.cfg) else "darknet"
    states = {state: _values(args, state) for state in args.state or [own]}
    plot_histograms(states, args.output)
    count = len(next(iter(states.values())))
    out.write(f"{args.output}: {count} histograms of {len(states)} states\n")
    return 0


def _values(args: argparse.Namespace, state: str) -> dict[str, Tensor]:
    """The chosen parameters of a network in some state."""
    import torch

    from darknet_builder.inspection.statistics import choose_parameters
    from darknet_builder.network.build import build_network
    from darknet_builder.training.initialization import initialize
    from darknet_builder.weights.loader import load_weights

    torch.manual_seed(args.seed)
    network = build_network(args.cfg, dialect=args.dialect)
    if state.endswith(".weights") or is_model_file(state):
        load_weights(network, state)
    else:
        initialize(network, [_parse_rule(state)])
    return choose_parameters(network, args.names)


def _parse_rule(state: str) -> InitRule:
    from darknet_builder.training.initialization import InitRule

    try:
        return InitRule.parse(state)
    except InputError as error:
        hints = (f"a file ends in {_FILES}", error.hint)
        raise InputError(
            error.message,
            argument=error.argument,
            value=error.value,
            hint="; ".join(hint for hint in hints if hint),
        ) from None
