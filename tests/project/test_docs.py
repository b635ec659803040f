"""Every code block of README.md, its translation and docs/ runs, and prints what the page shows.

- ``python`` blocks run in order, in one namespace a page. What one prints must stand in a ``text``
  block right after it, and a ``text`` block must follow one.
- ``console`` blocks hold commands after ``$ `` and, under each, what it writes; ``...`` stands for
  anything. A command must succeed, say ``error:``, or be followed by ``$ echo $?`` with the exit
  status.
- ``cfg`` blocks must parse.
- ``{...}`` blocks are Sphinx's own; ``test_docs_site`` holds them.
- Anything else needs ``<!-- not run: the reason -->`` on the line before it.
- A block after ``<!-- needs NAME -->``, and its output, are held where the package NAME is
  installed.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch

from darknet_builder import parse_cfg
from darknet_builder.cli import program as cli
from tests.helpers.opencv_names import keep_opencv_names

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LONG = ("docs/export.md", "docs/lessons.md", "docs/training.md")
"""Pages whose examples take a quarter of a minute or more, which "make test" does not have."""
PROGRAM = [
    sys.executable,
    "-c",
    "import sys; from darknet_builder.cli.program import main; sys.exit(main())",
]
LAST_STATUS = "echo $?"
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"<!-- needs (\w+) -->\s*\Z")
_NOT_RUN = re.compile(r"<!-- not run: .+ -->\s*\Z")


@dataclass(frozen=True)
class Fence:
    """One block of a page."""

    page: str
    line: int
    language: str
    code: str
    skipped: bool
    follows: bool
    """Whether only blank lines stand between it and the block before it."""


class PageError(Exception):
    """A block that does not do what the page says."""


@pytest.fixture(autouse=True)
def _forget_modules_of_pages() -> Iterator[None]:
    """A page may write and import a module of its own, of a name that another page uses too."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def need(condition: object, block: Fence, message: str) -> None:
    """Raise a PageError that names page and line, unless the condition holds."""
    if not condition:
        raise PageError(f"{block.page}:{block.line}: {message}")


def fences(page: str, text: str) -> list[Fence]:
    """The blocks of a page, in order."""
    found: list[Fence] = []
    end = 0
    for match in _FENCE.finditer(text):
        between = text[end : match.start()]
        language, follows = match[1].strip(), bool(found) and not between.strip()
        shows_skipped = language == "text" and follows and found[-1].skipped
        found.append(
            Fence(
                page,
                text.count("\n", 0, match.start()) + 1,
                language,
                match[2],
                bool(_NOT_RUN.search(between)) or misses_package(between) or shows_skipped,
                follows,
            )
        )
        end = match.end()
    return found


def misses_package(between: str) -> bool:
    """Whether the text before a block names a package that is not installed."""
    needed = _NEEDS.search(between)
    return needed is not None and find_spec(needed[1]) is None


def code_of(page: Path) -> list[tuple[str, str, bool, bool]]:
    """The blocks of a page without their lines."""
    blocks = fences(page.name, page.read_text(encoding="utf-8"))
    return [(block.language, block.code, block.skipped, block.follows) for block in blocks]


def check_page(page: str, text: str) -> int:
    """Run a page; returns how many blocks it has.

    Raises:
        PageError: naming page and line, for output that differs or a block that cannot be held to
            anything.
    """
    blocks = [block for block in fences(page, text) if not block.skipped]
    namespace: dict[str, Any] = {"__name__": "__page__"}
    printed: str | None = None
    for block, following in zip_longest(blocks, blocks[1:]):
        if block.language == "text":
            need(block.follows and printed is not None, block, "shows output, but of what?")
            compare(block, block.code, printed or "")
            printed = None
            continue
        printed = None
        if block.language == "python":
            printed = run_python(block, namespace)
            shown = following is not None and following.language == "text" and following.follows
            need(shown or not printed, block, f"prints what the page does not show:\n{printed}")
        elif block.language == "console":
            run_console(block)
        elif not re.fullmatch(r"\{[\w-]+\}.*", block.language):
            need(block.language == "cfg", block, f"a block of {block.language!r} is not run")
            parse_cfg(block.code)
    return len(blocks)


def run_python(block: Fence, namespace: dict[str, Any]) -> str:
    """What it prints."""
    source = "\n" * block.line + block.code  # so that a traceback names the page's own lines
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, block.page, "exec"), namespace)
    return out.getvalue()


def run_console(block: Fence) -> None:
    """Each command, and what stands under it."""
    shown = list(commands(block))
    status = 0
    for (command, expected), (following, _) in zip_longest(shown, shown[1:], fillvalue=("", "")):
        if command == LAST_STATUS:
            compare(block, expected, f"{status}\n")
            continue
        status, written = run_command(block, command)
        compare(block, expected, written)
        need(
            status == 0 or "error:" in expected or following == LAST_STATUS,
            block,
            f"exit status {status}",
        )


def run_command(block: Fence, command: str) -> tuple[int, str]:
    """(exit status, what it writes)."""
    program, *words = shlex.split(command)
    known = {"python": [sys.executable], "darknet-builder": PROGRAM}
    need(program in known, block, f"{program} is not run; begin with {' or '.join(known)}")
    if program == "python" and words[0].endswith(".py"):
        return run_here(lambda: run_script(words))
    starts_processes = words[:1] == ["train"] and "--workers 0" not in command
    if program == "darknet-builder" and not starts_processes:
        return run_here(lambda: cli.main(words))
    result = subprocess.run(
        [*known[program], *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout


def run_script(words: list[str]) -> int:
    """``python scripts/NAME.py ...``; returns no exit status other than 0."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words)
        runpy.run_path(words[0], run_name="__main__")
    return 0


def run_here(run: Callable[[], int]) -> tuple[int, str]:
    """A program without the seconds that importing PyTorch takes, and with its own seed."""
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        warnings.catch_warnings(),
        torch.random.fork_rng(),
    ):
        # As in a process of its own; the suite makes errors of some.
        warnings.simplefilter("default")
        try:
            status = run()
        except SystemExit as end:  # a script's, or argparse's after --help or a wrong option
            status = int(end.code or 0)
    return status, out.getvalue()


def commands(block: Fence) -> Iterator[tuple[str, str]]:
    """(command, what is shown under it)."""
    parts = re.split(r"^\$ (.*)\n", block.code, flags=re.MULTILINE)
    need(len(parts) > 1 and not parts[0].strip(), block, "begin with a command after '$ '")
    yield from zip(parts[1::2], parts[2::2], strict=True)


def compare(block: Fence, expected: str, got: str) -> None:
    """Equal, but for ``...`` in ``expected``."""
    flags = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1 | doctest.DONT_ACCEPT_BLANKLINE
    same = doctest.OutputChecker().check_output(expected, got, flags)
    need(same, block, f"expected\n{expected}\ngot\n{got}")


# ---- the pages -----------------------------------------------------------------------------------


def _with_mark(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.pack) if name in LONG else name


@pytest.mark.parametrize("name", [_with_mark(name) for name in NAMES])
def test_page(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / name
    english = page.with_name(page.name.replace(".zh-CN.md", ".md"))
    if english != page:
        # A translation has the code and outputs of the English page, which this test runs.
        assert code_of(page) == code_of(english) != []
        return
    monkeypatch.chdir(ROOT)
    keep_opencv_names(monkeypatch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        check_page(name, (ROOT / name).read_text(encoding="utf-8"))


def test_there_are_pages() -> None:
    assert {
        "README.md",
        "README.zh-CN.md",
        "docs/detect.md",
        "docs/lessons.md",
        "docs/lessons.zh-CN.md",
        "docs/reference/networks.md",
    } <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    targets += re.findall(r'(?:src|srcset)="([^":]+)"', text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("command", ["detect", "evaluate", "serve"])
def test_every_option_has_its_place(command: str) -> None:
    page = (ROOT / "docs" / f"{command}.md").read_text(encoding="utf-8")
    options = set(
        re.findall(r"--[a-z][a-z-]+", run_here(lambda: cli.main([command, "--help"]))[1])
    ) - {"--help"}
    assert {option for option in options if f"`{option}" not in page} == set()


# ---- that the runner would notice ----------------------------------------------------------------

GOOD = """\
```python
x = 1
print(x)
```

```text
1
```

```python
x += 1
```

Words.

```console
$ python -c "print('a'); print('b')"
a
...
$ python -c "pass"
```

```console
$ darknet-builder dump no.cfg
darknet-builder: error: no.cfg: no such cfg file
$ darknet-builder classify --threshold
...
$ echo $?
2
```

```{toctree}
page
```

```cfg
[net]
width=8
```

<!-- not run: needs a GPU -->
```sh
rm -rf /
```
"""


def test_a_good_page() -> None:
    assert check_page("page", GOOD) == 7


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("```text\n1\n", "```text\n2\n", "page:6: expected\n2\n\ngot\n1\n"),
        ("```text\n1\n```\n", "", "page:1: prints what the page does not show:\n1\n"),
        (
            "```\n\n```text",
            "```\n\nIt prints:\n\n```text",
            "page:1: prints what the page does not show:\n1\n",
        ),
        ("x += 1\n```\n", "x += 1\n```\n\n```text\n7\n```\n", "page:14: expected\n7\n\ngot\n"),
        (
            "x += 1\n```\n",
            "x += 1\n```\n\n\nWords.\n\n```text\n7\n```\n",
            "page:17: shows output, but of what?",
        ),
        ("a\n...\n", "a\nc\n", "page:16: expected\na\nc\n\ngot\na\nb\n"),
        ('$ python -c "pass"', '$ python -c "import sys; sys.exit(3)"', "page:16: exit status 3"),
        (
            '$ python -c "pass"',
            "$ rm x",
            "page:16: rm is not run; begin with python or darknet-builder",
        ),
        (
            "$ python -c \"print('a'); print('b')\"\n",
            "",
            "page:16: begin with a command after '$ '",
        ),
        ("$ echo $?\n2\n", "$ echo $?\n1\n", "page:23: expected\n1\n\ngot\n2\n"),
        ("$ echo $?\n2\n", "", "page:23: exit status 2"),
        ("<!-- not run: needs a GPU -->\n", "", "page:41: a block of 'sh' is not run"),
    ],
)
def test_a_bad_page(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(PageError) as caught:
        check_page("page", GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(message)


def test_a_block_that_needs_a_package() -> None:
    block = "<!-- needs NAME -->\n```python\nprint(1)\n```\n\n```text\n2\n```\n"
    assert check_page("page", block.replace("NAME", "no_such_package")) == 0
    with pytest.raises(PageError, match="^page:6: expected\n2\n"):
        check_page("page", block.replace("NAME", "numpy"))


def test_code_that_fails_names_the_pages_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        check_page("page", GOOD.replace("x += 1", "x / 0"))
    last = caught.traceback[-1]
    assert (str(last.path).endswith("page"), last.lineno + 1) == (True, 11)
