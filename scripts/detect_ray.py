"""Find objects in the images of a folder or a bucket with Ray Data, and write them as Parquet."""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it starts

import ray

from darknet_builder import BatchDetector, arrow_table


class Finder(BatchDetector):
    """A detector whose columns have the same types in every block."""

    def __call__(self, columns: Any) -> Any:
        """Return the rows of a batch."""
        return arrow_table(super().__call__(columns))


def main() -> None:
    """Run on the cluster of RAY_ADDRESS; without one, start one on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder with images, such as s3://bucket/photos/")
    parser.add_argument("output", help="folder for the Parquet files, on storage that all see")
    parser.add_argument("--model", default="shapes", help="model's name or folder")
    parser.add_argument("--workers", type=int, help="number of actors (default: all CPUs but one)")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each actor, 0.5 for a half")
    parser.add_argument("--batch", type=int, default=8, help="images in a call of the network")
    args = parser.parse_args()
    if not ray.is_initialized():
        ray.init()
    # Reading needs a CPU of its own; without one, the actors would wait for images forever.
    workers = args.workers or max(1, int(ray.cluster_resources()["CPU"]) - 1)
    images = ray.data.read_binary_files(args.source, include_paths=True)
    found = images.map_batches(
        Finder,
        fn_constructor_args=[args.model],
        fn_constructor_kwargs={"device": "cuda" if args.gpus else "cpu", "batch": args.batch},
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=args.gpus,
        batch_size=64,
    )
    found.write_parquet(args.output)


if __name__ == "__main__":
    main()
