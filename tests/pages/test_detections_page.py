"""``detect --report``: the contents of the page, and its behaviour in a real browser."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from darknet_builder import build_network
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.drawing import class_color
from darknet_builder.boxes.records import Record
from darknet_builder.cli.program import main
from darknet_builder.errors import InputError
from darknet_builder.pages.detections_page import FRAME_STEP, DetectionReport
from darknet_builder.weights.loader import save_weights
from tests.helpers.browser import OpenPage, browsers, complaints, outside_references

ROOT = Path(__file__).parents[2]
LESSON = ROOT / "cfg" / "lesson.cfg"
NAMES = ("cat", "dog", '<b>&"cow"')


def picture(width: int, height: int) -> np.ndarray:
    """Return a smooth gradient, which JPEG keeps almost unchanged."""
    across, down = np.linspace(0, 200, width), np.linspace(0, 200, height)
    return np.stack(np.broadcast_arrays(across[None], down[:, None], 100.0), 2).astype(np.uint8)


def found(
    boxes: list[list[float]], scores: list[float], class_ids: list[int], size: tuple[int, int]
) -> Detections:
    return Detections(
        np.array(boxes).reshape(-1, 4), np.array(scores), np.array(class_ids, np.int64), NAMES, size
    )


def make_report() -> DetectionReport:
    """Make a report of four pictures: two with objects, one with an object at its top, one empty."""
    report = DetectionReport("A <walk>", threshold=0.1)
    report.add(
        Record(
            "walk/a.jpg",
            found(
                [[40, 60, 200, 220], [30, 90, 120, 230], [-20, 200, 60, 260]],
                [0.9, 0.5, 0.2],
                [0, 1, 1],
                (320, 240),
            ),
        ),
        picture(320, 240),
    )
    report.add(
        Record("walk/b.jpg", found([[900, 300, 1500, 1100]], [0.35], [2], (1920, 1280))),
        picture(1920, 1280),
    )
    report.add(
        Record("walk/tall.jpg", found([[80, 0, 119, 60]], [0.8], [0], (120, 400))),
        picture(120, 400),
    )
    report.add(Record("walk/nothing <i>.jpg", found([], [], [], (64, 48))), picture(64, 48))
    return report


# ---- the file ------------------------------------------------------------------------------------


def test_the_page_loads_nothing() -> None:
    page = make_report().html()
    assert outside_references(page) == [] and "{{" not in page
    assert len(make_report()) == page.count("<figure") == 4


def test_pictures_are_scaled_down_and_kept() -> None:
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', make_report().html())
    images = [
        cv2.imdecode(np.frombuffer(base64.b64decode(source), np.uint8), cv2.IMREAD_COLOR)
        for source in sources
    ]
    assert [image.shape[:2] for image in images] == [(240, 320), (640, 960), (400, 120), (48, 64)]
    assert np.abs(images[0].astype(int) - picture(320, 240)).mean() < 3


def test_boxes_are_those_of_the_detections() -> None:
    """Boxes are clipped to the image, in its own pixels; the best one comes last."""
    page = make_report().html()
    assert re.findall(r'viewBox="([^"]+)"', page) == [
        "0 0 320 240",
        "0 0 1920 1280",
        "0 0 120 400",
        "0 0 64 48",
    ]
    boxes = re.findall(
        r'data-class="(\d)" data-score="([\d.]+)"><title>.*?</title>'
        r'<rect class="edge" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"',
        page,
    )
    assert [tuple(map(float, box)) for box in boxes] == [
        (1, 0.2, 0, 200, 60, 40),
        (1, 0.5, 30, 90, 90, 140),
        (0, 0.9, 40, 60, 160, 160),
        (2, 0.35, 900, 300, 600, 800),
        (0, 0.8, 80, 0, 39, 60),
    ]


def test_no_text_can_leave_its_place() -> None:
    page = make_report().html()
    assert "<walk>" not in page and "<i>." not in page and "<b>&" not in page
    assert "&lt;b&gt;&amp;&quot;cow&quot; 35%" in page and page.count("</script>") == 1


def test_colours_are_those_of_the_drawing() -> None:
    blue, green, red = class_color(1)
    assert f".class-1{{--color:rgb({red} {green} {blue});" in make_report().html()


def test_of_a_video_one_frame_in_many() -> None:
    report = DetectionReport()
    for number in range(2 * FRAME_STEP + 1):
        report.add(Record("a.mp4", found([], [], [], (64, 48)), number), picture(64, 48))
    captions = re.findall(r"<figcaption><b [^>]*>(.*?)</b>", report.html())
    assert captions == [
        "a.mp4, frame 0",
        f"a.mp4, frame {FRAME_STEP}",
        f"a.mp4, frame {2 * FRAME_STEP}",
    ]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "no" / "a.html"
    with pytest.raises(InputError) as caught:
        make_report().save(target)
    assert str(caught.value) == f"{target}: cannot be written: No such file or directory"
    with pytest.raises(InputError, match="expected a path or a NumPy array"):
        DetectionReport().add(Record("a.jpg", found([], [], [], (4, 4))), np.zeros((4, 4, 3)))


# ---- the command ---------------------------------------------------------------------------------


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page shows the same as the JSON file, and its folder is created."""
    monkeypatch.chdir(tmp_path)
    save_weights(build_network(LESSON), "lesson.weights")
    for name in ("a.png", "b.png"):
        cv2.imwrite(name, picture(96, 64))
    video = cv2.VideoWriter("c.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(FRAME_STEP + 2):
        video.write(picture(96, 64))
    video.release()
    model = ["--cfg", str(LESSON), "--weights", "lesson.weights"]
    assert (
        main(
            [
                "detect",
                "a.png",
                "b.png",
                "c.avi",
                *model,
                "--no-images",
                "--threshold",
                "0.01",
                "--save-json",
                "--output",
                "out",
                "--report",
                "pages/a.html",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1].endswith("; saved in out; report: pages/a.html")
    page = Path("pages/a.html").read_text(encoding="utf-8")
    document = json.loads(Path("out/detections.json").read_text())
    shown = {image["id"] for image in document["images"] if image.get("frame", 0) % FRAME_STEP == 0}
    assert len(shown) == page.count("<figure") == 4
    boxes = sum(row["image_id"] in shown for row in document["annotations"])
    assert boxes == page.count('<g class="box') > 0
    assert 'min="0.01"' in page
    Path("file").write_text("")
    assert main(["detect", "a.png", *model, "--no-images", "--report", "file/a.html"]) == 2
    assert capsys.readouterr().err == (
        "darknet-builder: error: --report file: the folder cannot be created: File exists\n"
    )


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenPage]:
    with browsers(tmp_path_factory.mktemp("browser")) as function:
        yield function


@pytest.fixture
def page(open_page: OpenPage, tmp_path: Path) -> Iterator[Any]:
    """Open the report in a browser; its script must not have failed at the end."""
    make_report().save(tmp_path / "report.html")
    browser = open_page(tmp_path / "report.html")
    yield browser
    assert complaints(browser) == []


def visible(browser: Any) -> int:
    """Count the boxes that the browser shows."""
    return int(
        browser.execute_script(
            "return [...document.querySelectorAll('.edge')]"
            ".filter((box) => box.getClientRects().length).length"
        )
    )


def text(browser: Any, selector: str) -> str:
    return str(browser.find_element("css selector", selector).text)


def captions(browser: Any) -> list[str]:
    return [
        part.text
        for part in browser.find_elements("css selector", "figcaption")
        if part.is_displayed()
    ]


def test_counts(page: Any) -> None:
    assert text(page, "#totals") == "5 objects in 3 of 4 pictures"
    assert [
        chip.text.split("\n")[-1][-1]
        for chip in page.find_elements("css selector", ".chip[data-class]")
    ] == ["2", "2", "1"]
    assert captions(page) == [
        "a.jpg 2 dog, 1 cat",
        'b.jpg 1 <b>&"cow"',
        "tall.jpg 1 cat",
        "nothing <i>.jpg nothing",
    ]
    assert visible(page) == 5


def test_the_slider_hides_boxes_at_once(page: Any) -> None:
    """With real key presses; each moves the slider by 0.01."""
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element("id", "threshold")
    assert text(page, "#value") == "10 %"
    slider.send_keys(*[Keys.ARROW_RIGHT] * 10)
    assert (text(page, "#value"), visible(page)) == ("20 %", 5)
    slider.send_keys(Keys.ARROW_RIGHT)
    assert (text(page, "#value"), visible(page)) == ("21 %", 4)
    assert text(page, "#totals") == "4 objects in 3 of 4 pictures"
    assert captions(page)[0] == "a.jpg 1 cat, 1 dog"
    slider.send_keys(Keys.END)
    assert (visible(page), text(page, "#totals")) == (0, "0 objects in 0 of 4 pictures")
    slider.send_keys(Keys.HOME)
    assert visible(page) == 5


def test_classes(page: Any) -> None:
    cat = page.find_element("css selector", ".chip[data-class='0']")
    cat.click()
    assert (cat.get_attribute("aria-pressed"), visible(page)) == ("false", 3)
    assert captions(page)[2] == "tall.jpg nothing"
    page.find_element("id", "empty").click()
    assert [caption.split()[0] for caption in captions(page)] == ["a.jpg", "b.jpg"]
    page.find_element("id", "none").click()
    assert (visible(page), captions(page)) == (0, [])
    page.find_element("id", "all").click()
    assert (visible(page), len(captions(page))) == (5, 3)


LABELS = """
const wrong = [];
for (const picture of document.querySelectorAll('.picture')) {
  const frame = picture.getBoundingClientRect();
  for (const plate of picture.querySelectorAll('.plate')) {
    const box = plate.getBoundingClientRect(), text = plate.nextSibling.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1) wrong.push(box.left);
    if (text.left < box.left || text.right > box.right || Math.abs(box.height - 17) > 1) wrong.push(text.width);
  }
}
return wrong;
"""


def test_labels_stay_within_the_picture_and_keep_their_size(page: Any) -> None:
    assert page.execute_script(LABELS) == []
    picture_element = page.find_elements("css selector", ".picture")[1]
    before = picture_element.size["width"]
    picture_element.click()
    assert picture_element.size["width"] > 1.2 * before
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert page.execute_script(LABELS) == []
    page.find_element("id", "labels").click()
    assert (
        page.execute_script(
            "return [...document.querySelectorAll('.plate')].filter((plate) => "
            "plate.getClientRects().length).length"
        )
        == 0
    )
    assert visible(page) == 5


def test_a_box_lies_where_its_object_is(page: Any) -> None:
    places = page.execute_script(
        """
        const frame = document.querySelector('.picture').getBoundingClientRect();
        const box = document.querySelector('.box[data-score="0.90000"] .edge').getBoundingClientRect();
        return [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height,
                (box.right - frame.left) / frame.width, (box.bottom - frame.top) / frame.height];"""
    )
    np.testing.assert_allclose(places, [40 / 320, 60 / 240, 200 / 320, 220 / 240], atol=0.006)


def test_dark(open_page: OpenPage, tmp_path: Path) -> None:
    make_report().save(tmp_path / "report.html")
    browser = open_page(tmp_path / "report.html", dark=True)
    assert (
        browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        == "rgb(20, 23, 28)"
    )
