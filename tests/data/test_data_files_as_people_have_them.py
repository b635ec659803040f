"""Data files as other programs and other systems write them: empty values, CVAT's folders, paths of
Windows, names in other encodings."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import read_image_list
from darknet_builder.errors import DataError, DataWarning

DATA = Path(__file__).parent


def make_cvat(folder: Path) -> DataFile:
    """An export of CVAT (YOLO 1.1), unpacked into any folder."""
    images = folder / "obj_train_data" / "shots"
    images.mkdir(parents=True)
    (images / "a b.jpg").write_bytes(b"")
    (images / "a b.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    (folder / "train.txt").write_text("data/obj_train_data/shots/a b.jpg\n")
    (folder / "obj.names").write_text("cat\ndog\n")
    (folder / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    return DataFile.read(folder / "obj.data")


@pytest.mark.parametrize("name", ["data", "task 7"])
def test_cvat(tmp_path: Path, name: str) -> None:
    """CVAT's paths begin with ``data/``, whatever folder its archive was unpacked into."""
    data = make_cvat(tmp_path / name)
    assert data.names == ("cat", "dog")
    images = data.load("train")
    assert images[0].path.samefile(tmp_path / name / "obj_train_data" / "shots" / "a b.jpg")
    assert images[0].boxes.tolist() == [[0.5, 0.5, 0.25, 0.25, 1]]


def test_images_are_looked_for_beside_the_list_above_it_and_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order, as the lists themselves are."""
    for folder in ("set/lists", "here"):
        (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / "set" / "lists" / "train.txt"
    path.write_text("a.jpg\n")
    monkeypatch.chdir(tmp_path / "here")
    places = [tmp_path / "set" / "lists", tmp_path / "set", Path()]
    for folder in reversed(places):
        (folder / "a.jpg").write_bytes(b"")
        assert read_image_list(path) == [folder / "a.jpg"]


def test_backslashes(tmp_path: Path) -> None:
    (tmp_path / "obj").mkdir()
    (tmp_path / "obj" / "a.jpg").write_bytes(b"")
    (tmp_path / "obj" / "a.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "train.txt").write_text("data\\obj\\a.jpg\r\nobj\\a.jpg\r\n")
    (tmp_path / "x.data").write_text("classes=1\ntrain = data\\train.txt\n")
    images = DataFile.read(tmp_path / "x.data").load("train")
    assert [image.path for image in images] == [tmp_path / "obj" / "a.jpg"] * 2
    assert images.num_boxes == 2


def test_a_path_of_a_windows_drive_has_its_cure(tmp_path: Path) -> None:
    cure = "; it is on a drive of a Windows machine; write paths relative to the file with them"
    (tmp_path / "train.txt").write_text("C:\\set\\a.jpg\n")
    (tmp_path / "x.data").write_text("classes=1\ntrain = D:/set/train.txt\n")
    with pytest.raises(DataError) as raised:
        read_image_list(tmp_path / "train.txt")
    assert str(raised.value).startswith(f"{tmp_path}/train.txt:1: C:\\set\\a.jpg: no such image; ")
    assert str(raised.value).endswith(cure)
    with pytest.raises(DataError) as raised:
        DataFile.read(tmp_path / "x.data").load("train")
    assert str(raised.value).endswith(cure)


# ---- keys without a value ------------------------------------------------------------------------


def test_a_key_without_a_value_is_left_out(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """As Darknet's read_option does; of a key that nothing needs, not a word."""
    path = tmp_path / "x.data"
    path.write_text("classes = 1\nbackup = \nvalid=\nnames=\nresults=\nvalid = a.txt\n")
    data = DataFile.read(path)
    assert data.options == {"classes": "1", "valid": "a.txt"}
    assert not recwarn.list
    with pytest.warns(DataWarning) as caught:
        assert data.classes == 1
    assert {str(warning.message) for warning in caught} == {
        f"{path}:4: names= has no value; write the value after the =, or remove the line"
    }


def test_a_needed_key_without_a_value(tmp_path: Path) -> None:
    path = tmp_path / "x.data"
    path.write_text("classes = 1\ntrain =\n")
    with pytest.raises(DataError) as raised:
        DataFile.read(path).load("train")
    assert (
        str(raised.value)
        == f"{path}:2: train= has no value; write the value after the =, or remove the line"
    )
