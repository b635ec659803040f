"""Darknet's data sets: .data files, lists, label files, where they are looked for, and every way
they can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import read_image_list
from darknet_builder.data.image_set import load_images
from darknet_builder.data.labels import find_labels, label_places, read_labels
from darknet_builder.errors import DataError, DataWarning


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set: three images, of which the last has no label file."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "abc":
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.25 0.1 0.2\n1 .1 .2 .3 .4\n")
    (tmp_path / "labels" / "b.txt").write_text("")
    (tmp_path / "my.names").write_text("cat\ndog\n")
    (tmp_path / "valid.txt").write_text("images/a.jpg\nimages/b.jpg\n\nimages/c.jpg\n")
    (tmp_path / "my.data").write_text(
        "# a comment\nclasses = 2\nvalid = valid.txt\n\nnames=my.names\n;another\n"
    )
    return tmp_path


def message(function: object, *arguments: object, **options: object) -> str:
    """What the DataError says."""
    with pytest.raises(DataError) as caught:
        function(*arguments, **options)  # type: ignore[operator]
    return str(caught.value)


# ---- .data files ---------------------------------------------------------------------------------


def test_data_file(folder: Path) -> None:
    data = DataFile.read(folder / "my.data")
    assert data.options == {"classes": "2", "valid": "valid.txt", "names": "my.names"}
    assert data.lines == {"classes": 2, "valid": 3, "names": 5}
    assert (data.classes, data.names, data.class_map) == (2, ("cat", "dog"), None)
    assert data.file("valid") == folder / "valid.txt"


def test_windows_line_ends_and_a_byte_order_mark(folder: Path) -> None:
    (folder / "my.data").write_bytes(
        b"\xef\xbb\xbfclasses=2\r\nvalid=valid.txt\r\nnames=my.names\r\n"
    )
    assert DataFile.read(folder / "my.data").classes == 2


def test_load(folder: Path) -> None:
    images = DataFile.read(folder / "my.data").load("valid")
    assert [image.path.name for image in images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [len(image.boxes) for image in images] == [2, 0, 0]
    assert images[0].boxes.dtype == np.float32
    assert np.array_equal(
        images[0].boxes, np.array([[0.5, 0.25, 0.1, 0.2, 0], [0.1, 0.2, 0.3, 0.4, 1]], np.float32)
    )
    assert (len(images), images.num_boxes, images.num_unlabelled, images.skipped_labels) == (
        3,
        2,
        1,
        0,
    )
    assert images[2].label_path is None and images[1].boxes.shape == (0, 5)
    assert [image.path.name for image in images[1:]] == ["b.jpg", "c.jpg"]
    assert len(DataFile.read(folder / "my.data").load("valid", limit=1)) == 1


def test_names_alone_say_how_many_classes(folder: Path) -> None:
    (folder / "my.data").write_text("names=my.names\nvalid=valid.txt\n")
    assert DataFile.read(folder / "my.data").classes == 2


def test_other_names(folder: Path) -> None:
    (folder / "other.names").write_text("one\ntwo\n")
    data = DataFile.read(folder / "my.data").having("names", str(folder / "other.names"))
    assert data.names == ("one", "two")
    (folder / "other.names").write_text("one\n")
    assert (
        message(lambda: data.classes)
        == f"{folder}/other.names: has 1 names, but {folder}/my.data:2 has classes=2"
    )
    gone = data.having("names", "gone.names")
    assert message(lambda: gone.names).startswith(
        f"{folder}/my.data: names=gone.names: no such file; looked for "
    )


@pytest.mark.parametrize(
    ("wrong", "key"), [("vaild", "valid"), ("name", "names"), ("difficlt", "difficult")]
)
def test_misspelt_keys(wrong: str, key: str, folder: Path) -> None:
    """Of what may be left out, a warning; of what is needed, the error itself says so."""
    path = folder / "my.data"
    path.write_text(f"classes=2\n{wrong}=valid.txt\nlist2=valid.txt\n")
    data = DataFile.read(path)
    assert (
        message(data.file, key)
        == f"{path}:2: {wrong}=valid.txt: unknown key; did you mean {key!r}?"
    )
    with pytest.warns(DataWarning) as caught:
        assert not data.has(key)
    assert [str(warning.message) for warning in caught] == [
        f"{path}:2: {wrong}=valid.txt: unknown key, which has no effect; did you mean {key!r}?"
    ]
    assert data.has("list2") and data.file("list2") == folder / "valid.txt"  # a list by any name
    assert not data.has("backup")  # none is like it
    path.write_text(f"{key}=valid.txt\n{wrong}=valid.txt\n")
    assert DataFile.read(path).has(key)  # both are there: the other one may be a list


def test_class_map(folder: Path) -> None:
    (folder / "my.map").write_text("7\n3\n")
    data = DataFile.read(folder / "my.data").having("map", "my.map")
    assert data.class_map == [7, 3]
    (folder / "my.map").write_text("7\nx\n")
    assert message(lambda: data.class_map) == f"{folder}/my.map:2: expected a class number, got 'x'"


def test_files_are_found_beside_it_above_it_and_in_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cfg").mkdir()
    data = DataFile(folder / "cfg" / "x.data", {"valid": "valid.txt", "train": "train.txt"})
    assert data.file("valid") == folder / "valid.txt"
    (folder / "cfg" / "valid.txt").write_text("")
    assert data.file("valid") == folder / "cfg" / "valid.txt"
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "train.txt").write_text("")
    monkeypatch.chdir(folder / "elsewhere")
    assert data.file("train") == Path("train.txt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; expected lines such as classes=3 and valid=test.txt"),
        ("# nothing\n", "is empty; expected lines such as classes=3 and valid=test.txt"),
        ("classes=2\nvalid\n", ":2: cannot parse 'valid'; expected key = value"),
        (
            "classes=\n",
            ":1: classes= has no value; write the value after the =, or remove the line",
        ),
        (
            "classes=2\nvalid=a\nclasses=3\n",
            ":3: classes is given twice; line 1 has classes=2; remove one of the two",
        ),
    ],
)
def test_data_files_that_cannot_be_parsed(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "x.data"
    path.write_text(text)
    assert (
        message(DataFile.read, path)
        == f"{path}{expected if expected.startswith(':') else f': {expected}'}"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valid=valid.txt\n", ": needs classes= or names=, which are missing"),
        ("classes=two\n", ":1: classes=two: expected a whole number of 1 or more"),
        ("classes=0\n", ":1: classes=0: expected a whole number of 1 or more"),
        (
            "valid=a\nclasses=3\nnames=my.names\n",
            ":2: classes=3: but {0}/my.names has 2 names; the two must agree",
        ),
    ],
)
def test_classes_and_names_that_disagree(folder: Path, text: str, expected: str) -> None:
    (folder / "x.data").write_text(text)
    assert message(
        lambda: DataFile.read(folder / "x.data").classes
    ) == f"{folder}/x.data" + expected.format(folder)


def test_missing_files_and_keys(folder: Path) -> None:
    data = DataFile.read(folder / "my.data")
    assert (
        message(data.file, "vaild")
        == f"{folder}/my.data: needs vaild=, which is missing; did you mean 'valid'? "
        "(it has classes, valid, names)"
    )
    (folder / "valid.txt").unlink()
    assert (
        message(data.file, "valid")
        == f"{folder}/my.data:3: valid=valid.txt: no such file; looked for {folder}/valid.txt and "
        f"{folder.parent}/valid.txt and valid.txt"
    )
    assert (
        message(DataFile.read, folder / "no.data") == f"{folder}/no.data: No such file or directory"
    )
    assert message(DataFile.read, folder) == f"{folder}: Is a directory; expected a .data file"
    (folder / "binary.data").write_bytes(b"\xff\xfe\x00\x01")
    assert (
        message(DataFile.read, folder / "binary.data")
        == f"{folder}/binary.data: is not UTF-8 text; expected a .data file"
    )


# ---- lists ---------------------------------------------------------------------------------------


def test_images_beside_the_list_in_the_working_directory_and_anywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "d.jpg").write_bytes(b"")
    (folder / "list.txt").write_text(f"images/a.jpg\r\n  d.jpg  \n{other}/d.jpg\n")
    monkeypatch.chdir(other)
    assert read_image_list(folder / "list.txt") == [
        folder / "images" / "a.jpg",
        Path("d.jpg"),
        other / "d.jpg",
    ]


def test_a_path_may_have_blanks_in_it(folder: Path) -> None:
    """Darknet cuts them out, and does not find the file."""
    (folder / "my image.jpg").write_bytes(b"")
    (folder / "list.txt").write_text("my image.jpg\n")
    assert read_image_list(folder / "list.txt") == [folder / "my image.jpg"]


def test_lists_with_missing_images(folder: Path) -> None:
    path = folder / "list.txt"
    path.write_text("images/a.jpg\n\nimages/x.jpg\n")
    place = (
        f"{path}:3: images/x.jpg: no such image; looked for {folder}/images/x.jpg and"
        f" {folder.parent}/images/x.jpg and images/x.jpg"
    )
    assert message(read_image_list, path) == place
    path.write_text("images/a.jpg\n\nimages/x.jpg\nimages/b.jpg\nimages/y.jpg\n")
    assert message(read_image_list, path) == f"{place}; 2 of its 4 images are missing"


def test_a_list_that_is_no_list(tmp_path: Path) -> None:
    """A line that no path can be is shortened, and is not quoted once more for each folder."""
    path = tmp_path / "valid.txt"
    path.write_text("a" * 5000)
    with pytest.raises(DataError) as error:
        read_image_list(path)
    assert str(error.value).startswith(f"{path}:1: {'a' * 77}...: no such image")
    assert len(str(error.value)) < len(str(path)) + 200


def test_lists_that_are_none(folder: Path) -> None:
    (folder / "list.txt").write_text("\n \n")
    assert (
        message(read_image_list, folder / "list.txt")
        == f"{folder}/list.txt: names no images; expected one path a line"
    )
    assert (
        message(read_image_list, folder / "no.txt") == f"{folder}/no.txt: No such file or directory"
    )


# ---- where labels are ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "places"),
    [
        ("images/a.jpg", ["labels/a.txt", "images/a.txt"]),
        ("data/images/train/a.b.png", ["data/labels/train/a.b.txt", "data/images/train/a.b.txt"]),
        (
            "/voc/VOC2007/JPEGImages/000001.jpg",
            ["/voc/VOC2007/labels/000001.txt", "/voc/VOC2007/JPEGImages/000001.txt"],
        ),
        (
            "/coco/images/val2014/x.jpg",
            ["/coco/labels/val2014/x.txt", "/coco/images/val2014/x.txt"],
        ),
        (
            "/images/set/images/a.jpg",
            ["/images/set/labels/a.txt", "/labels/set/images/a.txt", "/images/set/images/a.txt"],
        ),
        ("photos/a.jpg", ["photos/a.txt"]),
        ("images.jpg", ["images.txt"]),
    ],
)
def test_places_of_labels(image: str, places: list[str]) -> None:
    assert label_places(Path(image)) == [Path(place) for place in places]


def test_a_label_folder_goes_before_the_image_s_own(folder: Path) -> None:
    image = folder / "images" / "a.jpg"
    (folder / "images" / "a.txt").write_text("0 .5 .5 .1 .1\n")
    assert find_labels(image) == folder / "labels" / "a.txt"
    (folder / "labels" / "a.txt").unlink()
    assert find_labels(image) == folder / "images" / "a.txt"
    (folder / "images" / "a.txt").unlink()
    assert find_labels(image) is None


def test_a_list_without_any_labels(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        path.unlink()
    assert (
        message(load_images, folder / "valid.txt", 2)
        == f"{folder}/valid.txt: none of its 3 images has a label file; for the first image,"
        " looked for "
        f"{folder}/labels/a.txt and {folder}/images/a.txt"
    )


# ---- what labels say -----------------------------------------------------------------------------


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("2\t0.5 0.5  1 1\r\n\n0 0 1 1e-3 .25\n")
    boxes, skipped = read_labels(path, 3)
    assert np.array_equal(
        boxes, np.array([[0.5, 0.5, 1, 1, 2], [0, 1, 0.001, 0.25, 0]], np.float32)
    )
    assert skipped == 0


BAD_LABELS = [
    ("0 .5 .5 .1", "expected 5 numbers, class x y width height, got 4"),
    ("0 .5 .5 .1 .1 .9", "expected 5 numbers, class x y width height, got 6"),
    ("0 .5 .5 .1 x", "expected 5 numbers, class x y width height"),
    ("cat .5 .5 .1 .1", "class cat: expected a whole number, 0 or more"),
    ("-1 .5 .5 .1 .1", "class -1: expected a whole number, 0 or more"),
    ("1.0 .5 .5 .1 .1", "class 1.0: expected a whole number, 0 or more"),
    ("3 .5 .5 .1 .1", "class 3: there are 3 classes, 0 to 2"),
    (
        "0 .5 -0.1 .1 .1",
        "y -0.1, height .1: the box lies outside the image; expected 0 to 1, relative to the image",
    ),
    ("0 .5 .5 0 .1", "width 0: expected more than 0 and at most 1, relative to the image"),
    ("0 .5 .5 .1 -.2", "height -.2: expected more than 0 and at most 1, relative to the image"),
    (
        "0 320 240 64 48",
        "x 320, width 64: the box lies outside the image; expected 0 to 1, relative to the image",
    ),
    ("0 nan .5 .1 .1", "x nan: expected 0 to 1, relative to the image"),
    ("0 .5 .5 inf .1", "width inf: expected more than 0 and at most 1, relative to the image"),
]


@pytest.mark.parametrize(("line", "expected"), BAD_LABELS)
def test_bad_labels(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"0 .5 .5 .1 .1\n\n{line}\n1 .5 .5 .1 .1\n")
    assert message(read_labels, path, 3) == f"{path}:3: {line!r}: {expected}"
    boxes, skipped = read_labels(path, 3, skip_bad=True)
    assert (boxes[:, 4].tolist(), skipped) == ([0, 1], 1)


def test_bad_labels_are_counted_over_all_files(folder: Path) -> None:
    for name in "ab":
        (folder / "labels" / f"{name}.txt").write_text("0 .5 .5 .1 .1\n9 .5 .5 .1 .1\n0 .5 .5 .1\n")
    images = load_images(folder / "valid.txt", 2, skip_bad_labels=True)
    assert (images.skipped_labels, images.num_boxes) == (4, 2)
    assert message(load_images, folder / "valid.txt", 2).startswith(
        f"{folder}/labels/a.txt:2: '9 .5 .5 .1 .1': "
    )


def test_a_label_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\r\n")
    assert (
        message(read_labels, tmp_path / "a.txt", 1)
        == f"{tmp_path}/a.txt: is not UTF-8 text; expected a label file"
    )


# ---- a real one ----------------------------------------------------------------------------------


def test_bccd(shared: Path) -> None:
    """364 micrographs, 292 and 72 of them."""
    data = DataFile.read(shared / "datasets" / "bccd" / "bccd.data")
    assert (data.classes, data.names) == (3, ("RBC", "WBC", "Platelets"))
    train, valid = data.load("train"), data.load("valid")
    assert (len(train), len(valid)) == (292, 72)
    assert train.num_unlabelled == valid.num_unlabelled == 0
    files = (shared / "datasets" / "bccd" / "labels").glob("*.txt")
    assert train.num_boxes + valid.num_boxes == sum(
        len(file.read_text().splitlines()) for file in files
    )
