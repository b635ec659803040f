"""``detect --shards``: process a list that does not fit in memory, and resume where it stopped.

The list is divided into blocks of ``PART_LINES`` lines. Of N processes, each gets every N-th block.
The rows of a block are a part, a file that gets its name when it is complete. So every part that
exists is whole, and any number of processes can resume.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.boxes.records import Record
from darknet_builder.cfg.parser import format_cfg
from darknet_builder.cli.detection.detector import make_detector
from darknet_builder.cli.detection.result import DetectionResult, SourceResult
from darknet_builder.cli.detection.rules import DetectionRules
from darknet_builder.cli.detection.shard_folder import ShardFolder
from darknet_builder.cli.detection.tile_options import tile_arguments
from darknet_builder.cli.model import describe_choice, take_named
from darknet_builder.cli.progress import Progress
from darknet_builder.data.image_list import filled_lines, numbered_lines
from darknet_builder.errors import DataError, InputError, TruncatedImageWarning
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.pipeline import Outcome, Unreadable, stream
from darknet_builder.support.distributed import ProcessGroup, init_processes
from darknet_builder.support.web.remote import FilePath, RemoteFile, file_at

PART_LINES = 1000
"""Lines of the list in a part. A process that is killed loses this number of images at most."""
_FORMAT = 1
"""Changes when a row gets other columns."""
_LIST = "@"
_SETTINGS = (
    "threshold", "nms", "resize", "width", "height", "dialect", "precision", "backend", "tile",
    "overlap", "tile_full", "classes", "min_size",
)  # fmt: skip
"""Options on which rows depend. ``--device`` and ``--batch`` change last digits alone."""
_OTHER_RESULTS = (
    "json", "save_json", "save_txt", "save_csv", "save_jsonl", "count", "save_crops", "blur",
    "pixelate", "heatmap", "report", "track", "show",
)  # fmt: skip


def check_shards(args: argparse.Namespace) -> FilePath:
    """Return the list to process.

    Args:
        args: the parsed arguments of ``detect``.

    Raises:
        DarknetError: if another option does not go with ``--shards``, or the list is wrong.
    """
    if len(args.source) != 1 or not args.source[0].startswith(_LIST):
        raise InputError("--shards: expected one list as the only source, @FILE")
    for name in _OTHER_RESULTS:
        if getattr(args, name) not in (None, False, []):
            raise InputError(f"--{name.replace('_', '-')}: not possible with --shards")
    path = file_at(args.source[0].removeprefix(_LIST))
    if next(listed_lines(path), None) is None:
        raise DataError("names no images", path=path, hint="expected one path a line")
    return path


def listed_lines(path: FilePath) -> Iterator[str]:
    """Yield the lines of a list that are not blank, without reading it whole.

    Args:
        path: the list; one at an address is read whole.

    Raises:
        DataError: if it cannot be read.
    """
    kind = "a list of images"
    if isinstance(path, RemoteFile):
        yield from (line for _, line in numbered_lines(path, kind))
        return
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (line for _, line in filled_lines(file))
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", path=path, hint=f"expected {kind}") from None


def run_shards(args: argparse.Namespace, path: FilePath, out: TextIO) -> int:
    """Process the list; return 1 if an image could not be read, else 0.

    Args:
        args: the parsed arguments of ``detect``.
        path: the list, from ``check_shards``.
        out: stream for the summary.

    Raises:
        DarknetError: if the model is wrong, or the folder belongs to another run.
    """
    names = take_named(args, needs_names=args.names is None)
    args.names = args.names or names
    folder = ShardFolder(Path(args.shards))
    with ExitStack() as stack:
        group = stack.enter_context(init_processes(args.device))
        detector = make_detector(args, group.device, tile_arguments(args))
        rules = DetectionRules.from_options(args, detector.names)
        description, blocks = describe_run(args, detector, path)
        if group.is_main:
            stack.enter_context(folder.locked())
            folder.open(description, resume=args.resume)
        group.barrier()
        mine = range(group.rank, blocks, group.world_size)
        todo = [block for block in mine if not folder.part(block).exists()]
        quiet = args.quiet or not group.is_main
        progress = stack.enter_context(
            Progress(len(todo) * PART_LINES, "image", quiet=quiet, out=out)
        )
        if line := describe_choice(args, detector.runner):
            progress.say(line)
        return ShardJob(detector, rules, folder, progress, group).run(path, todo)


def describe_run(
    args: argparse.Namespace, detector: Detector, path: FilePath
) -> tuple[dict[str, Any], int]:
    """Return what rows depend on, as values that JSON can hold, and the number of blocks.

    Args:
        args: the parsed arguments of ``detect``.
        detector: the loaded detector.
        path: the list.
    """
    content, count = hashlib.sha256(), 0
    for line in listed_lines(path):
        content.update(line.encode() + b"\n")
        count += 1
    weights = hashlib.sha256()
    for tensor in detector.network.state_dict().values():
        weights.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    cfg = format_cfg(detector.network.blocks)
    description = {
        "format": _FORMAT,
        "part_lines": PART_LINES,
        "list": content.hexdigest(),
        "network": hashlib.sha256(cfg.encode()).hexdigest(),
        "weights": weights.hexdigest(),
        "names": list(detector.names),
        **{name: getattr(args, name) for name in _SETTINGS},
    }
    plain: dict[str, Any] = json.loads(json.dumps(description))  # a tuple becomes a list
    return plain, -(-count // PART_LINES)


@dataclass
class ShardJob:
    """One process's share of the blocks of a list.

    Attributes:
        detector: finds the objects.
        rules: which objects to keep.
        folder: gets the parts.
        progress: shows the summary and the progress bar.
        group: the processes that share the work.
        result: what this process has found, without the objects themselves.
    """

    detector: Detector
    rules: DetectionRules
    folder: ShardFolder
    progress: Progress
    group: ProcessGroup
    result: SourceResult = field(default_factory=SourceResult)

    def run(self, path: FilePath, todo: Sequence[int]) -> int:
        """Write the part of each block; return the exit status of ``detect``.

        Args:
            path: the list.
            todo: numbers of the blocks, ascending.
        """
        started, num_truncated = time.perf_counter(), 0
        with noting_truncated(quietly=True) as truncated:
            # By default, Python remembers each warning, so that it is shown once.
            warnings.simplefilter("always", TruncatedImageWarning)
            sources = _sources(path, frozenset(todo))
            expected = len(todo) * PART_LINES
            with closing(stream(self.detector, sources, expected=expected)) as outcomes:
                for block in todo:
                    self._write_part(block, islice(outcomes, PART_LINES))
                    while truncated:  # one by one: the threads that read ahead may add others
                        truncated.pop()
                        num_truncated += 1
        return self._finish(time.perf_counter() - started, num_truncated)

    def _write_part(self, block: int, outcomes: Iterable[Outcome | Unreadable]) -> None:
        with self.folder.writing_part(block) as add:
            for outcome in outcomes:
                add(self._row(outcome))
                self.progress.advance()

    def _row(self, outcome: Outcome | Unreadable) -> dict[str, Any]:
        """Count an image, and return its line."""
        if isinstance(outcome, Unreadable):
            self.result.failures += 1
            parts = filter(None, (outcome.error.message, outcome.error.hint))
            return {"file": str(outcome.source), "error": "; ".join(parts)}
        shown = self.rules.apply(outcome).detections.shown()
        self.result.images += 1
        self.result.counts.update(shown.labels)
        return Record(str(outcome.source), shown).to_dict()

    def _finish(self, seconds: float, num_truncated: int) -> int:
        """Show the summary of all processes, and return the exit status."""
        results = self.group.gather([self.result])
        whole = DetectionResult(results, seconds, sum(self.group.gather([num_truncated])))
        if self.group.is_main:
            self.progress.say(f"{whole.summary()}; saved in {self.folder.path}")
        return 1 if whole.failures else 0


def _sources(path: FilePath, blocks: frozenset[int]) -> Iterator[FilePath]:
    """Yield the images of some blocks of a list, in order."""
    for index, line in enumerate(listed_lines(path)):
        if index // PART_LINES in blocks:
            yield file_at(line)
