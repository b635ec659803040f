"""Classifiers: classes from paths, Darknet's augmentation of them, and a training on crops of drawn
scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from darknet_builder import build_network
from darknet_builder.cli import program as cli
from darknet_builder.data.class_lists import class_labels, load_classed_images
from darknet_builder.data.classifier_augmentation import ClassifierRule
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.labels import no_boxes
from darknet_builder.data.sample import Sample
from darknet_builder.data.scenes import SCENE_NAMES, draw_scene
from darknet_builder.errors import DataError, InputError
from darknet_builder.images.files import write_image
from darknet_builder.prediction.classifier import Classifier
from darknet_builder.training.batches import StepPlan, TrainingSamples, collate
from darknet_builder.training.trainer import sample_rule

CFG = """\
[net]
batch=16
subdivisions=1
width=24
height=24
channels=3
momentum=0.9
decay=0.0005
min_crop=24
max_crop=26
angle=5
aspect=1.1
hue=.05
saturation=1.2
exposure=1.2
learning_rate=0.05
max_batches=80
policy=poly
power=1

[convolutional]
filters=8
size=3
stride=1
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=16
size=3
stride=1
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[connected]
output=2
activation=linear

[softmax]
groups=1
"""
KINDS = ("ring", "arrow")


def crop(scene_image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """An object with a little around it."""
    size = len(scene_image)
    x, y, width, height = box[:4] * size
    half = max(width, height) * 0.55
    left, top = max(int(x - half), 0), max(int(y - half), 0)
    return scene_image[top : int(y + half) + 1, left : int(x + half) + 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of scenes, in files that name their kind; two lists, the labels and a cfg."""
    folder = tmp_path_factory.mktemp("classes")
    for split, scenes in (("train", 60), ("valid", 20)):
        names = []
        for seed in range(scenes):
            scene = draw_scene(seed, split=split)
            for number, box in enumerate(scene.boxes):
                kind = SCENE_NAMES[int(box[4])]
                if kind in KINDS:
                    names.append(f"{split}/{kind}_{seed}_{number}.png")
                    (folder / split).mkdir(exist_ok=True)
                    write_image(folder / names[-1], crop(scene.image, box))
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    (folder / "kinds.txt").write_text("\n".join(KINDS) + "\n")
    (folder / "kinds.data").write_text(
        "classes=2\ntrain=train.txt\nvalid=valid.txt\nlabels=kinds.txt\n"
    )
    (folder / "tiny.cfg").write_text(CFG)
    return folder


# ---- classes -------------------------------------------------------------------------------------


def test_class_from_the_path(folder: Path) -> None:
    """The label that stands in the line, wherever it stands; folders above the list do not
    count."""
    data = DataFile.read(folder / "kinds.data")
    images = load_classed_images(data.file("train"), class_labels(data))
    rings = [image for image in images.images if "ring" in image.path.name]
    assert {KINDS[image.class_id] for image in rings} == {"ring"}
    assert {image.class_id for image in images.images} == {0, 1}
    sample = images.sample(0)
    assert sample.shares is not None and sample.shares.tolist() == [
        float(kind in images.path(0)) for kind in KINDS
    ]
    assert (
        load_classed_images(folder / "train.txt", ("ring", "train/arrow")).images[0]
        == images.images[0]
    )


@pytest.mark.parametrize(
    "labels, message",
    [
        (
            ("circle", "star"),
            "expected the label of exactly one class in the path, found no label",
        ),
        (("ring", "arrow", "train/"), "found several labels ("),
    ],
)
def test_paths_without_one_class(folder: Path, labels: tuple[str, ...], message: str) -> None:
    """Located; Darknet prints 'Too many or too few labels' and continues."""
    with pytest.raises(DataError) as caught:
        load_classed_images(folder / "train.txt", labels)
    assert str(caught.value).startswith(f"{folder}/train.txt:1: train/") and message in str(
        caught.value
    )


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "classes=3\ntrain=train.txt\nlabels=kinds.txt\n",
            "kinds.txt has 2 labels; the two must agree",
        ),
        ("train=train.txt\n", "needs labels=, which is missing"),
        (
            "train=train.txt\nlabels=kinds.txt\ntop=0\n",
            "top=0: expected a whole number of 1 or more",
        ),
    ],
)
def test_bad_data_files(folder: Path, text: str, message: str) -> None:
    """What contradicts itself, and what is missing."""
    path = folder / "bad.data"
    path.write_text(text)
    data = DataFile.read(path)
    with pytest.raises(DataError) as caught:
        class_labels(data), data.top
    assert message in str(caught.value)


# ---- augmentation --------------------------------------------------------------------------------


def plain(class_id: int, level: int, size: tuple[int, int] = (20, 20)) -> Sample:
    """A grey image of one class of four."""
    return Sample(
        np.full((size[1], size[0], 3), level, np.uint8),
        no_boxes(),
        np.eye(4, dtype=np.float32)[class_id],
    )


def make(
    rule: ClassifierRule, sources: list[Sample], seed: int = 0, net_size: tuple[int, int] = (20, 20)
) -> Sample:
    """One sample."""
    return rule.make(np.random.default_rng(seed), sources, net_size)


def test_middle_of_an_image() -> None:
    """With nothing allowed, the shorter side becomes the network's, and the crop moves along the
    longer one only."""
    rule = ClassifierRule(min_crop=8, max_crop=8)
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None], (8, 16, 3)).copy()
    found = {
        tuple(
            make(rule, [Sample(ramp, no_boxes(), np.ones(1, np.float32))], seed, (8, 8))
            .image[4, :, 0]
            .tolist()
        )
        for seed in range(40)
    }
    firsts = sorted(row[0] for row in found)
    assert firsts[0] <= 1 and firsts[-1] >= 7 and all(0 <= first <= 8 for first in firsts)
    assert all(6 <= row[-1] - row[0] <= 8 for row in found)


def test_turned_by_a_right_angle() -> None:
    """The matrix turns around the image's middle: an angle of 90 degrees swaps the axes."""
    image = np.zeros((21, 21, 3), np.uint8)
    image[:, 12:] = 200  # bright to the right
    rule = ClassifierRule(min_crop=21, max_crop=21, angle=180)
    sides = {}
    for seed in range(60):
        turned = make(
            rule, [Sample(image, no_boxes(), np.ones(1, np.float32))], seed, (21, 21)
        ).image[..., 0]
        sides["left"] = max(sides.get("left", 0), float(turned[:, :6].mean()))
        sides["top"] = max(sides.get("top", 0), float(turned[:6].mean()))
        assert 50 < turned.mean() < 120
    assert sides["left"] > 190 and sides["top"] > 190


def test_smoothing() -> None:
    """1 - eps for the class, eps shared out among the others (fill_truth_smooth)."""
    sample = make(ClassifierRule(min_crop=20, max_crop=20, smoothing=0.3), [plain(1, 50)])
    assert sample.shares == pytest.approx([0.1, 0.7, 0.1, 0.1])
    assert sample.image.shape == (20, 20, 3) and sample.image.min() == sample.image.max() == 50


def test_mixup() -> None:
    """The mean of two images, half of either class."""
    sample = make(
        ClassifierRule(min_crop=20, max_crop=20, mixup=True), [plain(0, 0), plain(2, 100)]
    )
    assert sample.image.min() == sample.image.max() == 50
    assert sample.shares == pytest.approx([0.5, 0, 0.5, 0])


@pytest.mark.parametrize("seed", range(10))
def test_cutmix(seed: int) -> None:
    """A rectangle of 9% to 64% of the second image; classes by area."""
    sample = make(
        ClassifierRule(min_crop=20, max_crop=20, cutmix=True, mixup=True),
        [plain(0, 0), plain(3, 255)],
        seed,
    )
    share = float((sample.image[..., 0] == 255).mean())
    assert 0.09 <= share <= 0.64 and sample.shares == pytest.approx(
        [1 - share, 0, 0, share], abs=1e-6
    )


@pytest.mark.parametrize("seed", range(10))
def test_mosaic(seed: int) -> None:
    """Four quarters around a point; classes by area."""
    sources = [plain(number, 10 * number) for number in range(4)]
    sample = make(ClassifierRule(min_crop=20, max_crop=20, mosaic=True), sources, seed)
    areas = [float((sample.image[..., 0] == 10 * number).mean()) for number in range(4)]
    assert sample.shares == pytest.approx(areas, abs=1e-6) and min(areas) >= 0.04
    assert [int(sample.image[y, x, 0]) for y in (0, -1) for x in (0, -1)] == [0, 10, 20, 30]


def test_cutmix_or_mosaic() -> None:
    """mixup=4 in Darknet: each sample of a batch draws one of the two."""
    rule = ClassifierRule(min_crop=20, max_crop=20, mosaic=True, cutmix=True)
    sources = [plain(number, 10 * number) for number in range(4)]
    counts = {len(np.unique(make(rule, sources, seed).image)) for seed in range(20)}
    assert counts == {2, 4}
    assert {rule.images_in(np.random.default_rng(seed)) for seed in range(20)} == {1, 4}


def test_rule_of_a_cfg() -> None:
    """All of [net]; without min_crop and max_crop once and twice the width."""
    network = build_network(
        CFG.replace("min_crop=24\n", "").replace("max_crop=26\n", "cutmix=1\nblur=1\n")
    )
    rule = sample_rule(network)
    assert rule == ClassifierRule(
        angle=5,
        aspect=1.1,
        min_crop=24,
        max_crop=48,
        flip=True,
        hue=0.05,
        saturation=1.2,
        exposure=1.2,
        blur=1,
        cutmix=True,
    )


def test_batches(folder: Path) -> None:
    """Shares instead of boxes, of the network's size; the same ones for the same seed."""
    network = build_network(CFG)
    images = load_classed_images(folder / "train.txt", KINDS)
    rule = sample_rule(network)
    plan = StepPlan(len(images), network, rule, seed=3, first=0, last=2)
    batches = [
        collate([TrainingSamples(images, rule, 3)[draw] for draw in plan.samples(1)])
        for _ in range(2)
    ]
    assert batches[0].images.shape == (16, 24, 24, 3) and batches[0].shares is not None
    assert batches[0].shares.shape == (16, 2) and bool((batches[0].shares.sum(1) == 1).all())
    assert bool((batches[0].images == batches[1].images).all())


def test_a_tree_cannot_be_trained(tmp_path: Path) -> None:
    """Said at once."""
    (tmp_path / "my.tree").write_text("a -1\nb -1\n")
    (tmp_path / "tree.cfg").write_text(CFG.replace("groups=1", "groups=1\ntree=my.tree"))
    with pytest.raises(InputError, match="classifiers with a class tree cannot be trained"):
        sample_rule(build_network(tmp_path / "tree.cfg"))


# ---- a training ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_classifier_learns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some fifty rings and arrows by heart; the final weights give what was logged."""
    output = folder / "run"
    (folder / "heart.txt").write_text(
        "\n".join((folder / "train.txt").read_text().split()[:48]) + "\n"
    )
    (folder / "heart.data").write_text("train=heart.txt\nvalid=heart.txt\nlabels=kinds.txt\n")
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(folder / "heart.data"),
                "--cfg",
                str(folder / "tiny.cfg"),
                "--output",
                str(output),
                "--workers",
                "0",
                "--eval-every",
                "40",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert (
        "48 training images of 2 classes, 48 validation images" in out
        and "80 steps done, top-1 " in out
    )
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    scores = [record for record in records if "top1" in record]
    losses = [record["loss"] for record in records if "loss" in record]
    assert [record["iteration"] for record in scores] == [40, 80]
    assert all(record["top2"] == 1 for record in scores)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:3])
    assert scores[-1]["top1"] >= 0.85
    valid = load_classed_images(folder / "heart.txt", KINDS)
    answers = Classifier(folder / "tiny.cfg", output / "tiny_final.weights", KINDS, top=1)(
        [image.path for image in valid.images]
    )
    right = sum(
        answer[0].class_id == image.class_id
        for answer, image in zip(answers, valid.images, strict=True)
    )
    assert right / len(valid) == pytest.approx(scores[-1]["top1"])
    assert (output / "chart.png").exists() and (output / "tiny_best.weights").exists()


def test_wrong_number_of_classes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    (tmp_path / "wide.cfg").write_text(CFG.replace("output=2", "output=5"))
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(folder / "kinds.data"),
                "--cfg",
                str(tmp_path / "wide.cfg"),
                "--output",
                str(tmp_path / "run"),
            ]
        )
        == 2
    )
    assert "there are 2 labels, but the network gives 5 scores" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_show_samples(folder: Path, tmp_path: Path) -> None:
    """With the shares of the classes in each."""
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(folder / "kinds.data"),
                "--cfg",
                str(folder / "tiny.cfg"),
                "--show-samples",
                str(tmp_path / "samples.png"),
            ]
        )
        == 0
    )
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
