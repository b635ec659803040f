"""The notebooks of docs/notebooks are the lesson pages, and print what the pages show."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import notebooks
from tests.project.test_docs import LAST_STATUS, Fence, PageError, commands, compare, fences, need

ROOT = Path(__file__).parents[2]
URL = "https://github.com/example/darknet_builder"
PAGE = """\
# Title

[简体中文](lessons.zh-CN.md)

See [training](training.md#resume) and [a cfg](../cfg/lesson.cfg), ![a picture](images/a.png).

<!-- not run: it would install -->
```sh
pip install .
```

```python
print(1)
```

```text
1
```

## Part

```console
$ darknet-builder dump cfg/lesson.cfg --filter yolo
layer  type
$ python scripts/why_modulelist.py
...
$ echo $?
0
```

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="images/b-dark.svg">
  <img alt="b" src="images/b-light.svg">
</picture>
"""


def test_outputs_are_left_out_and_commands_are_cells() -> None:
    source = notebooks.notebook_source("lessons.md", PAGE, "")
    assert "```python\nprint(1)\n```\n\n## Part" in source
    commands = (
        "!darknet-builder dump cfg/lesson.cfg --filter yolo\n!python scripts/why_modulelist.py"
    )
    assert f"```python\n{commands}\n```\n" in source
    assert "layer  type" not in source and "```text\npip install .\n```" in source
    assert '<img alt="b" src="../images/b-light.svg">' in source and "b-dark" not in source


def test_the_first_cell_goes_to_the_project_or_fetches_it_and_installs_it() -> None:
    alone = notebooks.notebook_source("lessons.md", PAGE, "")
    assert alone.index("Run this cell first") < alone.index("print(1)")
    assert "raise FileNotFoundError" in alone and "git clone" not in alone
    published = notebooks.notebook_source("lessons.md", PAGE, URL)
    assert f"!git clone --quiet --depth 1 {URL} darknet_builder\n" in published
    for source in (alone, published):
        assert source.index("os.chdir(") < source.index('%pip install --quiet ".[train]"\n')


def test_links_lead_on_from_the_notebooks_folder_or_to_the_repository() -> None:
    alone = notebooks.notebook_source("lessons.md", PAGE, "")
    for target in ("lessons.zh-CN.ipynb", "../training.md#resume", "../../cfg/lesson.cfg"):
        assert f"]({target})" in alone
    published = notebooks.notebook_source("lessons.md", PAGE, URL)
    blob = f"{URL}/blob/main"
    for target in (
        "docs/notebooks/lessons.zh-CN.ipynb",
        "docs/training.md#resume",
        "cfg/lesson.cfg",
    ):
        assert f"]({blob}/{target})" in published
    raw = "https://raw.githubusercontent.com/example/darknet_builder/main/docs/images"
    assert f"![a picture]({raw}/a.png)" in published and f'src="{raw}/b-light.svg"' in published


def test_a_badge_opens_a_published_notebook_in_colab() -> None:
    assert notebooks.badge("lessons.md", URL) == (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        "(https://colab.research.google.com/github/example/darknet_builder"
        "/blob/main/docs/notebooks/lessons.ipynb)"
    )
    assert notebooks.badge("lessons.md", URL) in notebooks.notebook_source("lessons.md", PAGE, URL)


@pytest.mark.parametrize("page", notebooks.PAGES)
def test_the_page_links_to_its_notebook(page: str) -> None:
    """And has the badge, once setup.cfg has the address of the repository."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert f"](notebooks/{notebooks.notebook_path(page).name})" in text
    if url := notebooks.repository():
        assert notebooks.badge(page, url) in text


def cells_of(page: str) -> list[str]:
    """The code cells of a committed notebook, after the first."""
    notebook = json.loads(notebooks.notebook_path(page).read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    return ["".join(cell["source"]) for cell in cells[1:]]


def blocks_of(page: str) -> list[tuple[Fence, str | None]]:
    """The blocks of a page that become cells, and the output that the page shows for Python."""
    blocks = fences(page, (ROOT / "docs" / page).read_text(encoding="utf-8"))
    runs = [block for block in blocks if not block.skipped]
    return [
        (block, shown.code if shown and shown.language == "text" and shown.follows else None)
        for block, shown in zip(runs, [*runs[1:], None], strict=True)
        if block.language in ("python", "console")
    ]


def commands_in(block: Fence) -> list[tuple[str, str]]:
    """The commands of a block and their outputs, but for the question what the last one's status
    was: each command of a notebook has a shell of its own."""
    return [pair for pair in commands(block) if pair[0] != LAST_STATUS]


def test_the_notebooks_of_both_languages_have_the_blocks_of_their_pages() -> None:
    english, chinese = (cells_of(page) for page in notebooks.PAGES)
    assert english == chinese
    for cell, (block, _) in zip(english, blocks_of("lessons.md"), strict=True):
        if block.language == "python":
            assert cell == block.code.rstrip("\n")
        else:
            assert cell == "\n".join(f"!{command}" for command, _ in commands_in(block))


# ---- with jupytext and a kernel ------------------------------------------------------------------


@pytest.mark.extras
@pytest.mark.parametrize("page", notebooks.PAGES)
def test_the_notebook_is_what_the_script_makes(page: str) -> None:
    pytest.importorskip("jupytext", reason="jupytext is not installed (the extra notebooks)")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    made = notebooks.make_notebook(page, text, notebooks.repository())
    assert notebooks.notebook_path(page).read_text(encoding="utf-8") == made


@pytest.mark.extras
def test_the_notebook_prints_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of its own, which starts in the notebook's folder, as Jupyter does."""
    nbclient = pytest.importorskip(
        "nbclient", reason="nbclient is not installed (the extra notebooks)"
    )
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    path = notebooks.notebook_path("lessons.md")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()
    _, *cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, (block, shown) in zip(cells, blocks_of("lessons.md"), strict=True):
        written = "".join(text_of(output, block) for output in cell.outputs)
        if block.language == "console":
            shown = "".join(output for _, output in commands_in(block))
            written = written.replace("\r\n", "\n")  # the terminal of a ! command
        compare(block, shown or "", written)


def text_of(output: Any, block: Fence) -> str:
    """What a cell writes; a value at its end would be shown too, but not by the page."""
    need(output.output_type == "stream", block, f"shows {output}, which the page does not")
    return str(output.text)


def test_a_value_at_the_end_of_a_cell_is_noticed() -> None:
    class Result:
        output_type = "execute_result"

    with pytest.raises(PageError, match="^lessons.md:"):
        text_of(Result(), blocks_of("lessons.md")[0][0])
