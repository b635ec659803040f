"""``data check`` finds each planted fault of a drawn set; ``data split``, ``merge`` and ``stats``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from darknet_builder.cli.program import main
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.scenes import write_scenes
from darknet_builder.data.sets.check import DataCheck, check_data
from darknet_builder.data.sets.findings import LEVELS
from darknet_builder.data.sets.looks import look_at, similar_pairs
from darknet_builder.data.sets.merge import merge_data
from darknet_builder.data.sets.network_sizes import compare_sizes
from darknet_builder.data.sets.split import choose_stratified, split_data
from darknet_builder.data.sets.statistics import count_data
from darknet_builder.errors import DataError, InputError
from darknet_builder.network.build import build_network

ROOT = Path(__file__).parents[2]
COUNTS = {"train": 30, "valid": 10}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 scenes without a fault; the .data file."""
    return write_scenes(tmp_path_factory.mktemp("drawn"), COUNTS, size=96)


@pytest.fixture
def data(drawn: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(drawn.parent, tmp_path / "set")
    return tmp_path / "set" / drawn.name


def image(folder: Path, number: int, split: str = "train") -> Path:
    return folder / "images" / split / f"{number:06d}.jpg"


def label(folder: Path, number: int, split: str = "train") -> Path:
    return folder / "labels" / split / f"{number:06d}.txt"


def bad_line(folder: Path) -> None:
    with label(folder, 0).open("a") as file:
        file.write("0 .5 .5 .1\n0 .5 .5 .1 .1\n1 2 3\n")


def unknown_class(folder: Path) -> None:
    label(folder, 1).write_text("12 .5 .5 .1 .1\n")


def outside(folder: Path) -> None:
    label(folder, 2).write_text("0 1.5 .5 .1 .1\n")


def not_text(folder: Path) -> None:
    label(folder, 3).write_bytes(b"\xff\xfe\x00")


def over_edge(folder: Path) -> None:
    label(folder, 4).write_text("0 -.01 .5 .1 .1\n0 .5 .5 .1 .1\n")


def same_box(folder: Path) -> None:
    label(folder, 5).write_text("0 .5 .5 .1 .1\n" * 2)


def no_label(folder: Path) -> None:
    label(folder, 6).unlink()


def no_image(folder: Path) -> None:
    image(folder, 7).unlink()


def not_listed(folder: Path) -> None:
    label(folder, 99).write_text("0 .5 .5 .1 .1\n")


def not_an_image(folder: Path) -> None:
    image(folder, 8).write_bytes(b"\xff\xd8\xff\xe0 no image")


def cut_off(folder: Path) -> None:
    data = image(folder, 9).read_bytes()
    image(folder, 9).write_bytes(data[: len(data) * 9 // 10])


def turned(folder: Path) -> None:
    """EXIF orientation 6, as telephones write it, in an image that is not square."""
    wide = cv2.imread(str(image(folder, 10)))[:60]
    data = cv2.imencode(".jpg", wide)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    size = (len(exif) + 2).to_bytes(2, "big")
    image(folder, 10).write_bytes(data[:2] + b"\xff\xe1" + size + exif + data[2:])


def listed_twice(folder: Path) -> None:
    with (folder / "train.txt").open("a") as file:
        file.write("images/train/000011.jpg\n")


def same_twice(folder: Path) -> None:
    shutil.copy(image(folder, 12), image(folder, 13))


def same_in_two(folder: Path) -> None:
    shutil.copy(image(folder, 14), image(folder, 0, "valid"))


def similar_in_two(folder: Path) -> None:
    """Saved again smaller, and a little brighter."""
    pixels = cv2.imread(str(image(folder, 15)))
    small = cv2.resize(pixels, (80, 80), interpolation=cv2.INTER_AREA)
    brighter = np.clip(small.astype(int) + 3, 0, 255).astype(np.uint8)
    cv2.imwrite(str(image(folder, 1, "valid")), brighter, [cv2.IMWRITE_JPEG_QUALITY, 60])


def class_missing(folder: Path) -> None:
    names = folder / "scenes.names"
    names.write_text(names.read_text() + "comet\n")
    data = folder / "scenes.data"
    data.write_text(data.read_text().replace("classes = 8", "classes = 9"))


FAULTS: list[tuple[Callable[[Path], None], str, str]] = [
    (bad_line, "bad label", "labels/train/000000.txt:"),
    (
        unknown_class,
        "bad label",
        "labels/train/000001.txt:1: '12 .5 .5 .1 .1': class 12: there are",
    ),
    (outside, "bad label", "labels/train/000002.txt:1: '0 1.5 .5 .1 .1': x 1.5, width .1: the box"),
    (not_text, "bad label", "labels/train/000003.txt: is not UTF-8 text"),
    (over_edge, "box over the edge", "labels/train/000004.txt: 1 of 2 boxes over the edge"),
    (same_box, "same box twice", "labels/train/000005.txt: 1 of 2 boxes are in the file twice"),
    (no_label, "no label file", "images/train/000006.jpg: has no label file"),
    (no_image, "missing image", "train.txt:8: images/train/000007.jpg: no such image"),
    (not_listed, "label file without image", "labels/train/000099.txt: belongs to no image"),
    (not_an_image, "unreadable image", "images/train/000008.jpg: "),
    (cut_off, "truncated image", "images/train/000009.jpg: the end of the file is missing"),
    (turned, "rotated image", "images/train/000010.jpg: 96 x 60 in the file, 60 x 96 when it is"),
    (listed_twice, "listed twice", "train.txt:31: images/train/000011.jpg is also in line 12"),
    (same_twice, "same image twice", "images/train/000013.jpg: has the pixels of"),
    (same_in_two, "same image in two splits", "images/valid/000000.jpg: has the pixels of"),
    (similar_in_two, "similar image in two splits", "images/valid/000001.jpg: looks like"),
    (class_missing, "class without objects", "comet: no objects in train and valid"),
]


def kinds(found: DataCheck) -> set[str]:
    return {finding.kind for finding in found.findings}


def test_a_set_without_a_fault(drawn: Path) -> None:
    """Nothing is wrong with drawn scenes, and no two of them are similar."""
    found = check_data(drawn)
    assert kinds(found) <= {"class without objects"}
    assert found.num_errors == 0 and len(found.images) == 40
    assert found.statistics.images == COUNTS


@pytest.mark.filterwarnings("always::darknet_builder.errors.TruncatedImageWarning")
def test_each_planted_fault_is_found(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them at once, each with its file, and no other."""
    folder = data.parent
    before = {str(finding) for finding in check_data(data).findings}
    for plant, _, _ in FAULTS:
        plant(folder)
    found = check_data(data)
    new = {(finding.kind, str(finding)) for finding in found.findings if str(finding) not in before}
    for plant, kind, start in FAULTS:
        text = start if kind == "class without objects" else f"{folder}/{start}"
        hits = {one for one in new if one[0] == kind and one[1].startswith(text)}
        assert len(hits) == 1, (plant.__name__, sorted(new))
        new -= hits
    # The label of the image that is missing belongs to none, too. A class may have lost its only
    # object in a split by the faults.
    allowed = {"class without objects", "rare class", "label file without image"}
    assert {kind for kind, _ in new} <= allowed
    assert "(1 more in this file)" in next(
        str(one) for one in found.findings if "000000.txt" in str(one)
    )
    assert {kind for _, kind, _ in FAULTS} | {
        "rare class",
        "small boxes",
        "anchors that do not fit",
    } == set(LEVELS)
    capsys.readouterr()
    assert main(["data", "check", str(data), "--json", str(folder / "a.json")]) == 1
    text = capsys.readouterr().out
    told = json.loads((folder / "a.json").read_text())
    errors = sum(LEVELS[kind] == "error" for _, kind, _ in FAULTS)
    assert (told["errors"], told["warnings"]) == (errors, len(found.findings) - errors)
    assert text.count("error: ") == errors
    assert text.splitlines()[-1].endswith(f"; {errors} errors, {told['warnings']} warnings")


def test_many_findings_of_a_kind_are_shortened(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And warnings alone leave the status 0."""
    for number in range(25):
        label(data.parent, number).unlink()
    assert main(["data", "check", str(data)]) == 0
    text = capsys.readouterr().out
    assert text.count("warning: no label file: ") == 11
    assert "warning: no label file: ... and 15 more\n" in text
    assert main(["data", "check", str(data), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["findings"]) >= 25


def test_sizes_against_a_network(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes of 1 pixel, in a network of 64 x 64 with strides 8 and 4."""
    network = build_network(ROOT / "cfg/lesson.cfg")
    sizes = np.array([[1 / 64, 1 / 64]] * 3 + [[0.5, 0.5]])
    found = compare_sizes(network, sizes)
    assert [head.stride for head in found.heads] == [8, 4] and (found.width, found.height) == (
        64,
        64,
    )
    assert (found.num_small, found.num_poor, found.num_boxes) == (3, 3, 4)
    assert [finding.kind for finding in found.findings()] == [
        "small boxes",
        "anchors that do not fit",
    ]
    assert sum(head.boxes for head in found.heads) == 4
    assert compare_sizes(network, np.zeros((0, 2))).findings() == []
    assert main(["data", "check", str(data), "--cfg", str(ROOT / "cfg/lesson.cfg")]) == 0
    text = capsys.readouterr().out
    assert (
        "\nstride 8: anchors " in text and "\nat 64 x 64: mean IoU with the nearest anchor " in text
    )


def test_flat_images_are_not_similar(tmp_path: Path) -> None:
    """Without edges, every difference hash is 0; the grey level decides."""
    paths = [tmp_path / f"{level}.png" for level in (10, 12, 90)]
    for path in paths:
        cv2.imwrite(str(path), np.full((40, 40, 3), int(path.stem), np.uint8))
    looks, failed = look_at(paths)
    first, second, third = (looks[path] for path in paths)
    assert list(similar_pairs([first, third], [second])) == [(first, second)]
    assert list(similar_pairs([first], [third])) == [] and not failed


def test_a_data_file_without_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.data").write_text("classes=2\n")
    assert main(["data", "check", str(tmp_path / "a.data")]) == 2
    assert "a.data: names no list of images (train=, valid=, test=)" in capsys.readouterr().err


# ---- split, merge, stats -------------------------------------------------------------------------


def test_split_is_stratified_and_repeatable() -> None:
    """Each class keeps its share, the rare one too, and so do empty images."""
    random = np.random.default_rng(0)
    counts = random.poisson((3.0, 0.6, 0.05), (400, 3))
    counts[:80] = 0
    chosen = choose_stratified(counts, 0.2, seed=3)
    assert chosen.sum() == 80
    shares = counts[chosen].sum(0) / counts.sum(0)
    assert np.abs(shares - 0.2).max() < 0.04
    assert (counts[chosen].sum(1) == 0).sum() / (counts.sum(1) == 0).sum() == pytest.approx(
        0.2, abs=0.02
    )
    assert (choose_stratified(counts, 0.2, seed=3) == chosen).all()
    assert (choose_stratified(counts, 0.2, seed=4) != chosen).any()
    assert choose_stratified(np.ones((2, 1), int), 0.01, 0).sum() == 1
    assert choose_stratified(np.ones((2, 1), int), 0.99, 0).sum() == 1


def test_split(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No image is lost or in both lists; training finds images and labels."""
    words = ["data", "split", str(drawn), "--valid", ".25", "--output", str(tmp_path / "new")]
    assert main(words) == 0
    assert (
        capsys.readouterr().out
        == f"{tmp_path}/new/scenes.data: 30 training and 10 validation images\n"
    )
    data = DataFile.read(tmp_path / "new/scenes.data")
    train, valid = data.load("train"), data.load("valid")
    paths = [{one.path.resolve() for one in part} for part in (train, valid)]
    assert not paths[0] & paths[1] and len(paths[0] | paths[1]) == 40
    assert train.num_boxes + valid.num_boxes == len(count_data(drawn).boxes)
    assert train.num_unlabelled == valid.num_unlabelled == 0
    before = (tmp_path / "new/valid.txt").read_text()
    split_data(drawn, tmp_path / "new", valid=0.25)
    assert (tmp_path / "new/valid.txt").read_text() == before
    split_data(drawn, tmp_path / "new", valid=0.25, seed=1)
    assert (tmp_path / "new/valid.txt").read_text() != before
    made = split_data(drawn.with_name("train.txt"), tmp_path / "listed", valid=0.5)
    assert made.path == tmp_path / "listed/train.txt" and len(made.valid) == 15
    for share in (0, 1, float("nan")):
        with pytest.raises(InputError, match=r"valid=.*: expected a share above 0 and below 1"):
            split_data(drawn, tmp_path / "no", valid=share)
    (tmp_path / "one.txt").write_text(str(image(drawn.parent, 0)))
    with pytest.raises(DataError, match="has fewer than 2 images"):
        split_data(tmp_path / "one.txt", tmp_path / "no")


def test_merge(drawn: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Classes are joined by name, in another order too, and equal names of images are kept apart."""
    names = data.with_name("scenes.names")
    lines = names.read_text().split()
    names.write_text("\n".join(["comet", *lines[1:]]) + "\n")
    made = merge_data([drawn, data], tmp_path / "both", link="hard")
    assert made.dataset.names == (*(lines), "comet")
    counts = count_data(made.path)
    assert counts.images == {"train": 60, "valid": 20}
    single = {one.name: one.total for one in count_data(drawn).classes}
    both = {one.name: one.total for one in counts.classes}
    assert both["comet"] == single["circle"] == both["circle"]
    assert all(both[name] == 2 * single[name] for name in lines[1:])
    words = ["data", "merge", str(drawn), str(data), "--output", str(tmp_path / "both")]
    assert main(words) == 2
    assert "is not empty (--overwrite)" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--to", "voc"]) == 0
    assert "50 images renamed because of equal names" in capsys.readouterr().out


def test_stats(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, JSON and a picture with the same numbers."""
    pytest.importorskip("matplotlib")
    words = ["data", "stats", str(drawn), "--plot", str(tmp_path / "a.png")]
    assert main([*words, "--json", str(tmp_path / "a.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["images"] == COUNTS and len(told["classes"]) == 8
    objects = {split: sum(one["objects"][split] for one in told["classes"]) for split in COUNTS}
    assert lines[-2].split() == ["all", str(objects["train"]), "30", str(objects["valid"]), "10"]
    assert lines[-1].startswith(f"{drawn}: 40 images, 0 without objects; {sum(objects.values())} ")
    assert lines[1].split()[:3] == ["0", "circle", str(told["classes"][0]["objects"]["train"])]
    assert cv2.imread(str(tmp_path / "a.png")).shape == (960, 1440, 3)
    assert main(["data", "stats", str(drawn), "--plot", str(tmp_path / "a.doc")]) == 2
