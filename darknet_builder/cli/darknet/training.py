"""``detector train`` and ``classifier train``: train, and print Darknet's lines."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from darknet_builder.cli.darknet.flags import CLASS_TRAIN
from darknet_builder.cli.darknet.model import announce, choose_device
from darknet_builder.cli.darknet.request import Request
from darknet_builder.compat.program.documents import base_name
from darknet_builder.compat.program.lines import head_lines
from darknet_builder.compat.program.training_lines import DarknetLines
from darknet_builder.data.data_file import DataFile
from darknet_builder.errors import DataWarning, InputError
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.training.checkpoints.checkpoint_file import checkpoint_path, list_checkpoints
from darknet_builder.training.checkpoints.output_files import check_output
from darknet_builder.training.datasets import TrainingLists, load_training_lists
from darknet_builder.training.initialization import initialize
from darknet_builder.training.settings import TrainSettings
from darknet_builder.training.trainer import Trainer
from darknet_builder.weights.entries import weight_entries
from darknet_builder.weights.header import open_weights
from darknet_builder.weights.loader import load_weights

_INTERRUPTED = 130
_LEAST_PERIOD = 100
"""Minimum number of steps between two measurements of mAP (detector.c:302)."""
_SAVE_EVERY = "100"
_OTHER_FOLDER = "name another folder as backup= in the .data file, or move the files away"


def run_train(request: Request, out: TextIO) -> int:
    """Train; return 0, or 130 after Ctrl-C."""
    is_classifier = request.function == CLASS_TRAIN
    validates = request.has("-topk" if is_classifier else "-map")
    data, cfg = _training_data(request.words[0], validates), request.words[1]
    out.write(f"{base_name(cfg)}\n")
    device = choose_device(request, out)
    network = _make_network(request)
    announce(network, out, is_training=True)
    lists = load_training_lists(data, network)
    settings = _settings(request, data, network, device, len(lists.images))
    out.write(_rate_line(network) + head_lines(network))
    trainer = Trainer(
        network,
        lists.images,
        settings,
        out=out,
        validate=lists.validator,
        progress=_lines(network, lists, out, is_classifier),
    )
    outcome = trainer.run()
    if outcome.interrupted:
        last = settings.output / f"{settings.name}_last.weights"
        out.write(f"stopped after step {outcome.finished}; to resume, give {last} as WEIGHTS\n")
        return _INTERRUPTED
    out.write(
        "If you want to train from the beginning, then use flag in the end of training command:"
        " -clear \n"
    )
    return 0


def _training_data(path: str, validates: bool) -> DataFile:
    """Read the ``.data`` file, and drop ``valid=`` for a training that does not validate."""
    data = DataFile.read(path)
    data.file("train")
    if "saveweights" in data.options:
        text = "saveweights= is not supported: NAME_1000.weights and so on are written"
        warnings.warn(DataWarning(text, path=data.path), stacklevel=1)
    if validates:  # without valid=, Darknet validates on the training list (detector.c:28)
        return (
            data if data.has("valid") else data.having("valid", str(data.file("train").absolute()))
        )
    options = {key: value for key, value in data.options.items() if key != "valid"}
    lines = {key: line for key, line in data.lines.items() if key != "valid"}
    return replace(data, options=options, lines=lines)


def _make_network(request: Request) -> Network:
    """Build the network with random weights, and load those of the file."""
    cfg, weights = request.words[1], request.word(2)
    network = build_network(cfg)
    initialize(network, [])
    if weights is not None:
        load_weights(network, weights, until=_cut_off(network, weights))
    if request.has("-clear"):
        network.header = replace(network.header, seen=0)
    return network


def _cut_off(network: Network, path: str) -> int | None:
    """Return the layer before which a file such as ``yolov4.conv.137`` ends; None for a whole file.

    Darknet loads what a file has, and leaves the other layers as they are.
    """
    header, _, available = open_weights(network.dialect, path)
    entries = weight_entries(network, header, loading=True)
    for before, after in zip(entries, entries[1:], strict=False):
        if before.stop == available and before.index != after.index:
            return after.index
    return None


def _settings(
    request: Request, data: DataFile, network: Network, device: str, num_images: int
) -> TrainSettings:
    if "backup" not in data.options:
        raise data.error("needs backup=, the folder for the weights", "backup")
    save_every = data.options.get("savelast", _SAVE_EVERY)
    if not save_every.isdecimal():
        raise data.error("expected a whole number", "savelast")
    output = Path(data.options["backup"])
    every = None
    if request.has("-mAP_epochs"):
        epochs = request.value("-mAP_epochs")
        every = max(_LEAST_PERIOD, epochs * num_images // network.options.batch)
    seen = network.header.seen
    if seen and (checkpoints := list_checkpoints(output)):
        _check_newest(Path(request.words[2]), network, checkpoints[-1])
        # Resumed from the checkpoint beside these weights, because it also has the momentum.
        network.header = replace(network.header, seen=0)
    settings = TrainSettings(
        output=output,
        name=base_name(request.words[1]),
        device=device,
        workers=1,
        eval_every=every,
        save_every=int(save_every),
        continue_run=seen > 0,
    )
    try:
        check_output(settings)
    except InputError as error:
        raise InputError(error.message, path=output, hint=_OTHER_FOLDER) from None
    return settings


def _check_newest(weights: Path, network: Network, newest: Path) -> None:
    """Refuse weights that are not those of the newest checkpoint, which would be resumed instead.

    Raises:
        InputError: with what to do.
    """
    step = network.header.seen // network.options.batch
    difference = ""
    if checkpoint_path(newest.parent, step) != newest:
        difference = f"has {step} steps"
    elif weights.resolve().parent != newest.parent.resolve():
        difference = "is not in this folder"
    if difference:
        raise InputError(
            f"the training there stands at {newest.name}, but {weights} {difference}",
            path=newest.parent,
            hint=f"give its NAME_last.weights to resume it; to train from {weights.name},"
            f" {_OTHER_FOLDER}",
        )


def _rate_line(network: Network) -> str:
    options = network.options
    rate, momentum, decay = options.schedule.learning_rate, options.momentum, options.decay
    return f"Learning Rate: {rate:g}, Momentum: {momentum:g}, Decay: {decay:g}\n"


def _lines(
    network: Network, lists: TrainingLists, out: TextIO, is_classifier: bool
) -> DarknetLines:
    total = network.options.schedule.max_batches
    count = len(lists.images) if is_classifier else None
    return DarknetLines(out, total, images_in_list=count)
