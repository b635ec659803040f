"""Draw the first samples of a training on one sheet, to check the augmentation."""

from __future__ import annotations

import numpy as np

from darknet_builder.boxes.drawing import class_color
from darknet_builder.data.sample import Sample
from darknet_builder.images.opencv import load_opencv
from darknet_builder.network.network import Network
from darknet_builder.training.batches import StepPlan, sample_rule
from darknet_builder.training.samples import LabelledImages, TrainingSamples

COLUMNS, ROWS = 4, 3
NUM_SAMPLES = COLUMNS * ROWS


def sample_sheet(network: Network, images: LabelledImages, seed: int) -> np.ndarray:
    """Draw the first samples that a training would see, with their boxes or classes.

    Args:
        network: has the augmentation options and the input size.
        images: the training images with their labels.
        seed: seed of the training.

    Returns:
        (ROWS * H, COLUMNS * W, 3) uint8, blue, green, red; each tile has the network's input size.
    """
    rule = sample_rule(network)
    plan = StepPlan(len(images), network, rule, seed=seed, first=0, last=NUM_SAMPLES)
    samples = TrainingSamples(images, rule, seed)
    tiles = []
    for step in range(NUM_SAMPLES):
        # The first sample of each step: mosaic is drawn once for all samples of a step.
        made = samples[plan.samples(step)[0]]
        tiles.append(_with_boxes(made.sample, plan.size))
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, NUM_SAMPLES, COLUMNS)]
    return np.vstack(rows)


def _with_boxes(sample: Sample, size: tuple[int, int]) -> np.ndarray:
    """Draw a sample with its boxes or classes, resized to the network's input size."""
    # Multi-scale gives the samples different sizes; the tiles of the sheet need one.
    cv2 = load_opencv()
    image = np.ascontiguousarray(cv2.resize(sample.image, size))
    if sample.shares is not None:
        shown = [(class_id, share) for class_id, share in enumerate(sample.shares) if share > 0.01]
        text = ", ".join(f"{class_id}: {share:.2f}" for class_id, share in shown)
        cv2.putText(
            image, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1, cv2.LINE_AA
        )
    for x, y, width, height, class_id in sample.boxes.tolist():
        # The corners at centre - size / 2 and centre + size / 2, in pixels.
        corners = [
            (round((x + side * width / 2) * size[0]), round((y + side * height / 2) * size[1]))
            for side in (-1, 1)
        ]
        cv2.rectangle(image, *corners, class_color(int(class_id)), 1, cv2.LINE_AA)
    return image
