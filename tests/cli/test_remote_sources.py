"""``detect`` and ``evaluate`` on files in object stores and archives; memory stands for a store."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.sets.split import split_data
from darknet_builder.errors import DataError
from darknet_builder.images.files import write_image
from darknet_builder.prediction.batch_detector import BatchDetector
from tests.helpers.commands import answer
from tests.helpers.toy_command import Run, toy_command
from tests.helpers.toy_detector import BLUE, RED, squares, toy_files
from tests.helpers.web_server import serve

PREFIX = "darknet-builder: error: "
BUCKET = "memory://bucket/"


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """The command, in a folder with a data set that is also in a bucket and in two archives."""
    command = toy_command(capsys, monkeypatch, tmp_path, [[]])
    files = {"valid.txt": "images/a.png\nimages/b.png\n", "my.names": "red\nblue\n"}
    files["my.data"] = "classes = 2\nvalid = valid.txt\nnames = my.names\n"
    files |= {"labels/a.txt": "0 .125 .125 .25 .25\n", "labels/b.txt": "1 .875 .875 .25 .25\n"}
    Path("images").mkdir()
    Path("labels").mkdir()
    for name, text in files.items():
        Path(name).write_text(text)
    write_image("images/a.png", squares((RED, 0, 0), size=(160, 160)))
    write_image("images/b.png", squares((BLUE, 3, 3), size=(160, 160)))
    memory = fsspec.filesystem("memory")
    with zipfile.ZipFile("all.zip", "w") as packed, tarfile.open("all.tar", "w") as shard:
        for name in (*files, "images/a.png", "images/b.png"):
            packed.write(name)
            shard.add(name)
            memory.pipe_file(f"/bucket/{name}", Path(name).read_bytes())
    memory.pipe_file("/bucket/images/broken.png", b"not an image")
    memory.pipe_file("/bucket/empty/notes.txt", b"")
    yield command
    memory.rm("/", recursive=True)


def test_words(run: Run) -> None:
    """A file, a folder and a pattern; the pictures are named by the last part."""
    words = [f"{BUCKET}images/a.png", "zip://images/::all.zip", "tar://**/b.*::all.tar"]
    status, out, err = run(*words, "--save-json", "--save-txt")
    assert (status, err) == (0, [])
    assert out[:-1] == [
        "memory://bucket/images/a.png: 1 red",
        "zip://images/a.png::all.zip: 1 red",
        "zip://images/b.png::all.zip: 1 blue",
        "tar://images/b.png::all.tar: 1 blue",
    ]
    assert sorted(path.name for path in Path("output").glob("*.png")) == [
        "a-2.png", "a.png", "b-2.png", "b.png",
    ]  # fmt: skip


def test_a_list_in_a_bucket(run: Run) -> None:
    """With shards, paths and addresses; what is missing or broken is a counted image each."""
    Path("cut.tar").write_bytes(Path("all.tar").read_bytes()[:700])
    with serve() as site:
        site.files["/c.png?sig=secret"] = Path("images/a.png").read_bytes()
        lines = [
            "tar://images/*.png::all.tar", "tar://*.png::cut.tar", f"{BUCKET}none.png",
            f"{BUCKET}images/broken.png", "images/a.png", f"{site.url}/c.png?sig=secret",
            f"{site.url}/none.png?sig=secret",
        ]  # fmt: skip
        fsspec.filesystem("memory").pipe_file("/bucket/list.txt", "\n".join(lines).encode())
        status, out, err = run(f"@{BUCKET}list.txt", "--no-images", "--save-jsonl")
    assert status == 1
    assert [line.rpartition(": ")[2] for line in out[:-1]] == ["1 red", "1 blue", "1 red", "1 red"]
    assert err == [
        "skipped: tar://*.png::cut.tar: the archive cannot be read: empty header",
        "skipped: memory://bucket/none.png: No such file or directory",
        "skipped: memory://bucket/images/broken.png: not an image that OpenCV can read",
        f"skipped: {site.url}/none.png?sig=...: HTTP 404 Not Found",
    ]
    written = Path("output/detections.jsonl").read_text()
    assert "secret" not in written and f"{site.url}/c.png?sig=..." in written


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("memory://bucket/none.png", "memory://bucket/none.png: No such file or directory"),
        ("memory://bucket/empty/", "memory://bucket/empty/: no image there"),
        ("zip://*.gif::all.zip", "zip://*.gif::all.zip: no image there"),
        ("zip://a.png::none.zip", "zip://a.png::none.zip: No such file or directory"),
        ("@memory://bucket/none.txt", "memory://bucket/none.txt: No such file or directory"),
        ("s3://bucket/a.png", "s3: Install s3fs to access S3"),
        ("@s3://bucket/list.txt", "s3: Install s3fs to access S3"),
    ],
)
def test_words_that_name_nothing(run: Run, word: str, text: str) -> None:
    """One line, and nothing is processed."""
    assert run(word, "two.png") == (2, [], [PREFIX + text])


def test_evaluate(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The numbers of the same files on this machine; labels are found beside the images."""
    cfg, weights, _ = toy_files(tmp_path)
    model = ["--cfg", cfg, "--weights", weights, "--no-coco", "--quiet", "--json", "-"]
    documents = [
        json.loads(answer(capsys, "evaluate", "--data", data, *model))
        for data in ("my.data", f"{BUCKET}my.data", "zip://my.data::all.zip")
    ]
    assert documents[0]["darknet"]["mean_average_precision"] == pytest.approx(1)
    assert documents[0]["images_without_labels"] == 0
    for document in documents:
        del document["data"]
        assert document == documents[0]


def test_addresses_in_a_data_file(run: Run) -> None:
    """They are read by what reads images, and refused by what copies or compares files."""
    Path("far.txt").write_text(f"{BUCKET}images/a.png\nimages/b.png\n")
    Path("far.data").write_text(f"classes=2\nvalid=far.txt\nnames={BUCKET}my.names\n")
    images = DataFile.read("far.data").load("valid")
    assert [str(image.label_path) for image in images] == [
        f"{BUCKET}labels/a.txt", "labels/b.txt",
    ]  # fmt: skip
    assert DataFile.read("far.data").names == ("red", "blue") and images.num_boxes == 2
    with pytest.raises(DataError) as caught:
        split_data("far.txt", "new", valid=0.5)
    assert str(caught.value) == (
        f"far.txt:1: {BUCKET}images/a.png is an address; expected files of this machine here"
    )
    Path("far.data").write_text(f"classes=2\nvalid={BUCKET}none.txt\n")
    with pytest.raises(DataError, match="^memory://bucket/none.txt: No such file or directory$"):
        DataFile.read("far.data").load("valid")


def test_batch_detector(run: Run, tmp_path: Path) -> None:
    """Paths and addresses in one column."""
    paths = ["images/a.png", "zip://images/b.png::all.zip", f"{BUCKET}none.png"]
    found = BatchDetector(*toy_files(tmp_path))({"path": paths})
    assert found["class_name"].tolist() == [["red"], ["blue"], []]
    assert found["error"].tolist() == ["", "", "No such file or directory"]
