"""``data convert``: files that other libraries wrote, each format there and back, and everything
that is changed or left out is counted."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from darknet_builder.cli.program import main
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.formats.convert import convert_dataset, tidy
from darknet_builder.data.formats.finding import open_dataset
from darknet_builder.data.formats.kinds import FORMATS
from darknet_builder.data.formats.notes import EMPTY, GROUP, POLYGON
from darknet_builder.data.formats.records import AnnotatedSet, split_name
from darknet_builder.data.image_set import load_images
from darknet_builder.errors import DarknetError, DataError, InputError

RECORDED = Path(__file__).parent / "formats"
TRUTH: dict[str, Any] = json.loads((RECORDED / "truth.json").read_text())
NAMES = {3: "cat", 7: "red car"}

Row = tuple[str, tuple[float, ...]]


def boxes_of(dataset: AnnotatedSet) -> dict[str, dict[str, list[Row]]]:
    """Split -> name of the image -> sorted (class name, box in pixels), crowds left out."""
    return {
        split: {
            image.name: sorted(
                (dataset.names[one.class_id], tuple(round(value, 2) for value in one.box))
                for one in image.objects
                if not one.is_crowd
            )
            for image in images
        }
        for split, images in dataset.splits.items()
    }


def truth() -> dict[str, dict[str, list[Row]]]:
    """What every recorded folder means."""
    found: dict[str, dict[str, list[Row]]] = {}
    for split, images in TRUTH["images"].items():
        for name, _, _ in images:
            rows = [
                (NAMES[class_id], (float(x), float(y), float(x + w), float(y + h)))
                for class_id, (x, y, w, h) in TRUTH["objects"].get(name, [])
            ]
            found.setdefault(split_name(split), {})[name] = sorted(rows)
    return found


def draw_images(folder: Path, place: str = "{split}/{name}") -> None:
    """Put the images, which are not recorded, into a copy of a recorded folder."""
    for split, images in TRUTH["images"].items():
        for name, width, height in images:
            path = folder / place.format(split=split, name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((height, width, 3), 99, np.uint8))


def recorded(tmp_path: Path, name: str, place: str) -> Path:
    """A copy of a recorded folder, with its images."""
    folder = tmp_path / "recorded"
    shutil.copytree(RECORDED / name, folder)
    draw_images(folder, place)
    if name == "globox/labels":  # it writes no more than the labels
        (folder / "labels").mkdir()
        for split in ("train", "val"):
            shutil.move(folder / split, folder / "labels" / split)
    if name in ("globox/labels", "supervision/yolo"):  # its data.yaml has the names alone
        text = "train: images/train\nval: images/val\nnames: [cat, red car]\n"
        (folder / "data.yaml").write_text(text)
    return folder


WRITTEN = [
    ("pycocotools", "images/{split}/{name}", 0),
    ("supervision/coco", "images/{name}", 0),
    ("globox/coco", "{name}", 0),
    ("datumaro/coco_instances", "images/{split}/{name}", 0),
    ("supervision/voc", "{split}/{name}", 1),
    ("globox/voc", "{split}/{name}", 0),
    ("datumaro/voc_detection", "JPEGImages/{name}", 0),
    ("datumaro/cvat", "images/{name}", 0),
    ("supervision/yolo", "images/{split}/{name}", 0),
    ("globox/labels", "images/{split}/{name}", 0),
    ("datumaro/yolo", "obj_{split}_data/{name}", 0),
    ("datumaro/yolo_ultralytics", "images/{split}/{name}", 0),
]


@pytest.mark.parametrize(("name", "place", "first_pixel"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_files_of_other_libraries(tmp_path: Path, name: str, place: str, first_pixel: int) -> None:
    """Equal boxes, classes and images, also the one without objects."""
    folder = recorded(tmp_path, name, place)
    found = open_dataset(folder, first_pixel=first_pixel)
    assert boxes_of(found) == truth()
    assert not found.notes.has_losses


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_there_and_back(tmp_path: Path, first: str, second: str) -> None:
    """The files of pycocotools, through two formats, with equal boxes and equal image files."""
    folder = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    one = convert_dataset(folder, tmp_path / "one", first)
    two = convert_dataset(one.path, tmp_path / "two", second)
    found = open_dataset(two.path)
    assert boxes_of(found) == truth()
    assert found.names[:2] == ("cat", "red car")
    kept = {first, second} == {"coco"}
    for images in found.splits.values():
        for image in images:
            original = next((folder / "images").rglob(image.name))
            assert image.path.read_bytes() == original.read_bytes()
            assert sum(one.is_crowd for one in image.objects) == (kept and image.name == "a.jpg")
    outlines = [one.outline for one in found.splits["train"][0].objects if one.outline]
    assert len(outlines) == 2 * kept


def test_darknet_reads_it(tmp_path: Path) -> None:
    """As training does: lists, labels and names."""
    folder = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    made = convert_dataset(folder, tmp_path / "made", "darknet")
    data = DataFile.read(made.path)
    assert data.names == ("cat", "red car", "unused") and data.classes == 3
    images = load_images(data.file("train"), 3)
    assert (len(images), images.num_boxes, images.num_unlabelled) == (3, 3, 0)
    assert len(data.load("valid")) == 1


def test_other_libraries_read_it(tmp_path: Path) -> None:
    """supervision finds the same boxes in each format that it knows."""
    supervision = pytest.importorskip("supervision")
    folder = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    for name in ("coco", "voc", "ultralytics"):
        convert_dataset(folder, tmp_path / name, name, classes=["red car", "cat"])
    read = supervision.DetectionDataset
    coco = read.from_coco(
        str(tmp_path / "coco/images/train"), str(tmp_path / "coco/annotations/instances_train.json")
    )
    yolo = read.from_yolo(
        str(tmp_path / "ultralytics/images/train"),
        str(tmp_path / "ultralytics/labels/train"),
        str(tmp_path / "ultralytics/data.yaml"),
    )
    for made in (coco, yolo):
        assert made.classes == ["red car", "cat"] and len(made) == 3
        for path, _, boxes in made:
            crowds = boxes.data.get("iscrowd", np.zeros(len(boxes)))
            rows = [
                (made.classes[number], tuple(round(float(value), 2) for value in box))
                for box, number, is_crowd in zip(boxes.xyxy, boxes.class_id, crowds, strict=True)
                if not is_crowd
            ]
            assert sorted(rows) == truth()["train"][Path(path).name]


# ---- what is counted -----------------------------------------------------------------------------


def notes_of(dataset: AnnotatedSet) -> set[str]:
    return {note.text(count) for note, count in dataset.notes.counts.items()}


def one_image(folder: Path, name: str = "a.jpg", size: tuple[int, int] = (100, 50)) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 99, np.uint8))
    return path


def coco(folder: Path, rows: list[dict[str, Any]], **image: Any) -> Path:
    """A COCO document of one image of 100 x 50 pixels, with two categories with odd ids."""
    path = folder / "instances_train.json"
    images = [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50} | image]
    annotations = [{"id": index, "image_id": 7} | row for index, row in enumerate(rows)]
    categories = [
        {"id": 90, "name": "dog", "supercategory": "pets"},
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 12, "name": "cat", "supercategory": "pets"},
    ]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


COUNTED = [
    ({"category_id": 12, "bbox": [1, 2, 3, 4], "iscrowd": 1}, "1 crowd left out", False),
    (
        {"category_id": 12, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]]},
        "1 polygon taken as its box",
        False,
    ),
    (
        {"category_id": 12, "bbox": [1, 2, 3, 4], "segmentation": {"counts": "x", "size": [1, 1]}},
        "1 mask taken as its box",
        False,
    ),
    (
        {"category_id": 12, "bbox": [10, 10, 20, 10], "attributes": {"rotation": 90.0}},
        "1 rotated box enclosed",
        False,
    ),
    ({"category_id": 12, "bbox": [-5, 2, 30, 4]}, "1 box clipped at the edge of the image", False),
    ({"category_id": 12, "bbox": [200, 2, 30, 4]}, "1 box outside the image left out", True),
    ({"category_id": 12, "bbox": [1, 2, 0, 4]}, "1 box without area left out", True),
    (
        {"category_id": 12, "bbox": [1, 2, float("nan"), 4]},
        "1 box without area left out",
        True,
    ),
    ({"category_id": 12}, "1 object without a box left out", True),
    ({"category_id": 5, "bbox": [1, 2, 3, 4]}, "1 object of an unknown class left out", True),
]


@pytest.mark.parametrize(("row", "text", "is_loss"), COUNTED, ids=[row[1] for row in COUNTED])
def test_what_coco_has_is_counted(
    tmp_path: Path,
    row: dict[str, Any],
    text: str,
    is_loss: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the exit status tells whether the source is wrong."""
    one_image(tmp_path)
    source = coco(tmp_path, [{"category_id": 90, "bbox": [1, 1, 9, 9]}, row])
    status = main(["data", "convert", str(source), str(tmp_path / "new"), "--to", "darknet"])
    lines = capsys.readouterr().out.splitlines()
    assert status == is_loss
    assert text in lines[1] and "1 category that only names a group left out" in lines[1]
    assert lines[0].startswith(f"{tmp_path}/new/new.data: 1 image (1 train), ")
    assert len(lines) == 2 + is_loss


def test_rotated_boxes_are_enclosed(tmp_path: Path) -> None:
    """CVAT's rotation is about the centre; Ultralytics' labels have the corners."""
    one_image(tmp_path / "coco")
    row = {"category_id": 12, "bbox": [10, 10, 20, 10], "attributes": {"rotation": 90.0}}
    found = open_dataset(coco(tmp_path / "coco", [row]))
    assert found.splits["train"][0].objects[0].box == pytest.approx((15, 5, 25, 25))
    one_image(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    # A square on its corner around the centre: 20 pixels from the centre to each corner.
    (tmp_path / "labels/a.txt").write_text("1 .5 .1 .7 .5 .5 .9 .3 .5\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: {0: a, 1: b}\n")
    found = open_dataset(tmp_path / "data.yaml")
    assert found.splits["train"][0].objects[0].box == pytest.approx((30, 5, 70, 45))
    assert notes_of(found) == {"1 rotated box enclosed"}


def test_an_outline_in_a_label_file_keeps_its_corners(tmp_path: Path) -> None:
    """Written to COCO, as polygon in pixels and with its area."""
    one_image(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("5 .1 .2 .3 .2 .3 .6\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: {2: a, 5: b}\n")
    made = convert_dataset(tmp_path / "data.yaml", tmp_path / "new", "coco")
    row = json.loads((made.path / "instances_train.json").read_text())["annotations"][0]
    assert row["segmentation"] == [[pytest.approx(v) for v in (10, 10, 30, 10, 30, 30)]]
    assert row["area"] == pytest.approx(200) and row["bbox"] == pytest.approx([10, 10, 20, 20])
    assert row["category_id"] == 2 and made.dataset.names == ("a", "b")
    assert notes_of(made.dataset) == set()


def test_bad_label_lines_are_counted(tmp_path: Path) -> None:
    one_image(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    lines = ["0 .5 .5 .1 .1", "0 .5 .5", "0 x .5 .1 .1", "9 .5 .5 .1 .1", "-1 .5 .5 .1 .1"]
    (tmp_path / "labels/a.txt").write_text("\n".join(lines))
    (tmp_path / "a.data").write_text("classes=2\ntrain=train.txt\n")
    (tmp_path / "train.txt").write_text("images/a.jpg\nimages/none.jpg\nimages/a.jpg\n")
    found = open_dataset(tmp_path / "a.data")
    assert notes_of(found) == {
        "3 label lines that cannot be read left out",
        "1 object of an unknown class left out",
        "1 image not found left out",
        "1 image listed again taken once",
    }
    assert found.names == ("class 0", "class 1") and found.num_objects == 1
    assert [place for note, place in found.notes.first.items() if note.one == "label line"] == [
        f"{tmp_path}/labels/a.txt:2"
    ]


def test_voc_as_annotation_programs_write_it(tmp_path: Path) -> None:
    """roLabelImg's rotated boxes, Roboflow's polygons, difficult objects, another size."""
    one_image(tmp_path)
    (tmp_path / "a.xml").write_text("""<annotation><filename>a.jpg</filename>
      <size><width>200</width><height>100</height></size>
      <object><name>cat</name><robndbox><cx>100</cx><cy>50</cy><w>40</w><h>20</h>
        <angle>1.5707963</angle></robndbox></object>
      <object><name> red  car </name><difficult>1</difficult><polygon><x1>1</x1></polygon>
        <bndbox><xmin>2</xmin><ymin>4</ymin><xmax>22</xmax><ymax>24</ymax></bndbox></object>
      <object><name>cat</name></object></annotation>""")
    found = open_dataset(tmp_path)
    assert boxes_of(found) == {
        "train": {"a.jpg": [("cat", (45, 15, 55, 35)), ("red car", (1, 2, 11, 12))]}
    }
    assert notes_of(tidy(found, "darknet")) == {
        "1 rotated box enclosed",
        "1 polygon taken as its box",
        "1 difficult object kept as ordinary",
        "1 object without a box left out",
        "1 image of another size than annotated, boxes scaled",
    }


@pytest.mark.parametrize("above", ["", "images", "data/cards"])
@pytest.mark.parametrize("splits", [("train", "test"), ("test",)])
def test_voc_of_a_repository(tmp_path: Path, above: str, splits: tuple[str, ...]) -> None:
    """Lists as folders below other folders, beside YAML files of other programs."""
    (tmp_path / "environment.yml").write_text("name: x\nchannels: !!python/tuple\n- a\n")
    (tmp_path / "mkdocs.yml").write_text("nav:\n  names: here\n")
    for split in splits:
        one_image(tmp_path / above / split, f"{split}.jpg")
        (tmp_path / above / split / f"{split}.xml").write_text(
            "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
            "<xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>"
        )
    assert boxes_of(open_dataset(tmp_path)) == {
        split: {f"{split}.jpg": [("cat", (1, 2, 3, 4))]} for split in splits
    }


def test_a_folder_with_a_wrong_yaml_file_alone(tmp_path: Path) -> None:
    """It is named, as it may be a spoilt data.yaml."""
    (tmp_path / "data.yaml").write_text("train: images\n")
    with pytest.raises(DataError, match="data.yaml: names: expected a list"):
        open_dataset(tmp_path)


def test_shapes_of_cvat(tmp_path: Path) -> None:
    """Rotated boxes, polygons, subsets, and shapes that are left out."""
    one_image(tmp_path / "images/train")
    one_image(tmp_path / "images/val", "b.jpg")
    (tmp_path / "annotations.xml").write_text("""<annotations><meta><job><labels>
      <label><name>dog</name></label></labels></job></meta>
      <image id="0" name="a.jpg" subset="train" width="100" height="50"><tag label="x"/>
        <box label="cat" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.0"/>
        <polygon label="cat" points="1,2;5,2;5,8"/><polyline label="cat" points="1,2;5,2"/>
        <polygon label="cat" points="1,2;x"/></image>
      <image id="1" name="b.jpg" subset="val" width="100" height="50"/></annotations>""")
    for source in (tmp_path, tmp_path / "annotations.xml"):
        found = open_dataset(source)
        boxes = [("cat", (1, 2, 5, 8)), ("cat", (15, 5, 25, 25))]
        assert boxes_of(found) == {"train": {"a.jpg": boxes}, "valid": {"b.jpg": []}}
        assert found.names == ("dog", "cat")
        assert notes_of(found) == {
            "1 rotated box enclosed",
            "1 shape other than boxes and polygons left out",
            "1 object without a box left out",
        }


def test_roboflow_and_label_studio_folders(tmp_path: Path) -> None:
    """Roboflow's paths lead out of its folder; Label Studio's export has no lists."""
    for split in ("train", "valid"):
        one_image(tmp_path / "robo" / split / "images", f"{split}.jpg")
        (tmp_path / "robo" / split / "labels").mkdir()
        (tmp_path / "robo" / split / "labels" / f"{split}.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "robo/data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: []\nnc: 1\nnames: ['a']\n"
    )
    found = open_dataset(tmp_path / "robo")
    assert {split: len(images) for split, images in found.splits.items()} == {
        "train": 1,
        "valid": 1,
    }
    one_image(tmp_path / "studio/images", "0a1b-x.jpg")
    (tmp_path / "studio/labels").mkdir()
    (tmp_path / "studio/labels/0a1b-x.txt").write_text("1 .5 .5 .5 .5\n")
    (tmp_path / "studio/classes.txt").write_text("cat\ndog\n")
    (tmp_path / "studio/notes.json").write_text('{"categories": [], "info": {}}')
    found = open_dataset(tmp_path / "studio")
    assert boxes_of(found) == {"train": {"0a1b-x.jpg": [("dog", (25, 12.5, 75, 37.5))]}}
    robo = tmp_path / "robo-coco"
    for split in ("train", "test"):
        one_image(robo / split)
        coco(robo / split, [{"category_id": 90, "bbox": [1, 1, 2, 2]}]).rename(
            robo / split / "_annotations.coco.json"
        )
    assert set(open_dataset(robo).splits) == {"train", "test"}


# ---- images --------------------------------------------------------------------------------------


def test_equal_names_in_several_folders(tmp_path: Path) -> None:
    """No image and no label replaces another one, and no name leads out of the folder."""
    folder = tmp_path / "in"
    for name in ("x/a.jpg", "y/a.jpg", "y/a.png", "images/b.jpg"):
        one_image(folder, name)
    one_image(tmp_path, "c.jpg")
    names = ["x/a.jpg", "y/a.jpg", "y/a.png", "images/b.jpg", "../c.jpg"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [n, 1, 9, 9]} for n in range(5)]
    categories = [{"id": 1, "name": "a"}]
    (folder / "all.json").write_text(
        json.dumps({"images": images, "annotations": rows, "categories": categories})
    )
    for to in FORMATS:
        made = convert_dataset(folder / "all.json", tmp_path / to, to)
        found = open_dataset(made.path).splits["train"]
        assert sorted(image.objects[0].box[0] for image in found) == pytest.approx(range(5))
        assert sorted(image.name for image in found) == [
            "b.jpg", "c.jpg", "x/a.jpg", "y/a-2.png", "y/a.jpg",
        ]  # fmt: skip
        assert notes_of(made.dataset) == {"1 image renamed because of equal names"}


@pytest.mark.parametrize("link", ["hard", "symbolic", None])
def test_links(tmp_path: Path, link: str | None) -> None:
    source = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    made = convert_dataset(source, tmp_path / "new", "darknet", link=link)
    image = made.path.parent / "images/train/a.jpg"
    original = source / "images/train/a.jpg"
    assert image.read_bytes() == original.read_bytes()
    assert image.is_symlink() == (link == "symbolic")
    assert os.path.samefile(image, original) == (link is not None)


def test_classes_are_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order that is given; objects of others are counted."""
    source = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    words = ["data", "convert", str(source), str(tmp_path / "new"), "--to", "voc"]
    assert main([*words, "--classes", "red car,cat", "--json", str(tmp_path / "a.json")]) == 0
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["classes"] == ["red car", "cat"] and told["images"] == {"train": 3, "valid": 1}
    only = convert_dataset(source, tmp_path / "only", "darknet", classes=["red car"])
    assert "2 objects of other classes left out" in only.dataset.notes.text()
    assert (tmp_path / "only/labels/valid/c.txt").read_text().startswith("0 ")
    capsys.readouterr()
    words[3] = str(tmp_path / "wrong")
    assert main([*words, "--classes", "red kar"]) == 2
    assert "did you mean 'red car'?" in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()


# ---- what is refused -----------------------------------------------------------------------------


def test_a_full_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless that is wanted, and never one with the source in it."""
    source = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    target = tmp_path / "new"
    target.mkdir()
    (target / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=f"^{target}: is not empty"):
        convert_dataset(source, target, "coco")
    assert (target / "mine.txt").is_file()
    convert_dataset(source, target, "coco", overwrite=True)
    assert not (target / "mine.txt").exists() and (target / "annotations").is_dir()
    for folder in (source, tmp_path):
        with pytest.raises(InputError, match="cannot be replaced"):
            convert_dataset(source, folder, "coco", overwrite=True)
    monkeypatch.chdir(target)
    with pytest.raises(InputError, match="cannot be replaced"):
        convert_dataset(source, ".", "darknet", overwrite=True)
    # Links into the folder that is to be replaced.
    linked = convert_dataset(target, tmp_path / "linked", "darknet", link="symbolic")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot be replaced"):
        convert_dataset(linked.path, target, "coco", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["linked", "new", "recorded"]


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half a data set, nor a lost old one."""
    source = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    old = tmp_path / "old"
    convert_dataset(source, old, "voc")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(DataError, match="cannot be copied to .*: No space left on device$"):
        convert_dataset(source, old, "coco", overwrite=True)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_the_old_folder_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last step fails, which gives the new folder its name."""
    source = recorded(tmp_path, "pycocotools", "images/{split}/{name}")
    old = tmp_path / "old"
    convert_dataset(source, old, "voc")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DataError, match=f"^{old}: cannot be written: Input/output error$"):
        convert_dataset(source, old, "coco", overwrite=True)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


REFUSED = {
    "a.json": ("[1]", "is not a COCO document; expected images, annotations and categories"),
    "b.json": ("{", "is not JSON: "),
    "a.yaml": ("- 1", "is not a data.yaml; expected names, train and val"),
    "b.yaml": ("names: 3", "names: expected a list, or a mapping from numbers to names"),
    "c.yaml": ("a: [", "is not YAML: "),
    "d.yaml": ("names: [a]\ntrain: none\n", "train: no such list or folder: none"),
    "a.txt": ("x", "is not a data set that is known here; expected a .data file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_set(tmp_path: Path, name: str) -> None:
    text, message = REFUSED[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(DarknetError, match="^" + str(tmp_path / name)) as caught:
        open_dataset(tmp_path / name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]><annotation/>',
        "<annotation",
        "<html/>",
        '<?xml version="1.0" encoding="none"?><annotation/>',
    ],
)
def test_xml_that_is_not_voc(tmp_path: Path, text: str) -> None:
    """Entities are not expanded: they could take any amount of memory."""
    one_image(tmp_path)
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match="a.xml: "):
        open_dataset(tmp_path)


_SPOILT = (
    b'"x"',
    b"[]",
    b"{}",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"\xff",
    b"\0",
    b"../",
    b"<",
    b"",
)


@pytest.mark.parametrize("number", range(len(WRITTEN)), ids=[row[0] for row in WRITTEN])
def test_spoilt_files(tmp_path: Path, number: int) -> None:
    """A few words replaced at random: an error in one line, or a data set that can be read."""
    name, place, _ = WRITTEN[number]
    folder = recorded(tmp_path, name, place)
    texts = [
        path for path in folder.rglob("*") if path.suffix in (".xml", ".json", ".txt", ".yaml")
    ]
    random = np.random.default_rng(number)
    refused = 0
    for _ in range(8):
        path = texts[random.integers(len(texts))]
        before = path.read_bytes()
        words = list(re.finditer(rb'"[^"]*"|-?[\d.]+|\w+', before))
        after = before
        for word in words and [words[random.integers(len(words))]]:
            spoilt = _SPOILT[random.integers(len(_SPOILT))]
            after = before[: word.start()] + spoilt + before[word.end() :]
        path.write_bytes(after)
        try:
            made = convert_dataset(folder, tmp_path / "new", "coco", overwrite=True)
            assert len(open_dataset(made.path)) == len(made.dataset)
        except DarknetError as error:
            refused += 1
            assert "\n" not in str(error)
        path.write_bytes(before)
    assert refused < 8


def test_a_set_without_images(tmp_path: Path) -> None:
    """The count, and where to look."""
    with pytest.raises(DataError) as caught:
        open_dataset(coco(tmp_path, [{"category_id": 90, "bbox": [1, 1, 2, 2]}]))
    assert "has no images that can be read" in str(caught.value)
    assert "1 image not found left out" in str(caught.value) and "a.jpg" in str(caught.value)


def test_notes_in_the_plural() -> None:
    assert (POLYGON.text(1), POLYGON.text(12)) == (
        "1 polygon taken as its box",
        "12 polygons taken as their boxes",
    )
    assert GROUP.text(2) == "2 categories that only name a group left out"
    assert EMPTY.text(2) == "2 images without objects kept"
