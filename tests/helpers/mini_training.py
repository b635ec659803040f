"""The whole training that was recorded from Darknet beside the data set of blood cells, made again.

    python -m tests.helpers.mini_training [--nudges N] [--steps N] [--folder DIR]

says for each run how long its costs, averaged over 25 steps, stay within 5% of Darknet's, and its
mAP; and the same for every two of our own runs, which differ by changes of the pixels as small as
float32 rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from darknet_builder.data.data_file import DataFile
from darknet_builder.evaluation.darknet_map import mean_average_precision
from darknet_builder.evaluation.predictions import find_boxes
from darknet_builder.losses.whole_network import Targets, loss_inputs, network_loss
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.training.optimizer import make_optimizer
from darknet_builder.training.schedules import make_scheduler
from darknet_builder.weights.loader import load_weights

IMAGES, BATCH, STEPS = 288, 16, 500
_SIZE = (160, 128)
_NUDGE = 1e-7
_APART = 0.05

Costs = dict[int, list[float]]
"""By layer, one a step."""


def train_mini(folder: Path, *, steps: int, nudge: int = 0) -> tuple[Network, Costs]:
    """The recorded training on the first 288 images, as the data set's README tells it.

    Args:
        folder: of the data set.
        steps: how many.
        nudge: the seed of a change of every pixel by some 1e-7 of itself; 0 for none.
    """
    network = build_network(folder / "mini" / "mini.cfg", initialize=False).train()
    load_weights(network, folder / "mini" / "init.weights")
    order = np.random.RandomState(7).permutation(IMAGES)
    random = torch.Generator().manual_seed(nudge)
    samples = [
        read_sample(folder, name) for name in (folder / "train.txt").read_text().split()[:IMAGES]
    ]
    if nudge:
        samples = [
            (image * (1 + _NUDGE * torch.randn(image.shape, generator=random)), boxes)
            for image, boxes in samples
        ]
    optimizer = make_optimizer(network)
    scheduler = make_scheduler(optimizer, network.options.schedule)
    costs: Costs = {}
    for step in range(steps):
        chosen = [samples[order[(step * BATCH + number) % IMAGES]] for number in range(BATCH)]
        maps = loss_inputs(network, torch.stack([image for image, _ in chosen]))
        report = network_loss(
            network, maps, Targets.of_boxes([boxes for _, boxes in chosen]), seen=(step + 1) * BATCH
        )
        for loss in report.heads:
            costs.setdefault(loss.layer, []).append(float(loss.value.detach()))
        optimizer.zero_grad()
        (report.total / BATCH).backward()
        optimizer.step()
        scheduler.step()
    return network, costs


def read_sample(folder: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """An image at 160x128 and its boxes, without augmentation."""
    image = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
    small = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    label = (folder / name.replace("images", "labels")).with_suffix(".txt")
    rows = np.loadtxt(label, ndmin=2, dtype=np.float32)[:, [1, 2, 3, 4, 0]]
    return torch.from_numpy(small).permute(2, 0, 1), torch.from_numpy(rows)


def averaged(costs: Sequence[float], over: int = 25) -> np.ndarray:
    """The mean of each run of ``over`` steps."""
    return np.convolve(costs, np.ones(over) / over, "valid")


def parting(
    costs: Mapping[int, Sequence[float]], others: Mapping[int, Sequence[float]]
) -> dict[int, int | None]:
    """By layer, the first step from which on 25 are more than 5% apart on average; None if they
    never are."""
    found: dict[int, int | None] = {}
    for layer, ours in costs.items():
        apart = np.abs(averaged(ours) / averaged(others[layer][: len(ours)]) - 1) > _APART
        found[layer] = int(apart.argmax()) if apart.any() else None
    return found


def score(folder: Path, network: Network) -> float:
    """The mAP on the test images, as ``detector map`` computes it."""
    data = DataFile.read(folder / "bccd.data")
    names = data.names or []
    return mean_average_precision(
        list(find_boxes(network.eval(), data.load("valid"), batch=8)), names
    ).mean_average_precision


def main() -> None:
    """Train, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("../shared/datasets/bccd"), help="the data set"
    )
    parser.add_argument(
        "--nudges", type=int, default=0, help="how many further runs (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="(default: %(default)s)")
    args = parser.parse_args()
    reference = json.loads((args.folder / "mini" / "reference.json").read_text())
    recorded = {int(layer): costs for layer, costs in reference["cost_per_step"].items()}
    runs = []
    for nudge in range(args.nudges + 1):
        network, costs = train_mini(args.folder, steps=args.steps, nudge=nudge)
        runs.append(costs)
        print(
            f"run {nudge}: leaves Darknet's costs at steps {parting(costs, recorded)}, "
            f"mAP {score(args.folder, network):.4f} (Darknet's {reference['map50']:.4f})",
            flush=True,
        )
    for first, second in itertools.combinations(range(len(runs)), 2):
        print(
            f"runs {first} and {second}: leave each other at {parting(runs[first], runs[second])}"
        )


if __name__ == "__main__":
    main()
