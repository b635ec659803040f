"""Measure ``darknet-builder serve`` on loopback: requests/s, waiting times, and a stop in between.

    python scripts/serve_load.py [--model NAME] [--image FILE] [--clients N ...] [--seconds S]

In each round, the network alone, a detector alone and every number of clients are measured one
after the other, so that other work on the machine affects all of them. The medians of the rounds
are printed. At last a server is stopped while all clients are at work.
"""

from __future__ import annotations

import argparse
import http.client
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from darknet_builder import Detector

ROOT = Path(__file__).resolve().parents[1]
HEADERS = {"Content-Type": "application/octet-stream"}
Server = tuple["subprocess.Popen[str]", int]


@dataclass
class Load:
    """What clients measured in one interval.

    Attributes:
        seconds: length of the interval.
        waits: seconds from a request to its answer.
        refused: number of connections that were refused or closed before a request was read.
        wrong: statuses other than 200.
    """

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    refused: int = 0
    wrong: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.waits) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        ranked = sorted(self.waits)
        return 1e3 * ranked[min(len(ranked) - 1, int(share * len(ranked)))]


@contextmanager
def serving(words: Sequence[str]) -> Iterator[Server]:
    """A server in a process of its own, and its port."""
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), *words, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = re.search(r":(\d+) \(stop", process.stdout.readline())
        assert port is not None, "the server did not start"
        yield process, int(port[1])
    finally:
        process.kill()
        process.wait()


def load(port: int, data: bytes, clients: int, seconds: float) -> Load:
    """Send the same image from several clients, each over one connection, for some seconds."""
    result, end = Load(), time.perf_counter() + seconds
    lock = threading.Lock()

    def work(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (start := time.perf_counter()) < end:
            try:
                connection.request("POST", "/detect", data, HEADERS)
                response = connection.getresponse()
                response.read()
            except (ConnectionError, http.client.CannotSendRequest):
                with lock:
                    result.refused += 1
                return
            with lock:
                if response.status == 200:
                    result.waits.append(time.perf_counter() - start)
                else:
                    result.wrong.append(response.status)
        connection.close()

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(work, range(clients)))
    result.seconds = time.perf_counter() - start
    return result


def rate_of(call: Callable[[], object], images: int, seconds: float) -> float:
    """Images a second of a function that processes some at a time."""
    call()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        done += images
    return done / (time.perf_counter() - start)


def measure(args: argparse.Namespace, data: bytes) -> None:
    """Print the table of rates and waiting times."""
    detector = Detector(args.model)
    x = detector.prepare(data).x
    one, many = x[None], torch.stack([x] * args.batch)
    alone: dict[str, list[float]] = {}
    loads: dict[int, list[Load]] = {count: [] for count in args.clients}
    with serving(["--model", args.model, "--batch", str(args.batch)]) as (_, port):
        load(port, data, max(args.clients), 1.0)
        for _ in range(args.rounds):
            for name, call, images in (
                ("network, batch 1", lambda: detector.raw_maps(one), 1),
                (f"network, batch {args.batch}", lambda: detector.raw_maps(many), args.batch),
                ("detector in one thread", lambda: detector(data), 1),
            ):
                alone.setdefault(name, []).append(rate_of(call, images, args.seconds / 2))
            for count in args.clients:
                loads[count].append(load(port, data, count, args.seconds))
    own = statistics.median(alone["network, batch 1"])
    print("| measured | images/s | of the network | p50 | p99 |\n|---|---|---|---|---|")
    for name, rates in alone.items():
        rate = statistics.median(rates)
        print(f"| {name} | {rate:.0f} | {rate / own:.2f} | | |")
    for count, runs in loads.items():
        rate = statistics.median(run.rate for run in runs)
        p50, p99 = (
            statistics.median(run.percentile(share) for run in runs) for share in (0.5, 0.99)
        )
        clients = "1 client" if count == 1 else f"{count} clients"
        print(f"| {clients} | {rate:.0f} | {rate / own:.2f} | {p50:.0f} ms | {p99:.0f} ms |")
        assert not any(run.wrong or run.refused for run in runs), runs


def stop(args: argparse.Namespace, data: bytes) -> None:
    """Stop a server while all clients are at work, and compare what both sides counted."""
    clients = max(args.clients)
    with serving(["--model", args.model, "--batch", str(args.batch)]) as (process, port):
        timer = threading.Timer(args.seconds / 2, process.send_signal, [signal.SIGTERM])
        timer.start()
        result = load(port, data, clients, args.seconds)
        output, _ = process.communicate(timeout=60)
    counted = int(output.split("; ")[-1].split()[0])
    print(
        f"\nstopped in the middle of the work of {clients} clients: {counted} images answered by"
        f" the server, {len(result.waits)} answers received, {counted - len(result.waits)} lost,"
        f" {len(result.wrong)} errors, exit status {process.returncode}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="shapes", help="name or folder of a model")
    parser.add_argument("--image", default=str(ROOT / "docs" / "images" / "scenes" / "scene-1.jpg"))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    data = Path(args.image).read_bytes()
    measure(args, data)
    stop(args, data)


if __name__ == "__main__":
    main()
