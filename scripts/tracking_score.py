"""Measure the tracker on drawn videos with known identities, for docs/detect.md.

With ``--video FILE``, write one of these videos instead.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from darknet_builder import Detections, Detector, LineCounter, Tracker  # noqa: E402
from darknet_builder.support.extras import load_extra  # noqa: E402
from tests.helpers.moving_scenes import FPS, MovingFrame, MovingScene, line_counts  # noqa: E402

ROWS = ((0.25, 1), (0.1, 1), (0.25, 2), (0.25, 5))
"""Confidence threshold, and which frames are processed: every Nth."""
OBJECTS = 6


@dataclass
class Score:
    """Counts of several videos.

    Attributes:
        objects: number of objects in all videos.
        identities: number of identities that the tracker gave.
        clear: counts of the CLEAR metrics, and ``IDTP``, ``IDFN``, ``IDFP``.
        crossings: number of ``true`` crossings of the middle line, of those that were ``counted``,
            and of ``extra`` ones.
    """

    objects: int = 0
    identities: int = 0
    clear: Counter[str] = field(default_factory=Counter)
    crossings: Counter[str] = field(default_factory=Counter)

    def add(self, frames: Sequence[MovingFrame], found: Sequence[Detections]) -> None:
        """Add a video.

        Args:
            frames: the frames that were processed.
            found: the objects of each of them, with identities.
        """
        metrics = load_extra("trackers.eval", "track")
        truth = [frame.identities for frame in frames]
        tracked = [one[np.asarray(one.track_ids) > 0] for one in found]
        ids = [np.asarray(one.track_ids) for one in tracked]
        overlaps = [
            metrics.box_iou(frame.boxes_xyxy, one.boxes_xyxy)
            for frame, one in zip(frames, tracked, strict=True)
        ]
        for compute in (metrics.compute_clear_metrics, metrics.compute_identity_metrics):
            counts = compute(truth, ids, overlaps)
            self.clear.update({key: n for key, n in counts.items() if isinstance(n, int)})
        self.objects += len(np.unique(np.concatenate(truth)))
        self.identities += len(np.unique(np.concatenate(ids)))

    def row(self) -> list[str]:
        """Return the cells of a table."""
        n = self.clear
        mota = 1 - (n["CLR_FN"] + n["CLR_FP"] + n["IDSW"]) / (n["CLR_TP"] + n["CLR_FN"])
        idf1 = 2 * n["IDTP"] / (2 * n["IDTP"] + n["IDFP"] + n["IDFN"])
        lines = "{counted} of {true}, {extra} wrong".format(**self.crossings)
        return [f"{self.identities} for {self.objects}", str(n["IDSW"]), f"{idf1:.3f}"] + [
            f"{mota:.3f}",
            lines,
        ]


def track(found: Sequence[Detections], every: int, line: LineCounter) -> list[Detections]:
    """Return the objects of a video with identities, and count those that cross the line."""
    tracker = Tracker(FPS / every)
    tracked = [tracker.update(detections) for detections in found]
    for detections in tracked:
        line.update(detections)
    return tracked


def measure(videos: int, num_frames: int) -> list[str]:
    """Return the lines of the table."""
    detector = Detector("shapes", threshold=min(threshold for threshold, _ in ROWS), batch=8)
    scores = [Score() for _ in ROWS]
    for seed in range(videos):
        scene = MovingScene(seed, num_frames, OBJECTS)
        middle = (scene.size / 2, 0, scene.size / 2, scene.size)
        frames = list(scene.frames())
        found = detector([frame.image for frame in frames])
        true = line_counts(scene, frames, middle[0])
        near = line_counts(scene, frames, middle[0], margin=0)
        for score, (threshold, every) in zip(scores, ROWS, strict=True):
            line = LineCounter(middle)
            kept = [one[one.scores > threshold] for one in found[::every]]
            score.add(frames[::every], track(kept, every, line))
            counted = {key: sum(line.counts(key).values()) for key in true}
            score.crossings["true"] += sum(true.values())
            score.crossings["counted"] += sum(min(true[key], counted[key]) for key in true)
            score.crossings["extra"] += sum(max(0, counted[key] - near[key]) for key in true)
    lines = ["| threshold | frames | identities | switches | IDF1 | MOTA | crossings |"]
    lines.append("|---|---|---|---|---|---|---|")
    for score, (threshold, every) in zip(scores, ROWS, strict=True):
        frames_ = "all" if every == 1 else f"every {every}"
        lines.append(f"| {' | '.join([f'{threshold:g}', frames_, *score.row()])} |")
    return lines


def main() -> int:
    """Print a table in Markdown, or write a video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=100, help="of each; default: %(default)s")
    parser.add_argument("--video", metavar="FILE", help="write the video of --seed to this file")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=224, help="of --video; default: %(default)s")
    args = parser.parse_args()
    if args.video:
        MovingScene(args.seed, args.frames, OBJECTS, args.size).write(args.video)
        return 0
    print("\n".join(measure(args.videos, args.frames)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
