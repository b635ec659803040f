"""Pages and pictures of networks: their contents, and their behaviour in a real browser."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from darknet_builder import build_network, summarize
from darknet_builder.cli.program import main
from darknet_builder.errors import InputError
from darknet_builder.inspection.statistics import BINS, weight_statistics
from darknet_builder.network.network import Network
from darknet_builder.pages.diagram import KINDS, Arc, Diagram, find_arcs
from darknet_builder.pages.network_page import make_page, save_network_picture
from darknet_builder.pages.templates import THEMES, fixed_css, html_text, read_part
from darknet_builder.weights.loader import save_weights
from tests.helpers.browser import OpenPage, browsers, complaints, outside_references

ROOT = Path(__file__).parents[2]
LESSON = ROOT / "cfg" / "lesson.cfg"
CFGS = sorted((ROOT / "cfg").glob("*.cfg"))
SVG = "{http://www.w3.org/2000/svg}"
NASTY = "</script><b>&'\" \x07"

JUMPS = """
[net]
width=32
height=32
channels=3
[convolutional]
filters=4
[convolutional]
filters=4
[shortcut]
from=-2
[route]
layers=0
[route]
layers=-1,2,0
[maxpool]
size=2
stride=2
"""


def residual_cfg(blocks: int) -> str:
    """Return a cfg with 3 layers a block and 2 more, and arcs of many lengths."""
    convolution = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
    body = "".join(convolution * 2 + "[shortcut]\nfrom=-3\n" for _ in range(blocks))
    return f"[net]\nwidth=32\nheight=32\nchannels=3\n{convolution}{body}[route]\nlayers=-1,{blocks},0\n"


def page_of(network: Network, **options: Any) -> str:
    return make_page(network, Diagram.of(network, **options))


def page_data(page: str) -> Any:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match
    return json.loads(match[1])


# ---- arcs ----------------------------------------------------------------------------------------


def test_arcs_of_a_small_network() -> None:
    """One arc for each source that is not the layer before; short arcs are in inner lanes."""
    assert find_arcs(summarize(build_network(JUMPS))) == [
        Arc(0, 2, 0),
        Arc(2, 4, 0),
        Arc(0, 3, 1),
        Arc(0, 4, 2),
    ]


@pytest.mark.parametrize("cfg", CFGS, ids=lambda path: path.stem)
def test_arcs_of_one_lane_never_run_side_by_side(cfg: Path) -> None:
    summary = summarize(build_network(cfg, initialize=False))
    arcs = find_arcs(summary)
    expected = {
        (source, row.index)
        for row in summary.layers
        for source in row.sources
        if source != row.index - 1
    }
    assert {(arc.source, arc.reader) for arc in arcs} == expected
    for one, other in itertools.combinations(arcs, 2):
        assert one.lane != other.lane or one.reader <= other.source or other.reader <= one.source


def test_kinds() -> None:
    assert Diagram.of(build_network(JUMPS)).kinds == (
        "weights",
        "weights",
        "add",
        "route",
        "route",
        "plain",
    )
    assert Diagram.of(build_network(LESSON)).kinds[-1] == "head"
    assert set(KINDS) < set(THEMES["light"])


# ---- histograms ----------------------------------------------------------------------------------


def test_histogram_equals_numpys() -> None:
    network = build_network(JUMPS)
    values = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network.layers[0].conv.weight.copy_(values)
    statistics = weight_statistics(network)
    assert [entry is not None for entry in statistics] == [True, True, False, False, False, False]
    found = statistics[0]
    assert found is not None
    counts, edges = np.histogram(values.numpy(), BINS)
    assert found.counts == tuple(counts) and found.outside == found.not_finite == 0
    assert (found.low, found.high) == (edges[0], edges[-1])
    assert [tensor.name for tensor in found.tensors] == ["bias", "weight"]
    assert found.tensors[1].shape == (4, 3, 1, 1)
    np.testing.assert_allclose(
        [found.tensors[1].mean, found.tensors[1].deviation],
        [values.numpy().mean(), values.numpy().std()],
        rtol=1e-6,
    )


def test_histogram_of_odd_weights() -> None:
    """Values far from the mean and non-finite ones are counted; equal values have a bin too."""
    network = build_network(JUMPS)
    with torch.no_grad():
        network.layers[0].conv.weight.fill_(0.5)
        network.layers[1].conv.weight.zero_()
        network.layers[1].conv.bias.copy_(torch.tensor([float("nan"), float("inf"), 1, 2]))
        network.layers[1].conv.weight.view(-1)[3] = float("-inf")
    first, second = weight_statistics(network)[:2]
    assert first is not None and second is not None
    assert first.low < 0.5 < first.high and sum(first.counts) == 12 and max(first.counts) == 12
    assert second.not_finite == 3 and sum(second.counts) == 15
    assert (second.tensors[0].low, second.tensors[0].high) == (1, 2)
    with torch.no_grad():
        network.layers[1].conv.weight.fill_(float("nan"))
    empty = weight_statistics(network)[1]
    assert empty is not None and sum(empty.counts) == 0 and empty.not_finite == 18


def test_far_weights_are_outside() -> None:
    network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=100\n")
    with torch.no_grad():
        network.layers[0].conv.weight.copy_(torch.linspace(-1, 1, 300).view(100, 3, 1, 1))
        network.layers[0].conv.weight[0, 0] = 1000
    found = weight_statistics(network)[0]
    assert (
        found is not None and found.outside == 1 and sum(found.counts) == 299 and found.high < 1000
    )


# ---- the files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cfg", CFGS, ids=lambda path: path.stem)
def test_the_picture_is_whole(cfg: Path) -> None:
    """It is well-formed XML with every layer and connection, and it loads nothing else."""
    network = build_network(cfg, initialize=False)
    text = Diagram.of(network).svg()
    root = ElementTree.fromstring(text)
    rows = [part for part in root if part.get("class", "").startswith("row ")]
    ids = [f"layer-{index}" for index in range(len(network.layers))]
    assert [part.get("id") for part in rows] == ids
    connections = [
        (int(part.get("data-from", "")), int(part.get("data-to", "")))
        for part in root.iter(f"{SVG}path")
        if part.get("class", "").split()[0] in ("flow", "arc")
    ]
    expected = {
        (source, index)
        for index, layer in enumerate(network.sequence())
        for source in layer.sources
    }
    assert sorted(connections) == sorted(expected)
    assert outside_references(text) == [] and "var(" not in text
    words = [part.text for part in root.iter(f"{SVG}text")]
    assert words[0] == cfg.name and words[1] == Diagram.of(network).totals()


def test_a_row_says_what_the_summary_says() -> None:
    root = ElementTree.fromstring(Diagram.of(build_network(LESSON)).svg())
    row = next(part for part in root if part.get("id") == "layer-0")
    assert [part.text for part in row.iter(f"{SVG}text")] == [
        "0",
        "convolutional",
        "8",
        "3 x 3 / 1",
        "64 x 64 x 8",
        "248",
        "0.002",
    ]


def test_histograms_only_with_weights() -> None:
    network = build_network(LESSON)
    plain, full = Diagram.of(network).svg(), Diagram.of(network, weights=True).svg()
    layers = sum(layer.num_stored() > 0 for layer in network.sequence())
    assert 'class="histogram"' not in plain and full.count('class="histogram"') == layers
    assert float(re.findall(r'width="([\d.]+)"', full)[0]) > float(
        re.findall(r'width="([\d.]+)"', plain)[0]
    )


def test_the_page_loads_nothing_and_holds_its_data() -> None:
    network = build_network(LESSON)
    page = page_of(network, weights=True)
    assert outside_references(page) == [] and "{{" not in page
    data = page_data(page)
    sources = [list(layer.sources) for layer in network.sequence()]
    assert [layer["sources"] for layer in data["layers"]] == sources
    assert data["totals"] == summarize(network).totals()
    assert data["layers"][0]["text"].startswith("[convolutional]\nbatch_normalize=1\n")
    assert data["layers"][0]["weights"]["counts"] and data["layers"][1]["weights"] is None
    assert page_data(page_of(network))["layers"][0]["weights"] is None


def test_no_text_can_leave_its_place() -> None:
    """Titles and options stay text in HTML and in SVG, whatever they contain."""
    network = build_network(LESSON)
    network.blocks[1]._options["activation"] = NASTY
    page = page_of(network, title=NASTY)
    assert page.count("</script>") == 2 and "<b>&'" not in page
    assert page_data(page)["layers"][0]["text"].endswith(f"activation={NASTY}")
    root = ElementTree.fromstring(Diagram.of(network, NASTY).svg())
    assert root[0].text == NASTY.replace("\x07", "?") == next(root.iter(f"{SVG}title")).text
    assert html_text("a\ud800") == "a?"


def test_fixed_css() -> None:
    text = fixed_css("a{fill:var(--ink)}")
    assert (
        text == "a{fill:#1b1f24}\n@media screen and (prefers-color-scheme: dark){a{fill:#e6e9ee}}"
    )
    assert set(THEMES["light"]) == set(THEMES["dark"])
    assert "var(" in read_part("diagram.css") and "var(" not in fixed_css(read_part("diagram.css"))


def test_every_word_can_be_read() -> None:
    """Text has a contrast of 4.5:1 (WCAG 2.1) on each of its backgrounds, light and dark."""

    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    def luminance(color: tuple[float, ...]) -> float:
        return float(np.dot(list(map(linear, color)), [0.2126, 0.7152, 0.0722]))

    def rgb(color: str) -> tuple[float, ...]:
        return tuple(value / 255 for value in bytes.fromhex(color[1:]))

    def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for theme in THEMES.values():
        for ground in ("paper", "panel", "chosen", "source", "reader"):
            assert contrast(rgb(theme["ink"]), rgb(theme[ground])) >= 7, ground
            assert contrast(rgb(theme["muted"]), rgb(theme[ground])) >= 4.5, ground
            for kind in KINDS:
                pill = tuple(
                    0.87 * under + 0.13 * over
                    for under, over in zip(rgb(theme[ground]), rgb(theme[kind]), strict=True)
                )
                assert contrast(rgb(theme[kind]), pill) >= (4.5 if ground == "paper" else 4), (
                    kind,
                    ground,
                )


# ---- the command ---------------------------------------------------------------------------------


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page goes into the current folder by default; with weights it has histograms."""
    monkeypatch.chdir(tmp_path)
    assert main(["draw-network", str(LESSON)]) == 0
    assert capsys.readouterr().out == "lesson.html: 20 layers\n"
    network = build_network(LESSON)
    assert Path("lesson.html").read_text(encoding="utf-8") == page_of(network)
    save_weights(network, "lesson.weights")
    assert (
        main(["draw-network", str(LESSON), "lesson.weights", "--output", "a.svg", "--width", "96"])
        == 0
    )
    text = Path("a.svg").read_text(encoding="utf-8")
    assert 'class="histogram"' in text and "96 x 64 x 3" in text


def test_what_a_user_may_get_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw-network", str(LESSON), "--output", "a.png"]) == 2
    assert (
        capsys.readouterr().err
        == "darknet-builder: error: a.png: expected a name that ends in .html (a page) "
        "or .svg (a picture)\n"
    )
    assert main(["draw-network", str(LESSON), "none.weights"]) == 2
    assert capsys.readouterr().err == "darknet-builder: error: none.weights: no such weights file\n"
    target = tmp_path / "no" / "a.html"
    with pytest.raises(InputError) as caught:
        save_network_picture(build_network(LESSON), target)
    assert str(caught.value) == f"{target}: cannot be written: No such file or directory"


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenPage]:
    with browsers(tmp_path_factory.mktemp("browser")) as function:
        yield function


@pytest.fixture
def show(open_page: OpenPage, tmp_path: Path) -> Any:
    """Open a cfg's page in a browser; its script must not have failed at the end."""
    shown = []

    def run(cfg: str | Path, *, weights: bool = False, **options: Any) -> Any:
        path = tmp_path / "page.html"
        save_network_picture(build_network(cfg), path, weights=weights, title="a network")
        shown.append(open_page(path, **options))
        return shown[-1]

    yield run
    for browser in shown:
        assert complaints(browser) == []


OVERLAPS = """
const wrong = [];
const svg = document.querySelectorAll('main svg')[1].getBoundingClientRect();
for (const row of document.querySelectorAll('.row')) {
  const parts = [...row.querySelectorAll('text, .track, path.histogram')];
  const boxes = parts.map((part) => [part.getBoundingClientRect(), part]);
  boxes.sort((a, b) => a[0].left - b[0].left);
  boxes.forEach(([box, part], at) => {
    const text = `${row.id}: ${part.textContent}`;
    if (at && boxes[at - 1][0].right > box.left) wrong.push(`${text} under ${boxes[at - 1][1].textContent}`);
    if (box.left < svg.left || box.right > svg.right + .5) wrong.push(`${text} beyond the edge`);
  });
  const [type, pill] = ['.type', '.pill'].map((name) => row.querySelector(name).getBoundingClientRect());
  if (type.right > pill.right) wrong.push(`${row.id}: type beyond its ground`);
}
const line = document.querySelector('.row .rule, .row .step').getBoundingClientRect().left;
for (const arc of document.querySelectorAll('.arc')) {
  const box = arc.getBoundingClientRect();
  if (box.left < svg.left || box.right > line) wrong.push(`arc ${arc.dataset.from}-${arc.dataset.to} beyond its place`);
}
if (document.documentElement.scrollWidth > innerWidth) wrong.push('the page is wider than the window');
return wrong;
"""


@pytest.mark.parametrize(
    ("cfg", "layers"),
    [
        (ROOT / "cfg" / "yolov3-tiny.cfg", 24),
        (ROOT / "cfg" / "yolov4.cfg", 162),
        (ROOT / "cfg" / "yolov7.cfg", 143),
        (residual_cfg(83), 251),
        (residual_cfg(133), 401),
    ],
    ids=["24", "162", "143", "251", "401"],
)
def test_nothing_lies_over_anything_else(show: Any, cfg: str | Path, layers: int) -> None:
    browser = show(cfg, weights=isinstance(cfg, str))
    assert browser.execute_script("return document.querySelectorAll('.row').length") == layers
    assert browser.execute_script(OVERLAPS) == []
    size = browser.execute_script(
        "return document.querySelectorAll('main svg')[1].getBoundingClientRect().height"
    )
    assert size / layers > 20  # rows keep their height in a page of any length


@pytest.mark.parametrize("size", [(1000, 700), (760, 900)])
def test_small_windows(show: Any, size: tuple[int, int]) -> None:
    assert (
        show(ROOT / "cfg" / "yolov3-tiny.cfg", weights=True, size=size).execute_script(OVERLAPS)
        == []
    )


def classes(browser: Any, name: str) -> list[int]:
    return list(
        browser.execute_script(
            "return [...document.querySelectorAll(`.row.${arguments[0]}`)].map((row) =>"
            " +row.dataset.index)",
            name,
        )
    )


def hover(browser: Any, index: int) -> None:
    """Move the pointer to the middle of a row."""
    from selenium.webdriver.common.action_chains import ActionChains

    row = browser.find_element("css selector", f"#layer-{index} .band")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", row)
    ActionChains(browser).move_to_element(row).perform()


def test_hovering_shows_sources_and_readers(show: Any) -> None:
    browser = show(ROOT / "cfg" / "yolov3-tiny.cfg")
    details = browser.find_element("id", "details")
    assert details.text.startswith("Layers\n")
    hover(browser, 20)
    assert (classes(browser, "on"), classes(browser, "source"), classes(browser, "reader")) == (
        [20],
        [8, 19],
        [21],
    )
    ways = browser.execute_script(
        "return [...document.querySelectorAll('.arc.on, .flow.on')].map((way) => "
        "[+way.dataset.from, +way.dataset.to])"
    )
    assert sorted(ways) == [[8, 20], [19, 20], [20, 21]]
    assert details.text.splitlines()[:8] == [
        "20 route",
        "reads",
        "19 upsample8 convolutional",
        "read by",
        "21 convolutional",
        "input",
        "26 x 26 x 128, 26 x 26 x 256",
        "output",
    ]
    assert details.text.endswith("line 154 of the cfg\n[route]\nlayers=-1,8")
    hover(browser, 8)
    assert (classes(browser, "source"), classes(browser, "reader")) == ([7], [9, 20])
    assert "295,936 (3.3 %)" in details.text


def test_clicking_keeps_a_layer_and_leads_on(show: Any) -> None:
    browser = show(ROOT / "cfg" / "yolov3-tiny.cfg")
    hover(browser, 20)
    browser.find_element("css selector", "#layer-20 .band").click()
    assert browser.current_url.endswith("#layer=20")
    hover(browser, 3)
    assert classes(browser, "on") == [3]
    hover(browser, 20)
    browser.find_element("css selector", ".jump.source:nth-child(2)").click()
    assert classes(browser, "on") == [8] and browser.current_url.endswith("#layer=8")
    browser.refresh()
    assert classes(browser, "on") == [8]


def test_search(show: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = show(ROOT / "cfg" / "yolov4.cfg")
    search, found = browser.find_element("id", "search"), browser.find_element("id", "found")

    def look_for(words: str) -> list[int]:
        search.clear()
        search.send_keys(words)
        return [index for index in range(162) if index not in classes(browser, "miss")]

    assert look_for("42") == [42] and found.text == "1 of 162"
    assert look_for("40 - 44") == [40, 41, 42, 43, 44]
    assert look_for("Upsample") == [118, 128]
    search.send_keys(Keys.ENTER)
    assert classes(browser, "on") == [118]
    search.send_keys(Keys.ENTER)
    assert classes(browser, "on") == [128]
    box = browser.execute_script(
        "const box = document.getElementById('layer-128').getBoundingClientRect();"
        "return [box.top, box.bottom, innerHeight]"
    )
    assert box[0] > 100 and box[1] < box[2], "what is found is brought into sight"
    assert look_for("nothing") == [] and found.text == "0 of 162"
    search.send_keys(Keys.ESCAPE)
    assert (search.get_attribute("value"), found.text, classes(browser, "miss")) == ("", "", [])
    browser.find_element("xpath", "//button[contains(., 'yolo')]").click()
    assert found.text == "3 of 162" and 161 not in classes(browser, "miss")


def test_keys(show: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = show(ROOT / "cfg" / "yolov3-tiny.cfg")
    body = browser.find_element("css selector", "body")
    body.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert classes(browser, "on") == [1]
    body.send_keys(Keys.ESCAPE)
    assert classes(browser, "on") == []
    body.send_keys("/")
    assert browser.switch_to.active_element.get_attribute("id") == "search"


def test_overview_leads_to_a_place(show: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    browser = show(residual_cfg(83))
    overview = browser.find_element("id", "overview")
    height = overview.size["height"]
    ActionChains(browser).move_to_element_with_offset(
        overview, 0, round(height * 0.3)
    ).click().perform()
    middle = browser.execute_script(
        "return +document.elementFromPoint(400, innerHeight / 2).closest('.row').dataset.index"
    )
    assert abs(middle - 0.8 * 251) < 8
    window = browser.execute_script(
        "const bar = document.querySelector('.window'); return +bar.getAttribute('y')"
    )
    assert 0.65 * 251 < window < 0.8 * 251


def test_histogram_in_the_details(show: Any) -> None:
    browser = show(LESSON, weights=True)
    hover(browser, 0)
    assert len(browser.find_elements("css selector", "#details .plot rect")) == BINS
    lines = browser.find_element("id", "details").text.splitlines()
    assert "min mean max std" in lines
    assert any(line.startswith("weight 8 x 3 x 3 x 3 ") for line in lines)


def test_light_and_dark(show: Any) -> None:
    """The whole page follows the theme of the reader's system."""
    colors = (
        "const of = (part, name) => getComputedStyle(document.querySelector(part))[name];return"
        " [of('body', 'backgroundColor'), of('.row .quiet', 'fill'), of('.row .band', 'fill')]"
    )
    white, black = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    assert show(LESSON).execute_script(colors) == [white, "rgb(91, 99, 108)", white]
    assert show(LESSON, dark=True).execute_script(colors) == [black, "rgb(166, 176, 188)", black]


def test_the_picture_in_a_browser(open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    save_network_picture(build_network(ROOT / "cfg" / "yolov3-tiny.cfg"), path)
    for dark, paper in ((False, "rgb(255, 255, 255)"), (True, "rgb(20, 23, 28)")):
        browser = open_page(path, dark=dark)
        assert (
            browser.execute_script("return getComputedStyle(document.querySelector('.paper')).fill")
            == paper
        )
        assert complaints(browser) == []
