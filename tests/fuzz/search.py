"""Search for files that a reader neither accepts nor refuses: ``python -m tests.fuzz.search cfg``.

Atheris changes the valid files of a reader, and keeps each change that reaches new lines of the
package. It stops at the first error that is not one of the package's own, and writes the file that
caused it to ``crash-...``. Atheris is no dependency of the project: ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("reader", help="a key of READERS, such as cfg")
    parser.add_argument("--seconds", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--corpus", metavar="DIR", help="folder that keeps inputs for another run")
    return parser.parse_args()


def main() -> None:
    """Search until the time is over or an error is found."""
    args = parse_arguments()
    import atheris  # type: ignore[import-not-found]
    import cv2  # noqa: F401 - not instrumented: they only take time
    import torch  # noqa: F401

    with atheris.instrument_imports(include=["darknet_builder"]):
        from tests.fuzz.readers import READERS

    reader = READERS[args.reader]
    corpus = Path(args.corpus or tempfile.mkdtemp())
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in reader.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    # In memory where there is such a folder: every input is written once.
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - a private folder in it
    path = Path(tempfile.mkdtemp(dir=fast)) / f"input{reader.suffix}"

    def try_input(data: bytes) -> Any:
        path.write_bytes(data)
        reader.check(path)

    options = [f"-max_total_time={args.seconds}", "-timeout=60", "-rss_limit_mb=3000"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
