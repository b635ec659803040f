"""``data check --report``: the contents of the page, and its behaviour in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.cli.program import main
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.scenes import write_scenes
from darknet_builder.data.sets.check import DataCheck, check_data
from darknet_builder.errors import InputError
from darknet_builder.pages.dataset_page import dataset_page, save_dataset_page
from tests.helpers.browser import OpenPage, browsers, complaints, outside_references

BOXES = {
    "train": ["0 .5 .5 .5 .5\n1 .5 .5 .2 .2\n", "1 .25 .5 .5 1\n", ""],
    "valid": ["2 .5 .5 .2 .2\n"],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> DataCheck:
    """Four scenes with our own labels, one class with a name for HTML, and four faults."""
    folder = tmp_path_factory.mktemp("set")
    data = write_scenes(folder, {"train": 4, "valid": 1}, size=64)
    for split, texts in BOXES.items():
        for number, text in enumerate(texts):
            (folder / f"labels/{split}/{number:06d}.txt").write_text(text)
    (folder / "labels/train/000003.txt").write_text("0 .5 .5 .1\n")
    (folder / "images/train/000003.jpg").write_bytes(b"no image")
    shutil.copy(folder / "images/train/000001.jpg", folder / "images/valid/000000.jpg")
    (folder / "labels/train/000007.txt").write_text("")
    (folder / "scenes.names").write_text("cat\ndog\n<b>cow\n" + "x\n" * 5)
    return check_data(data)


def test_the_page_loads_nothing(found: DataCheck) -> None:
    page = dataset_page(found)
    assert outside_references(page) == [] and "{{" not in page and "<b>cow" not in page
    assert page.count("<figure") == 5 and page.count("<img") == 4
    assert page.count('<g class="box') == 4 and "&lt;b&gt;cow" in page


def test_odd_pictures_come_first(found: DataCheck) -> None:
    """The rest is taken from the lists at equal distances; findings of others are not lost."""
    names = re.findall(r'<figcaption><b title="[^"]*/(\w+/\d+)\.jpg">', dataset_page(found))
    assert names == [
        "train/000003",
        "valid/000000",
        "train/000000",
        "train/000001",
        "train/000002",
    ]
    page = dataset_page(found, most_pictures=1)
    assert page.count("<figure") == 1 and "has the pixels of" in page.partition("<main>")[0]
    assert dataset_page(found, most_pictures=0).count("<figure") == 0


def test_command(found: DataCheck, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    words = ["data", "check", str(found.path), "--report"]
    assert main([*words, str(page), "--pictures", "2"]) == 1
    assert page.read_text().count("<figure") == 2
    capsys.readouterr()
    assert main([*words, str(tmp_path / "no/page.html")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([*words, str(page), "--pictures", "-1"]) == 2
    assert "--pictures -1: expected 0 or more" in capsys.readouterr().err
    with pytest.raises(InputError, match="cannot be written"):
        save_dataset_page(found, tmp_path / "no/page.html")


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenPage]:
    with browsers(tmp_path_factory.mktemp("browser")) as function:
        yield function


@pytest.fixture
def page(open_page: OpenPage, found: DataCheck, tmp_path: Path) -> Iterator[Any]:
    """Open the page in a browser; its script must not have failed at the end."""
    save_dataset_page(found, tmp_path / "page.html")
    browser = open_page(tmp_path / "page.html")
    yield browser
    assert complaints(browser) == []


def visible(browser: Any, selector: str) -> int:
    """Count the elements that the browser shows."""
    return int(
        browser.execute_script(
            f"return [...document.querySelectorAll('{selector}')]"
            ".filter((one) => one.getClientRects().length).length"
        )
    )


def click(browser: Any, selector: str) -> None:
    browser.find_element("css selector", selector).click()


def test_filters(page: Any) -> None:
    """By class, by what is odd, by list, and pictures without objects."""
    totals = page.find_element("id", "totals")
    assert totals.text == "4 objects in 5 pictures; 5 of 5 pictures are on this page"
    assert (visible(page, "figure"), visible(page, ".edge")) == (5, 4)
    click(page, "#classes .chip[data-class='1']")
    assert (visible(page, "figure"), visible(page, ".edge")) == (5, 2)
    click(page, "#empty")
    assert visible(page, "figure") == 2
    click(page, "#empty")
    click(page, "#all")
    click(page, "#kinds .chip[data-kind='unreadable image']")
    assert (visible(page, "figure"), visible(page, ".edge")) == (1, 0)
    click(page, "#kinds .chip[data-kind='same image in two splits']")
    assert (visible(page, "figure"), visible(page, ".edge")) == (2, 1)
    assert totals.text.startswith("1 object in 2 pictures")
    click(page, "#splits .chip[data-split='train']")
    assert visible(page, "figure") == 1
    caption = [one.text for one in page.find_elements("css selector", "figcaption") if one.text]
    assert caption[0].startswith("000000.jpg valid: 1 <b>cow\nsame image in two splits ")


def test_what_belongs_to_no_picture(page: Any) -> None:
    """It is listed below a line that can be opened."""
    summary = page.find_element("css selector", "#others summary")
    assert re.fullmatch(r"\d+ findings about no picture on this page", summary.text)
    row = page.find_element("css selector", "#others li")
    assert not row.is_displayed()
    summary.click()
    assert row.is_displayed()
    assert "labels/train/000007.txt: belongs to no image" in page.find_element("id", "others").text


def test_boxes_lie_where_the_labels_say(page: Any) -> None:
    """Large boxes are below small ones, and a click enlarges the picture."""
    places = page.execute_script(
        """
        const picture = document.querySelectorAll('.picture')[2];
        const frame = picture.getBoundingClientRect();
        return [...picture.querySelectorAll('.edge')].map((edge) => {
          const box = edge.getBoundingClientRect();
          return [(box.left - frame.left) / frame.width, (box.bottom - frame.top) / frame.height];
        });"""
    )
    for got, expected in zip(places, [(0.25, 0.75), (0.4, 0.6)], strict=True):
        assert got == pytest.approx(expected, abs=0.02)
    picture = page.find_elements("css selector", ".picture")[2]
    before = picture.size["width"]
    click(page, "figure:nth-of-type(3) .picture")
    assert picture.size["width"] > 1.2 * before


def test_the_check_is_of_the_file(found: DataCheck) -> None:
    """The page's numbers are those of the data set."""
    data = DataFile.read(found.path)
    with pytest.raises(ValueError, match="expected 5 numbers"):
        data.load("train")
    assert data.load("train", skip_bad_labels=True).num_boxes == 3
