"""Change the package in one place at a time, and list the changes that no test notices.

``python scripts/mutants.py boxes`` tries every change of a room: an operator replaced by its
opposite or its neighbour, a number one larger or smaller, a condition inverted, a decorator
removed. cosmic-ray makes the changes; it is no dependency of the project: ``pip install
cosmic-ray``. It starts a new Python for each change, though, which takes seconds to import PyTorch.
This script imports PyTorch once, and the tests too. A child process per change (``os.fork``, so
this needs Linux or macOS) replaces the code of the changed function and runs the tests that reach
the changed line, the fastest first. Changes of what runs at import, such as a default value, are
slower: their child imports the package itself.

Every change is one line of JSON in the output, with its outcome:

- noticed: a test failed, did not end, or took too much memory;
- not noticed: every test that reaches the line passed, or the seconds for one change were over;
- not covered: no test reaches the line;
- no effect: the compiled code is the same.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import importlib.machinery
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "darknet_builder"
ROOMS = {
    "cfg": ("cfg", "tests/cfg"),
    "weights": ("weights", "tests/weights"),
    "boxes": ("boxes", "tests/boxes tests/prediction/test_postprocessing.py"),
    "postprocessing": (
        "prediction/postprocessing.py",
        "tests/prediction/test_postprocessing.py tests/boxes",
    ),
    "losses": ("losses", "tests/losses"),
    "layers": ("layers", "tests/layers tests/network/test_parity.py"),
}
"""What is changed, and the tests that are to notice."""
NEAR = {
    "Add": "Sub Mul", "Sub": "Add Mul", "Mul": "Div Add", "Div": "Mul FloorDiv",
    "FloorDiv": "Div Mul", "Mod": "FloorDiv Mul", "Pow": "Mul", "LShift": "RShift",
    "RShift": "LShift", "BitOr": "BitAnd BitXor", "BitAnd": "BitOr", "BitXor": "BitOr",
    "Eq": "NotEq", "NotEq": "Eq", "Lt": "LtE GtE", "LtE": "Lt Gt", "Gt": "GtE LtE", "GtE": "Gt Lt",
    "Is": "IsNot", "IsNot": "Is",
}  # fmt: skip
"""The replacements tried of each operator. cosmic-ray's others, such as a shift of floats, raise
a TypeError at once."""
MEMORY = 4 * 2**30
"""Bytes that a change may take above what the imported tests take."""
SLOW = 3.0
"""Tests of more seconds than this are run only where a line has no other."""
MOST = 60
"""Tests of either kind, for a change of what runs at import; their files are imported again."""


@dataclass
class Change:
    """One change of one file, and what became of it."""

    path: str
    line: int
    column: int
    operator: str
    occurrence: int
    before: str = ""
    after: str = ""
    outcome: str = ""
    seconds: float = 0.0
    tests: int = 0

    @property
    def key(self) -> tuple[str, int, int, str, int]:
        """What tells it from the others of an unchanged file."""
        return self.path, self.line, self.column, self.operator, self.occurrence


@dataclass
class Measured:
    """What the unchanged tests do."""

    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    reached: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """For each file and line the tests that reach it; "" is the import."""


# ---- changes -------------------------------------------------------------------------------------


def near(name: str) -> bool:
    """Whether an operator of cosmic-ray is tried: see NEAR."""
    kind, _, rest = name.partition("/")[2].partition("Operator_")
    if kind in ("ReplaceBinary", "ReplaceComparison"):
        old, new = rest.split("_")
        return new in NEAR.get(old, "").split()
    if kind == "ReplaceUnary":
        return rest.startswith("Delete_")
    return "/Variable" not in name  # they need the names of variables


class Source:
    """A file of the package and its changes."""

    def __init__(self, path: Path) -> None:
        from cosmic_ray.ast import get_ast

        self.path = path
        self.text = path.read_text()
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text)
        self.code = self.compiled(self.text)
        self._parsed = pickle.dumps(get_ast(self.text))

    def compiled(self, text: str) -> CodeType:
        """Compile a changed text under the file's name."""
        code: CodeType = compile(text, str(self.path), "exec", dont_inherit=True)
        return code

    def changes(self, operators: dict[str, Any]) -> Iterator[Change]:
        """Yield every change but those of annotations, which Python does not evaluate."""
        annotations = [_range(node) for node in _annotations(self.tree)]
        nodes = list(_walk(pickle.loads(self._parsed)))
        for name, operator in operators.items():
            places = [place for node in nodes for place in operator.mutation_positions(node)]
            for occurrence, (start, _) in enumerate(places):
                star = self.lines[start[0] - 1][start[1] :].startswith("*,")  # no operator
                if not star and not any(first <= start < last for first, last in annotations):
                    path = self.path.relative_to(ROOT).as_posix()
                    yield Change(path, start[0], start[1], name, occurrence)

    def changed(self, change: Change, operators: dict[str, Any]) -> str:
        """Return the changed text of the file."""
        from cosmic_ray.mutating import MutationVisitor

        visitor = MutationVisitor(change.occurrence, operators[change.operator])
        text: str = visitor.walk(pickle.loads(self._parsed)).get_code()
        change.before = self.lines[change.line - 1].strip()
        change.after = (text.splitlines() + [""])[change.line - 1].strip()
        return text

    def lines_of(self, line: int, *, outermost: bool = False) -> range:
        """Return the lines of the statement at ``line``, of a compound one those of its head."""
        found = range(line, line + 1)
        for node in ast.walk(self.tree):
            first = getattr(node, "lineno", 0)
            decorators = getattr(node, "decorator_list", [])
            first = min([first, *(decorator.lineno for decorator in decorators)])
            if isinstance(node, ast.stmt) and first <= line <= (node.end_lineno or first):
                body: list[ast.stmt] = getattr(node, "body", [])
                if outermost:
                    return range(first, (node.end_lineno or first) + 1)
                found = range(first, body[0].lineno if body else (node.end_lineno or first) + 1)
                if line not in found:  # in the body: a smaller statement follows
                    found = range(line, line + 1)
        return found


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", ()):
        yield from _walk(child)


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns:
            yield node.returns
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
            yield node.annotation


def _range(node: ast.expr) -> tuple[tuple[int, int], tuple[int, int]]:
    last = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return (node.lineno, node.col_offset), last


# ---- compiled code -------------------------------------------------------------------------------


def difference(old: CodeType, new: CodeType) -> tuple[CodeType, CodeType] | None:
    """Return the outermost function that differs, or the module or class; None if none does."""
    if _facts(old) != _facts(new):
        return old, new
    for one, other in zip(_inner(old), _inner(new), strict=True):
        found = difference(one, other)
        if found is not None:
            return found if not one.co_flags & 0x1 else (one, other)  # CO_OPTIMIZED: a function
    return None


def _inner(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _facts(code: CodeType) -> tuple[Any, ...]:
    """Everything that runs, without the places in the text."""
    consts = [repr(const) for const in code.co_consts if not isinstance(const, CodeType)]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, consts, names, code.co_flags, len(_inner(code))


def live_functions() -> dict[CodeType, list[FunctionType]]:
    """Return the functions of the package by their code; equal code has equal lines."""
    found: dict[CodeType, list[FunctionType]] = {}
    for item in gc.get_objects():
        if isinstance(item, FunctionType) and item.__code__.co_filename.startswith(str(PACKAGE)):
            found.setdefault(item.__code__, []).append(item)
    return found


# ---- tests ---------------------------------------------------------------------------------------


class Measure:
    """A pytest plugin that records time, outcome and reached lines of each test."""

    def __init__(self, cov: coverage.Coverage) -> None:
        self.coverage = cov
        self.result = Measured()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Record under the test's name."""
        self.coverage.switch_context(item.nodeid)
        start = time.process_time()
        yield
        self.result.seconds[item.nodeid] = time.process_time() - start
        self.coverage.switch_context("after")  # a test must not reach what follows it

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave out what fails or is skipped without any change."""
        if not report.passed:
            self.result.failed.add(report.nodeid)


class Tries:
    """A pytest plugin that hands the collected tests to ``work`` instead of running them."""

    def __init__(self, work: Callable[[dict[str, pytest.Item]], None]) -> None:
        self.work = work

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Take the place of pytest's loop."""
        self.work({item.nodeid: item for item in session.items})
        os._exit(0)  # neither a summary nor a status "no tests ran"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End the child at the first failure."""
        if report.failed:
            os._exit(1)


def run_pytest(arguments: Sequence[str], plugin: object) -> None:
    """Run pytest, quietly and without tracebacks."""
    options = ["-p", "no:cacheprovider", "--no-summary", "-qq", "--tb=native"]
    options += ["-m", "not pack and not extras"]
    status = pytest.main([*options, *arguments], plugins=[plugin])
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        raise RuntimeError("pytest could not run the tests")


def run_tests(
    items: Sequence[pytest.Item],
    limits: dict[str, float],
    seconds: float,
    started: Callable[[str], object] = str,
) -> None:
    """Run tests in a child until one fails: the child then ends itself with another status.

    A test that takes far longer than without a change is ended by a signal, and the child with it.
    """
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    end = time.process_time() + seconds
    for number, item in enumerate(items):
        if time.process_time() > end:
            break
        started(item.nodeid)
        following = items[number + 1] if number + 1 < len(items) else None
        signal.setitimer(signal.ITIMER_PROF, 2 + 5 * limits[item.nodeid])  # of this process
        signal.setitimer(signal.ITIMER_REAL, 60 + 20 * limits[item.nodeid])  # it may wait for ever
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def in_child(work: Callable[[], object], *, quiet: bool = True) -> bool:
    """Run ``work`` in a child process; return whether it ended as it should."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        ended = os.waitpid(child, 0)[1] == 0
        with suppress(OSError):
            os.killpg(child, signal.SIGKILL)  # what a test started
        shutil.rmtree(Path(tempfile.gettempdir(), f"mutant-{child}"), ignore_errors=True)
        return ended
    status = 1
    try:
        os.setpgid(0, 0)
        if quiet:
            _make_quiet()
        work()
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _make_quiet() -> None:
    folder = Path(tempfile.gettempdir(), f"mutant-{os.getpid()}")
    folder.mkdir()
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)  # pytest's name for where tmp_path is
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)


# ---- the three parts of the work -----------------------------------------------------------------


def measure(files: Sequence[Path], tests: Sequence[str], result: Path) -> None:
    """Run the unchanged tests and write what they reach."""
    cov = coverage.Coverage(
        data_file=None, include=[str(path) for path in files], config_file=False
    )
    cov.start()
    plugin = Measure(cov)
    run_pytest(tests, plugin)
    cov.stop()
    data = cov.get_data()
    for path in data.measured_files():
        plugin.result.reached[path] = data.contexts_by_lineno(path)
    result.write_bytes(pickle.dumps(plugin.result))


class Trial:
    """All changes of a room."""

    def __init__(
        self, sources: dict[str, Source], operators: dict[str, Any], measured: Measured
    ) -> None:
        self.sources, self.operators, self.measured = sources, operators, measured
        reached = [names for lines in measured.reached.values() for names in lines.values()]
        tests = measured.seconds.keys() - measured.failed
        tests -= {name for names in reached for name in names}
        self.only_looking = sorted(tests, key=measured.seconds.__getitem__)

    def tests_of(self, change: Change, *, at_import: bool) -> list[str]:
        """Return the tests that reach a changed line, the fastest first.

        A line that runs at import is not reached by any test; the other lines of its class or
        function tell which tests use it, or those of the whole file. Tests that reach no line of
        the room look at what the import made, such as default values.
        """
        source = self.sources[change.path]
        lines: list[Sequence[int]] = [source.lines_of(change.line)]
        if at_import:
            whole = range(1, len(source.lines) + 1)
            lines += [source.lines_of(change.line, outermost=True), whole]
        reached = self.measured.reached.get(str(source.path), {})
        found: list[str] = []
        for some in lines:
            names = {name for line in some for name in reached.get(line, [])}
            names &= self.measured.seconds.keys() - self.measured.failed
            found += sorted(names - set(found), key=self.measured.seconds.__getitem__)
        if at_import:
            found = [*found[:MOST], *self.only_looking[:MOST]]
        fast = [name for name in found if self.measured.seconds[name] < SLOW]
        return fast or found

    def runs_at_import(self, change: Change) -> bool:
        """Whether the changed statement, of a function too, runs when the package is imported."""
        source = self.sources[change.path]
        reached = self.measured.reached.get(str(source.path), {})
        return any("" in reached.get(line, ()) for line in source.lines_of(change.line))

    def try_functions(
        self, changes: Sequence[Change], seconds: float, end: float, done: Callable[[Change], None]
    ) -> Callable[[dict[str, pytest.Item]], None]:
        """Return the work of a process that has collected the tests."""

        def work(items: dict[str, pytest.Item]) -> None:
            for path in self.sources:
                importlib.import_module(
                    ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")
                )
            functions = live_functions()
            self._control(items)
            gc.freeze()  # so that a child's collection does not copy the parent's memory
            for change in changes:
                if time.time() < end:
                    self._try_function(change, items, functions, seconds)
                    done(change)

        return work

    def _control(self, items: dict[str, pytest.Item]) -> None:
        """Leave out tests that fail in a child process while nothing is changed."""
        names = items.keys() & self.measured.seconds.keys() - self.measured.failed
        left = [items[name] for name in items if name in names]
        with tempfile.NamedTemporaryFile("r+") as file:

            def started(name: str) -> None:
                file.write(f"{name}\n")
                file.flush()

            while not in_child(lambda: run_tests(left, self.measured.seconds, 5, started)):
                file.seek(0)
                name = file.read().splitlines()[-1]
                print("fails in a child process:", name)
                self.measured.failed.add(name)
                del left[: [item.nodeid for item in left].index(name) + 1]

    def _try_function(
        self,
        change: Change,
        items: dict[str, pytest.Item],
        functions: dict[CodeType, list[FunctionType]],
        seconds: float,
    ) -> None:
        source = self.sources[change.path]
        start = time.monotonic()
        try:
            new = source.compiled(source.changed(change, self.operators))
        except (SyntaxError, AttributeError):  # cosmic-ray fails at "except a.b.Error"
            change.outcome = "no effect"
            return
        pair = difference(source.code, new)
        if pair is None:
            change.outcome = "no effect"
            return
        live = [] if self.runs_at_import(change) else functions.get(pair[0], [])
        if not live or len(pair[0].co_freevars) != len(pair[1].co_freevars):
            change.outcome = "at import"
            return
        tests = [name for name in self.tests_of(change, at_import=False) if name in items]
        change.tests = len(tests)

        def work() -> None:
            for function in live:
                function.__code__ = pair[1]
            run_tests([items[name] for name in tests], self.measured.seconds, seconds)

        change.outcome = "not noticed" if in_child(work) else "noticed"
        if not tests:
            change.outcome = "not covered"
        change.seconds = round(time.monotonic() - start, 2)

    def try_at_import(self, change: Change, seconds: float) -> None:
        """Try a change of what runs at import: the child imports the package changed."""
        source = self.sources[change.path]
        text = source.changed(change, self.operators)
        names = self.tests_of(change, at_import=True)
        start = time.monotonic()
        loader = importlib.machinery.SourceFileLoader
        get_code = loader.get_code

        def changed_code(self: Any, fullname: str) -> CodeType | None:
            if self.path == str(source.path):
                return source.compiled(text)
            return get_code(self, fullname)

        def run(items: dict[str, pytest.Item]) -> None:
            tests = [items[name] for name in names if name in items]
            if not tests:
                os._exit(1)
            run_tests(tests, self.measured.seconds, seconds)
            os._exit(0)

        def work() -> None:
            loader.get_code = changed_code  # type: ignore[method-assign]
            signal.setitimer(signal.ITIMER_REAL, 300)
            run_pytest(sorted({name.split("::")[0] for name in names}), Tries(run))
            os._exit(1)  # the tests could not be collected

        change.tests = len(names)
        change.outcome = "not noticed" if in_child(work) else "noticed"
        if not names:
            change.outcome = "not covered"
        change.seconds = round(time.monotonic() - start, 2)


# ---- the command ---------------------------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--sample", type=int, metavar="N", help="try N random changes")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=2,
        help="processor time of the tests of one change (default: %(default)s)",
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="end after this time")
    parser.add_argument("--only", default="", help="part of the path of the files to change")
    parser.add_argument("--again", type=Path, help="output of another run: what was not noticed")
    parser.add_argument("--tests", nargs="+", help="files of tests instead of the room's")
    parser.add_argument("--output", type=Path, help="default: mutants-ROOM.jsonl")
    return parser.parse_args()


def chosen(args: argparse.Namespace, changes: list[Change]) -> list[Change]:
    """Return the changes to try."""
    if args.again:
        lines = [Change(**json.loads(line)) for line in args.again.read_text().splitlines()]
        keys = {line.key for line in lines if line.outcome.startswith("not ")}
        changes = [change for change in changes if change.key in keys]
    random.Random(args.seed).shuffle(changes)
    return changes[: args.sample]


def examples(path: Path) -> str:
    """Return the test of a file's docstring examples."""
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return f"tests/test_examples.py::test_examples[{module}]"


def summary(changes: Sequence[Change]) -> str:
    """Count the outcomes of each file."""
    outcomes = ("noticed", "not noticed", "not covered", "no effect")
    lines = [" ".join(f"{outcome:>12}" for outcome in ("tried", *outcomes))]
    for path in [*sorted({change.path for change in changes}), ""]:
        some = Counter(change.outcome for change in changes if path in ("", change.path))
        row = [sum(some.values()), *(some[outcome] for outcome in outcomes)]
        lines.append(" ".join(f"{count:12}" for count in row) + f"  {path or 'together'}")
    return "\n".join(lines)


def main() -> None:
    """Try the changes of a room."""
    args = parse_arguments()
    import cv2  # noqa: F401 - in the parent of all children, once
    import torch  # noqa: F401
    from cosmic_ray.plugins import get_operator, operator_names

    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    place, room_tests = ROOMS[args.room]
    files = [PACKAGE / place] if place.endswith(".py") else sorted((PACKAGE / place).rglob("*.py"))
    examples_of = [examples(path) for path in files if path.stem != "__init__"]
    tests = args.tests or [*room_tests.split(), *examples_of]
    operators = {name: get_operator(name)() for name in operator_names() if near(name)}
    changed = [path for path in files if args.only in str(path)]
    sources = {path.relative_to(ROOT).as_posix(): Source(path) for path in changed}
    changes = [item for source in sources.values() for item in source.changes(operators)]
    changes = chosen(args, changes)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "measured")
        in_child(lambda: measure(files, tests, found), quiet=False)
        trial = Trial(sources, operators, pickle.loads(found.read_bytes()))
        output = args.output or Path(f"mutants-{args.room}.jsonl")
        try_all(trial, changes, args, output, tests)
    changes = [Change(**json.loads(line)) for line in output.read_text().splitlines()]
    print(summary(changes))


def try_all(
    trial: Trial, changes: list[Change], args: argparse.Namespace, output: Path, tests: list[str]
) -> None:
    """Try changes of functions in children of one process with the tests, then the others."""
    with output.open("w", buffering=1) as file, tempfile.TemporaryFile("w+") as later:

        def done(change: Change) -> None:
            place = later if change.outcome == "at import" else file
            print(json.dumps(asdict(change)), file=place, flush=True)

        end = time.time() + 60 * args.minutes
        plugin = Tries(trial.try_functions(changes, args.seconds, end - 15 * args.minutes, done))
        if not in_child(lambda: run_pytest(tests, plugin), quiet=False):
            sys.exit("the tests could not be run")
        later.seek(0)
        for line in later.read().splitlines():
            change = Change(**json.loads(line))
            if time.time() < end:
                trial.try_at_import(change, args.seconds)
                done(change)


if __name__ == "__main__":
    main()
