"""Detect or train for a long time, and show that memory, open files and threads do not grow.

``python scripts/soak.py images --count 20000`` detects in drawn scenes with the bundled detector,
``python scripts/soak.py steps --count 2000`` trains its cfg on them. The exit status is 1 if the
memory grew by more than 2 % after the first fifth of the work, or if files or threads were added.
The usage is read from /proc, so this needs Linux.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from darknet_builder import (
    Detector,
    Trainer,
    TrainSettings,
    build_network,
    draw_scene,
    parse_cfg,
    write_image,
)
from darknet_builder.data.sample import Sample
from darknet_builder.prediction.pipeline import Outcome, stream
from darknet_builder.support.bundled import default_model
from darknet_builder.training.log.progress_line import ProgressLine
from darknet_builder.training.log.step_report import StepReport

FILES = 200
MOST_GROWTH = 0.02
PARTS = 10


class Usage(NamedTuple):
    """What this process holds."""

    megabytes: float
    files: int
    threads: int

    @classmethod
    def now(cls) -> Usage:
        """Read the usage."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return cls(megabytes, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))


class Scenes:
    """A data set that is drawn as it is needed."""

    def __len__(self) -> int:
        return FILES

    def sample(self, index: int) -> Sample:
        """Draw a scene and return it with its boxes."""
        scene = draw_scene(index, split="train")
        return Sample(scene.image, scene.boxes)

    def path(self, index: int) -> str:
        """Return a name for messages."""
        return f"scene {index}"


class Counter(ProgressLine):
    """A progress line that only counts the steps."""

    def __init__(self, total: int, finished: Callable[[int], None]) -> None:
        super().__init__(io.StringIO(), total)
        self.finished = finished

    def step(self, report: StepReport, average: float) -> None:
        """Report a finished step."""
        self.finished(report.iteration)

    def note(self, text: str) -> None:
        """Keep nothing."""


def detect(count: int, folder: Path, finished: Callable[[int], None]) -> None:
    """Detect in image files, as ``detect`` does."""
    paths = [folder / f"{index}.jpg" for index in range(FILES)]
    for index, path in enumerate(paths):
        write_image(path, draw_scene(index).image)
    detector = Detector("shapes", batch=4)
    images = islice(cycle(paths), count)
    for done, outcome in enumerate(stream(detector, images, expected=count), start=1):
        assert isinstance(outcome, Outcome), outcome
        finished(done)


def train(count: int, folder: Path, finished: Callable[[int], None]) -> None:
    """Train from random weights, and save 20 times."""
    net, *sections = parse_cfg(default_model()[0])
    network = build_network([net.with_option("max_batches", str(count)), *sections])
    settings = TrainSettings(folder, name="soak", eval_every=0, save_every=max(count // 20, 1))
    counter = Counter(count, finished)
    Trainer(network, Scenes(), settings, out=counter.out, progress=counter).run()


def main() -> int:
    """Print the usage after each tenth of the work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("images", "steps"))
    parser.add_argument("--count", type=int, default=20_000, help="default: %(default)s")
    args = parser.parse_args()
    usages: list[Usage] = []

    def finished(done: int) -> None:
        if done % max(args.count // PARTS, 1) == 0:
            usages.append(Usage.now())
            megabytes, files, threads = usages[-1]
            print(f"{done:,} {args.work}: {megabytes:.0f} MB, {files} files, {threads} threads")

    with tempfile.TemporaryDirectory() as folder:
        (detect if args.work == "images" else train)(args.count, Path(folder), finished)
    # The first parts fill caches.
    first, last = usages[len(usages) // 5 - 1], usages[-1]
    growth = last.megabytes / first.megabytes - 1
    files, threads = last.files - first.files, last.threads - first.threads
    print(f"since {args.count // 5:,}: memory {growth:+.1%}, files {files:+}, threads {threads:+}")
    return int(growth > MOST_GROWTH or files > 0 or threads > 0)


if __name__ == "__main__":
    sys.exit(main())
