"""The network of a command line, given as CFG and WEIGHTS or by --cfg and --weights."""

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
    """Add ``CFG`` and ``WEIGHTS``, and the same as options; ``take_model`` joins them.

    Args:
        parser: the parser or group to add them to.
        cfg: help text of CFG.
        weights: help text of WEIGHTS; None if the command takes no weights.
    """
    named = {"cfg": cfg} if weights is None else {"cfg": cfg, "weights": weights}
    for name, text in named.items():
        parser.add_argument(f"{name}_word", nargs="?", metavar=name.upper(), help=text)
    for name in named:
        parser.add_argument(f"--{name}", metavar="FILE", help=f"same as {name.upper()}")


def take_model(args: argparse.Namespace, *, required: bool = True) -> None:
    """Store CFG and WEIGHTS in ``args.cfg`` and ``args.weights``, as their options do.

    Args:
        args: the parsed arguments of the command.
        required: whether a network must be given.

    Raises:
        InputError: if one of them is given both as a word and as an option, or the network is
            missing.
    """
    for name, subject in (("cfg", "the network is"), ("weights", "the weights are")):
        word = getattr(args, f"{name}_word", None)
        if word is None:
            continue
        option = getattr(args, name)
        if option is not None:
            mixed = name == "cfg" and hasattr(args, "weights")
            hint = ", or give weights with --weights" if mixed else ""
            raise InputError(
                f"{subject} given twice, as {word} and as --{name} {option}; leave one out{hint}"
            )
        setattr(args, name, word)
    if required and args.cfg is None:
        raise InputError("no network given; give a .cfg, as the first word or with --cfg")


def check_weights(cfg: str, weights: str | None, *, required: bool = True) -> None:
    """Check that a network has exactly one set of weights.

    Args:
        cfg: the cfg or model file.
        weights: the weights file; None if none was given.
        required: whether a network without weights is refused.

    Raises:
        InputError: if it has no weights, or two sets of them.
    """
    refuse_second_weights(cfg, weights)
    if required and weights is None and not is_model_file(cfg):
        raise InputError("no weights given for this network; give --weights FILE", path=cfg)


def load_model(args: argparse.Namespace, *, required: bool = True) -> Network:
    """Load the network with its weights, if there are any.

    ``--width``, ``--height`` and ``--dialect`` apply.

    Args:
        args: the command's arguments, after ``take_model``.
        required: whether a network without weights is refused.

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
    """Return a line with the backend and precision in use; None if they are the requested ones.

    Args:
        args: with the options of ``add_speed_options``.
        runner: the network made according to them.
    """
    from darknet_builder.engines.optimized import OptimizedNetwork

    if not isinstance(runner, OptimizedNetwork) or (runner.backend, runner.precision) == (
        args.backend,
        args.precision,
    ):
        return None
    return f"the network runs on {runner.describe()}"
