"""Plot histograms of a network's weights: ``darknet-builder plot-weights``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cfg.model_metadata import is_model_file
from darknet_builder.cli.arguments import add_dialect, add_seed
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.errors import InputError
from darknet_builder.support.figures import check_plot
from darknet_builder.support.text import plural

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_builder.training.initialization import InitRule

HELP = "plot histograms of weights, for example before and after training"
EXAMPLES = """\
Each --state is drawn in its own colour. STATE is one of:
  darknet, kaiming, xavier, normal:MEAN,STD   random weights by this method of initialisation
  FILE                                        weights of a .weights, .safetensors or .pt file, which
                                              may be a checkpoint of a training

PATTERN of --names is a glob for PyTorch's names: with * ? and [ ] it matches several of them.
'darknet-builder dump CFG --what parameters' lists the names.

examples:
  darknet-builder plot-weights cfg/shapes.cfg --state darknet --state weights/shapes.weights \\
      --output weights.png
  darknet-builder plot-weights my.cfg --state darknet --state kaiming --names 'layers.0.*' \\
      --output init.png
"""
OPTIONS = {"rule": "--state", "pattern": "--names"}
"""Options whose name differs from that of the library argument, by argument."""
_FILES = ".weights, .safetensors or .pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model(parser, weights=None)
    parser.add_argument(
        "--state",
        action="append",
        metavar="STATE",
        help="weights to plot, see below; can be given several times (default: those in CFG, or"
        " darknet for a .cfg)",
    )
    parser.add_argument(
        "--names",
        default="*.conv.weight",
        metavar="PATTERN",
        help="parameters to plot (default: %(default)s)",
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="file to write: PNG, SVG, PDF or JPEG"
    )
    add_seed(parser, "initial weights")
    add_dialect(parser)


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Plot the histograms and write the name of the file."""
    take_model(args)
    check_plot(args.output)
    from darknet_builder.inspection.statistics import plot_histograms

    default = args.cfg if is_model_file(args.cfg) else "darknet"
    states = {state: _values(args, state) for state in args.state or [default]}
    plot_histograms(states, args.output)
    count = len(next(iter(states.values())))
    out.write(
        f"{args.output}: {count} {plural(count, 'histogram')} of {len(states)}"
        f" {plural(len(states), 'state')}\n"
    )
    return 0


def _values(args: argparse.Namespace, state: str) -> dict[str, Tensor]:
    """Return the parameters that ``--names`` selects, in a state, by name."""
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
        hints = (f"or give a file that ends in {_FILES}", error.hint)
        raise InputError(
            error.message,
            argument=error.argument,
            value=error.value,
            hint="; ".join(hint for hint in hints if hint),
        ) from None
