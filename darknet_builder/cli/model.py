"""The network that a command line names: as CFG and WEIGHTS, or by --cfg and --weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from darknet_builder.cfg.model_metadata import is_model_file, refuse_second_weights
from darknet_builder.cli.arguments import MODEL_HELP, WEIGHTS_HELP
from darknet_builder.errors import InputError

if TYPE_CHECKING:
    from darknet_builder.engines.optimized import OptimizedNetwork
    from darknet_builder.network.network import Network


def add_model(
    parser: argparse._ActionsContainer, cfg: str = MODEL_HELP, weights: str | None = WEIGHTS_HELP
) -> None:
    """``CFG`` and ``WEIGHTS``, and the same as options, for ``take_model``.

    Args:
        parser: where to.
        cfg: what is said of CFG.
        weights: likewise of WEIGHTS; None where the command takes none.
    """
    named = {"cfg": cfg} if weights is None else {"cfg": cfg, "weights": weights}
    for name, text in named.items():
        parser.add_argument(f"{name}_word", nargs="?", metavar=name.upper(), help=text)
    for name in named:
        parser.add_argument(f"--{name}", metavar="FILE", help=f"{name.upper()} as an option")


def take_model(args: argparse.Namespace, *, required: bool = True) -> None:
    """Put the words where their options are: ``args.cfg``, ``args.weights``.

    Raises:
        InputError: for what is given as a word and as an option, or for a network that is missing.
    """
    for name, what in (("cfg", "the network is"), ("weights", "the weights are")):
        word = getattr(args, f"{name}_word", None)
        if word is None:
            continue
        option = getattr(args, name)
        if option is not None:
            cure = (
                "; weights go with --weights" if name == "cfg" and hasattr(args, "weights") else ""
            )
            raise InputError(
                f"{what} given twice, {word} and --{name} {option}; leave one out{cure}"
            )
        setattr(args, name, word)
    if required and args.cfg is None:
        raise InputError("which network? give a .cfg, as the first word or with --cfg")


def check_weights(cfg: str, weights: str | None, *, required: bool = True) -> None:
    """See that the network has one set of weights.

    Args:
        cfg: what it is read from.
        weights: those beside it.
        required: whether it needs any.

    Raises:
        InputError: where it has none, or two.
    """
    refuse_second_weights(cfg, weights)
    if required and weights is None and not is_model_file(cfg):
        raise InputError(f"which weights? give --weights FILE that belongs to {cfg}")


def load_model(args: argparse.Namespace, *, required: bool = True) -> Network:
    """Load the network with its weights, if there are any.

    ``--width``, ``--height`` and ``--dialect`` apply.

    Args:
        args: after ``take_model``.
        required: whether it needs weights.

    Raises:
        DarknetError: the kinds that ``check_weights``, ``build_network`` and ``load_weights``
            raise.
    """
    check_weights(args.cfg, args.weights, required=required)
    from darknet_builder.prediction.loading import load_network

    return load_network(
        args.cfg,
        args.weights,
        width=args.width,
        height=args.height,
        dialect=args.dialect,
        required=required,
    )


def describe_choice(args: argparse.Namespace, runner: Network | OptimizedNetwork) -> str | None:
    """Return the line that says what the network runs on.

    It is empty where ``--backend`` and ``--precision`` already say so.

    Args:
        args: with the options of ``add_speed_options``.
        runner: made as they ask.
    """
    from darknet_builder.engines.optimized import OptimizedNetwork

    if not isinstance(runner, OptimizedNetwork) or (runner.backend, runner.precision) == (
        args.backend,
        args.precision,
    ):
        return None
    return f"the network runs on {runner.describe()}"
