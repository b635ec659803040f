"""The network of a command line: CFG and WEIGHTS, --cfg and --weights, or --model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darknet_builder.cfg.model_metadata import (
    is_graph_file,
    is_model_file,
    refuse_second_weights,
)
from darknet_builder.cfg.source import read_cfg
from darknet_builder.cli.arguments import (
    MODEL_HELP,
    WEIGHTS_HELP,
    add_batch,
    add_device,
    add_dialect,
    add_input_size,
    add_max_pixels,
    add_speed_options,
)
from darknet_builder.cli.progress import download_bar
from darknet_builder.errors import CfgError, InputError
from darknet_builder.support.bundled import find_by_name

if TYPE_CHECKING:
    from darknet_builder.engines.optimized import OptimizedNetwork
    from darknet_builder.network.network import Network
    from darknet_builder.weights.models import ModelFiles

MODEL_OPTIONS = {"download": "or add --download"}
"""What a command with ``--model`` says about a wrong library argument, by argument."""
_OPTION_OF_SUFFIX = {
    ".cfg": "--cfg",
    ".safetensors": "--cfg",
    ".pt": "--cfg",
    ".weights": "--weights",
    ".names": "--names",
    ".data": "",
    ".onnx": "--model",
}
"""The option for a file that is not an image, by suffix; empty if no option takes it."""


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


def add_model_name(parser: argparse._ActionsContainer) -> None:
    """Add ``--model`` and ``--download``; ``find_named`` finds the files."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="model in one word, instead of cfg, weights and names: the name of an official model,"
        " such as yolov4-tiny; a folder with one .cfg, one .weights and one .names file; or, to run"
        " it, an .onnx file that export wrote in int8",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="download missing weights of --model into the user's cache",
    )


def add_model_files(
    parser: argparse._ActionsContainer, cfg: str, weights: str, names: str, batch: int = 1
) -> None:
    """Add the options of a network that is built, loaded and run on images.

    Args:
        parser: the parser or group to add them to.
        cfg: help text of ``--cfg``.
        weights: help text of ``--weights``.
        names: help text of ``--names``.
        batch: default batch size.
    """
    add_model_name(parser)
    for name, text in (("cfg", cfg), ("weights", weights), ("names", names)):
        parser.add_argument(f"--{name}", metavar="FILE", help=text)
    add_input_size(parser)
    add_dialect(parser)
    add_device(parser)
    add_max_pixels(parser)
    add_batch(parser, batch)
    add_speed_options(parser)


def find_named(args: argparse.Namespace, *, needs_names: bool = False) -> ModelFiles | None:
    """Return the files of ``--model``; None without the option.

    Args:
        args: the command's arguments.
        needs_names: whether a folder must contain a names file.

    Raises:
        InputError: if a network or weights are given as well, or as ``find_model``.
        DownloadError: if a download fails.
    """
    _check_alone(args)
    if args.model is None:
        return None
    if args.download and _is_one_of_several():
        # All processes of torchrun would write into the same unfinished file.
        raise InputError(
            "--download works in a single process; download before torchrun, with 'darknet-builder"
            f" get-weights {args.model}'"
        )
    from darknet_builder.weights.models import find_model

    with download_bar(args.model) as progress:
        return find_model(
            args.model, needs_names=needs_names, download=args.download, progress=progress
        )


def _check_alone(args: argparse.Namespace) -> None:
    """Refuse a network or weights besides ``--model``, and ``--download`` without it."""
    if args.model is None and args.download:
        raise InputError("--download applies to the weights of --model; give --model NAME")
    given = [
        word
        for name in ("cfg_word", "cfg", "weights_word", "weights")
        if (word := getattr(args, name, None))
    ]
    if args.model is not None and given:
        first = given[0] if isinstance(given[0], str) else given[0][0]
        raise InputError(
            f"--model {args.model} gives the network and its weights; leave {first} out"
        )


def _is_one_of_several() -> bool:
    from darknet_builder.support.distributed import launched_processes

    return launched_processes() > 1


def take_named(args: argparse.Namespace, *, needs_names: bool = False) -> str | None:
    """Store the files of ``--model`` in ``args.cfg`` and ``args.weights``.

    Args:
        args: the command's arguments.
        needs_names: whether a folder must contain a names file.

    Returns:
        Path of the names file of the model; None if it has none, or without the option.

    Raises:
        DarknetError: as ``find_named``.
    """
    if is_graph_file(args.model):
        _check_alone(args)
        args.cfg = args.model  # a command that cannot run it says so
        return None
    files = find_named(args, needs_names=needs_names)
    if files is None:
        return None
    args.cfg, args.weights = str(files.cfg), str(files.weights)
    return None if files.names is None else str(files.names)


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


def check_weights(
    cfg: str, weights: str | None, *, required: bool = True, runs: bool = False
) -> None:
    """Check that a network has exactly one set of weights.

    Args:
        cfg: the cfg or model file.
        weights: the weights file; None if none was given.
        required: whether a network without weights is refused.
        runs: whether the command only runs the network, as an int8 ONNX file allows.

    Raises:
        CfgError: if the cfg file is missing, or is an ONNX file.
        InputError: if it has no weights, or two sets of them.
    """
    refuse_second_weights(cfg, weights)
    if runs and is_graph_file(cfg):
        from darknet_builder.cfg.model_files import read_graph

        read_graph(cfg)  # raises the error for a file that cannot be run
        return
    check_cfg(cfg)
    if required and weights is None and not is_model_file(cfg):
        raise InputError(
            f"no weights given for this network; give --weights FILE{_hint_at_official(cfg)}",
            path=cfg,
        )


def check_cfg(cfg: str | Path) -> None:
    """Check that a network's file exists, before other things are said about it.

    Args:
        cfg: the cfg or model file, or a bundled cfg's name.

    Raises:
        CfgError: if the cfg file is missing, or is an ONNX file.
        WeightsError: if the model file is missing.
    """
    path = find_by_name(cfg, ".cfg")
    if is_graph_file(path):
        raise CfgError(
            "is an ONNX file, which cannot be read back",
            path=path,
            hint="give the .cfg and .weights that it was exported from",
        )
    if not path.exists():
        read_cfg(path)  # raises the error for a missing file of its kind


def refuse_model_files(words: Sequence[str]) -> None:
    """Refuse files of a network among the sources of images.

    Other commands take them as words, so ``detect CFG WEIGHTS IMAGE`` is a likely mistake. Without
    this check, it would run the default network.

    Args:
        words: the sources of the command line.

    Raises:
        InputError: for the first such word; the message names the option to use.
    """
    for word in words:
        option = _OPTION_OF_SUFFIX.get(Path(word).suffix.lower())
        if option is None or Path(word).is_dir():
            continue
        if option == "":
            raise InputError(f"{word}: is not an image or a video, and not a network to run")
        raise InputError(f"{word}: is not an image or a video; give it with {option}")


def _hint_at_official(cfg: str) -> str:
    """Return how to get the weights of a bundled cfg; empty for other cfgs."""
    from darknet_builder.weights.models import official_weights

    official = official_weights(cfg)
    if official is None:
        return ""
    return (
        f", or --model {find_by_name(cfg, '.cfg').stem} instead of the cfg; get its weights with"
        f" 'darknet-builder get-weights {official.name}'"
    )


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
        args.backend or "torch",
        args.precision,
    ):
        return None
    return f"the network runs on {runner.describe()}"
