"""Images that cannot be read: all of them said before step 1, skipped when asked for, replaced when
they go bad while a training runs."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.detector_augmentation import AugmentRule
from darknet_builder.data.sample import Sample
from darknet_builder.errors import DataError, DataWarning, ImageError, InputError, LabelWarning
from darknet_builder.images.readable import check_images
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.training.batches import (
    ListedImages,
    StepPlan,
    TrainingSamples,
    load_batches,
    sample_rule,
)
from darknet_builder.training.datasets import load_training_lists
from darknet_builder.training.log.run_log import read_log
from darknet_builder.training.settings import TrainSettings
from darknet_builder.training.trainer import Outcome, Trainer
from tests.helpers.training_folder import make_folder

TRUNCATED = Path(__file__).parents[1] / "data" / "truncated.jpg"


@pytest.fixture
def data(tmp_path: Path) -> DataFile:
    """Ten images to learn from and four to validate on."""
    return DataFile.read(make_folder(tmp_path))


def image(data: DataFile, name: str) -> Path:
    """The file of an image: ``train/000003``."""
    return data.path.parent / "images" / f"{name}.jpg"


def make_network(data: DataFile, steps: int = 6) -> Network:
    """The tiny network with drawn weights."""
    torch.manual_seed(0)
    text = (data.path.parents[1] / "tiny.cfg").read_text()
    return build_network(text.replace("max_batches=20", f"max_batches={steps}"))


class Counter:
    """Counts as a progress bar does."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def grow(self, count: int) -> None:
        """More are coming."""
        self.total += count

    def advance(self, count: int = 1) -> None:
        """Some are done."""
        self.done += count


# ---- before step 1 -------------------------------------------------------------------------------


def test_all_are_named_at_once(data: DataFile) -> None:
    bad = [image(data, name) for name in ("train/000002", "train/000007", "valid/000001")]
    bad[0].write_text("no picture")
    bad[1].write_bytes(b"")
    bad[2].write_bytes(bad[2].read_bytes()[:300])
    counter = Counter()
    with pytest.raises(DataError) as raised:
        load_training_lists(data, make_network(data), counter=counter)
    assert str(raised.value) == (
        f"{data.path}: 3 of 14 images cannot be read:"
        f" {bad[0]}: not an image that OpenCV can read; {bad[1]}: the file is empty;"
        f" {bad[2]}: not an image that OpenCV can read; repair them, or train without them"
    )
    assert raised.value.argument == "skip_bad_images"
    assert (counter.total, counter.done) == (14, 14)


def test_the_first_twenty_and_a_count(tmp_path: Path) -> None:
    data = DataFile.read(make_folder(tmp_path, train=25, valid=1))
    for number in range(23):
        image(data, f"train/{number:06d}").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        load_training_lists(data, make_network(data))
    text = str(raised.value)
    assert text.count("the file is empty") == 20 and "; and 3 more; " in text


def test_going_on_without_them(data: DataFile) -> None:
    """The training list keeps its length; validation loses the image."""
    image(data, "train/000002").write_bytes(b"")
    image(data, "train/000005").unlink()
    image(data, "valid/000001").write_bytes(b"")
    with pytest.warns(DataWarning, match="3 of 14 images cannot be read: ") as caught:
        lists = load_training_lists(data, make_network(data), skip_bad_images=True)
    assert "No such file or directory" in str(caught[0].message)
    assert len(lists.images) == 10
    assert lists.description.endswith(", 3 validation images; 3 cannot be read")
    with pytest.raises(DataError, match="no such image"):
        load_training_lists(data, make_network(data))


def test_a_label_over_the_edge_ends_no_training(data: DataFile) -> None:
    """Its box is clipped at the edge, and the warning counts it; ``strict`` refuses it."""
    label = data.path.parent / "labels" / "train" / "000002.txt"
    label.write_text("1 .5 .5 1.2 .3\n")
    with pytest.warns(LabelWarning) as caught:
        lists = load_training_lists(data, make_network(data))
    assert [message.message.num_clipped for message in caught] == [1]  # type: ignore[union-attr]
    assert lists.images.sample(2).boxes == pytest.approx(np.array([[0.5, 0.5, 1.2, 0.3, 1]]))
    rule = AugmentRule()
    sample = rule.make(np.random.default_rng(0), [lists.images.sample(2)], (64, 64))
    assert sample.boxes == pytest.approx(np.array([[0.5, 0.5, 1, 0.3, 1]]))
    with pytest.raises(DataError, match=r"000002\.txt:1: .* over the edge of the image"):
        load_training_lists(data, make_network(data), strict=True)


def test_nothing_left_of_a_list(data: DataFile) -> None:
    for path in (data.path.parent / "images" / "valid").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="a list would have no image left"):
        load_training_lists(data, make_network(data), skip_bad_images=True)


def test_images_that_end_too_early_are_counted(data: DataFile) -> None:
    for name in ("train/000002", "valid/000001"):
        shutil.copyfile(TRUNCATED, image(data, name))
    with pytest.warns(DataWarning) as caught:
        lists = load_training_lists(data, make_network(data))
    assert lists.description.endswith("4 validation images; 2 images end too early")
    assert [str(warning.message) for warning in caught] == [
        f"{data.path}: 2 images end too early; the missing part is grey or blurred; for instance"
        f" {image(data, 'train/000002')}"
    ]


def test_each_file_is_looked_at_once(data: DataFile) -> None:
    path, counter = image(data, "train/000002"), Counter()
    check = check_images([path, path, path], counter)
    assert (check.unreadable, counter.total) == ({}, 1)


# ---- while a training runs -----------------------------------------------------------------------


class Spoiling(ListedImages):
    """Images of which one goes bad after it was read a number of times."""

    def __init__(self, data: DataFile, index: int, reads: int) -> None:
        super().__init__(data.load("train"))
        self.index, self.reads = index, reads

    def sample(self, index: int) -> Sample:
        """The image and its boxes."""
        if index == self.index:
            self.reads -= 1
            if self.reads < 0:
                raise ImageError("cannot be read", path=self.path(index))
        return super().sample(index)


def run(data: DataFile, images: ListedImages, output: Path, **settings: object) -> Outcome:
    """Train."""
    given = TrainSettings(output, name="t", save_every=2, **settings)  # type: ignore[arg-type]
    return Trainer(make_network(data), images, given, out=io.StringIO()).run()


def test_an_image_that_goes_bad_is_skipped_counted_and_named(
    data: DataFile, tmp_path: Path
) -> None:
    outcome = run(data, Spoiling(data, 3, 1), tmp_path / "run")
    assert (outcome.finished, outcome.skipped_images) == (6, 1)
    records = [record for record in read_log(tmp_path / "run" / "log.jsonl") if len(record) == 2]
    assert len(records) == 1 and 1 < records[0]["iteration"] <= 6
    assert records[0]["skipped_image"] == f"{image(data, 'train/000003')}: cannot be read"


def test_resuming_draws_the_same_images(data: DataFile, tmp_path: Path) -> None:
    """An image that was bad from the start: broken off after 4 of 6 steps, or not."""
    whole = run(data, Spoiling(data, 3, 0), tmp_path / "whole")
    for steps in (4, 6):
        settings = TrainSettings(tmp_path / "two", name="t", save_every=2, resume=steps == 6)
        trainer = Trainer(make_network(data), Spoiling(data, 3, 0), settings, out=io.StringIO())
        trainer.total = steps
        trainer.run()
    assert whole.skipped_images == 1
    weights = [(tmp_path / name / "t_final.weights").read_bytes() for name in ("whole", "two")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_replace_the_same_images(data: DataFile, workers: int) -> None:
    """Every batch has its full size, and says what it lacks."""
    network = make_network(data)
    image(data, "train/000003").write_text("no picture")
    plan = StepPlan(10, network, sample_rule(network), seed=0, first=0, last=5)
    batches = list(load_batches(ListedImages(data.load("train")), plan, workers=workers))
    assert [len(batch.indices) for batch in batches] == [2] * 10
    assert all(3 not in batch.indices for batch in batches)
    skipped = [failure for batch in batches for failure in batch.skipped]
    assert [index for index, _ in skipped] == [3, 3]
    assert skipped[0][1].endswith("000003.jpg: not an image that OpenCV can read")
    samples = TrainingSamples(ListedImages(data.load("train")), plan.rule, 0)
    made = [samples[planned].index for step in range(5) for planned in plan.samples(step)]
    assert made == [index for batch in batches for index in batch.indices]


def test_a_disk_that_is_gone_ends_the_training(data: DataFile, tmp_path: Path) -> None:
    images = ListedImages(data.load("train"))
    shutil.rmtree(data.path.parent / "images")
    with pytest.raises(ImageError, match="No such file or directory"):
        run(data, images, tmp_path / "run")


def test_a_validation_image_that_goes_bad(data: DataFile, tmp_path: Path) -> None:
    lists = load_training_lists(data, make_network(data))
    assert lists.validator is not None
    image(data, "valid/000002").write_text("no picture")
    with pytest.warns(DataWarning, match=r"left out of the validation from now on: .*000002\.jpg"):
        lists.validator(make_network(data).eval())
    assert len(lists.validator.images) == 3


def test_resuming_with_another_list(data: DataFile, tmp_path: Path) -> None:
    run(data, ListedImages(data.load("train")), tmp_path / "run")
    path = data.path.parent / "train.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError) as raised:
        run(data, ListedImages(data.load("train")), tmp_path / "run", resume=True)
    assert str(raised.value).endswith(
        "checkpoint_0000006.pt: was made with 10 training images, the list now has 9: it cannot be"
        " resumed exactly; put the list back as it was (an image that cannot be read may stay in"
        " it), or continue with the new list"
    )
