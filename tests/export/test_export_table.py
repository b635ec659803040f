"""The table of docs/export.md: every cell is a small difference or a reason."""

from __future__ import annotations

import re
from pathlib import Path

import generator
import pytest

from darknet_builder.export.settings import LEVELS
from scripts import export_table
from scripts.export_table import FOLDERS, RUNNERS, insert, table
from tests.export.test_export import PROGRAMS

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
NO_HEAD = (
    "the network has no detection head: there is nothing to decode; export it with level raw,"
    " not nms"
)


def row(text: str) -> dict[str, dict[str, str]]:
    """Return a row with the same text in every cell."""
    return {level: dict.fromkeys(RUNNERS, text) for level in LEVELS}


def test_cells_and_reasons() -> None:
    rows = {
        "b": row("3e-07"),
        "A": row("it is too large"),
        "c": row(NO_HEAD),
        "d": row("it is too large"),
    }
    rows["b"]["raw"] |= {"OpenVINO": "another reason", "OpenCV 5": "7e-04 (f32: 6e-04)"}
    lines = table(rows).splitlines()
    assert (
        lines[0]
        == "| network | raw: onnxruntime | raw: OpenCV 5 | raw: OpenVINO | decoded: onnxruntime | "
        "decoded: OpenCV 5 | decoded: OpenVINO | nms: onnxruntime | nms: OpenCV 5 | nms: OpenVINO |"
    )
    assert lines[1] == "|---|" + "---|" * 9
    assert lines[2] == "| A" + " | [1]" * 9 + " |"
    assert lines[3] == "| b | 3e-07 | 7e-04 (f32: 6e-04) | [2]" + " | 3e-07" * 6 + " |"
    assert lines[4] == "| c" + " | -" * 9 + " |"
    assert lines[5:] == ["| d" + " | [1]" * 9 + " |", "", "1. it is too large", "2. another reason"]


def test_the_table_goes_between_its_marks() -> None:
    page = insert(
        "before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n", {"x": row("1e-06")}, 3
    )
    assert (
        page.startswith("before\n<!-- table -->\n1 of 3 networks, measured with PyTorch ")
        and "old" not in page
    )
    assert page.endswith("| 1e-06 |\n\n<!-- end of table -->\nafter\n")
    assert insert(page, {"x": row("1e-06")}, 3) == page
    with pytest.raises(SystemExit, match="no place for the table"):
        insert("nothing", {}, 0)


def test_refused_networks_are_not_counted() -> None:
    """A network that cannot be exported was not measured; one with some numbers was."""
    rows = {"a": row("1e-06"), "b": row("keeps a state"), "c": row("keeps a state")}
    rows["c"]["raw"]["OpenVINO"] = "2e-06 (f32: 1e-06)"
    assert export_table.count_measured(rows) == 2


def test_the_page_s_table() -> None:
    """Every cell is a small difference or refers to a reason; no program gives wrong values."""
    text = PAGE.read_text().split("<!-- table -->")[1].split("<!-- end of table -->")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][
        1:
    ]
    notes = dict(re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE))
    refused = [name for name, *cells in rows if all(cell.startswith("[") for cell in cells)]
    assert int(text.split()[0]) == len(rows) - len(refused) > 50
    for name, *cells in rows:
        assert len(cells) == len(LEVELS) * len(RUNNERS), name
        for cell in cells:
            if cell.startswith("["):
                assert cell.strip("[]") in notes, name
            else:
                assert cell == "-" or float(cell.split()[0]) < 1e-4 or "f32" in cell, name
    assert not [
        note for note in notes.values() if "differs from" in note or "the file keeps" in note
    ]


def test_the_page_s_networks_are_the_pack_s(pack: Path) -> None:
    names = {
        f"{dialect}/{path.stem}"
        for folder, dialect in FOLDERS.items()
        for path in (pack / folder).glob("*.npz")
    }
    found = set(re.findall(r"^\| (\w+/\S+) \|", PAGE.read_text(), re.MULTILINE))
    assert found <= names
    assert f" of {len(names)} networks, measured with " in PAGE.read_text()


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results.json"
    results.write_text('{"x": {"raw": {}, "decoded": {}, "nms": {}}}')
    recorded = export_table.Recorded("x", Path("none.cfg"), "alexeyab", {})
    assert export_table.measure_all([recorded], None, results) == {
        "x": {"raw": {}, "decoded": {}, "nms": {}}
    }


@pytest.mark.pack
@pytest.mark.parametrize("name", ["alexeyab/cifar", "pjreddie/yolov2-tiny"])
def test_a_quick_part_of_the_table(
    name: str, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measure again what the page says about a network, in the programs that are installed."""
    monkeypatch.setattr(export_table, "RUNNERS", PROGRAMS)
    (recorded,) = (one for one in export_table.recorded_networks(pack) if one.name == name)
    rows = export_table.measure_all([recorded], generator, tmp_path / "results.json")
    assert list(rows) == [name] and list(rows[name]) == list(LEVELS)
    for level, cells in rows[name].items():
        assert list(cells) == list(PROGRAMS)
        for cell in cells.values():
            assert (
                "no detection head" in cell
                if name.endswith("cifar") and level != "raw"
                else float(cell) < 2e-5
            )
    assert '"raw"' in (tmp_path / "results.json").read_text()


def test_recorded_networks(pack: Path) -> None:
    """The smallest come first, so that an interrupted run has measured most of them."""
    found = list(export_table.recorded_networks(pack))
    sizes = [one.meta["parameters"] for one in found]
    assert len(found) > 90 and sizes == sorted(sizes) and all(one.cfg.is_file() for one in found)
