"""Detect in images that come from many threads, and run the network on several of them at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from darknet_builder.boxes.detections import Detections
from darknet_builder.errors import InputError
from darknet_builder.images.inputs import Image
from darknet_builder.images.resize import Placement
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.loading import one_thread

_READERS = 2
"""Number of threads that decode and resize images; as for the images of ``detect``."""
_WAIT = 0.003
"""Seconds that a batch waits for images that are being decoded."""


@dataclass(eq=False)
class _Job:
    """One image on its way through the stages.

    Attributes:
        image: as ``Detector.prepare`` accepts it.
        threshold: minimum confidence; None for the detector's.
        nms: NMS IoU threshold; None for the detector's.
        future: the result.
    """

    image: Image | None
    threshold: float | None
    nms: float | None
    future: Future[Detections] = field(default_factory=Future)


class _Ready(NamedTuple):
    """An image that the network can take, without its pixels."""

    job: _Job
    x: Tensor
    placement: Placement


class DetectionQueue:
    """A detector for many callers at a time.

    Threads decode and resize the images. One thread takes those that are ready, at most
    ``detector.batch``, and runs the network on them. Another thread finds the boxes meanwhile. The
    result of an image does not depend on the images that share its batch. Making the object takes
    as long as the engine takes to compile.

    Args:
        detector: the detector; its batch size is the largest number of images in a call.

    Attributes:
        images: number of images that the network has computed.
        batches: number of calls of the network for them.

    Raises:
        InputError: if the detector cuts images into tiles.

    Example:
        >>> from darknet_builder.data.scenes import draw_scene
        >>> detector = Detector("shapes", batch=2)
        >>> work = DetectionQueue(detector)
        >>> results = [work.submit(draw_scene(seed).image) for seed in range(3)]
        >>> len(results[2].result()) == len(detector(draw_scene(2).image))
        True
        >>> work.close()
        >>> work.images
        3
    """

    def __init__(self, detector: Detector) -> None:
        if detector.tiling is not None:
            raise InputError("a detector with tiles takes one image at a time", argument="tile")
        self.detector = detector
        self.images = 0
        self.batches = 0
        self._sizes = _batch_sizes(detector.batch)
        for size in self._sizes:
            detector.warm_up(size)  # so that no request waits for a compiler
        self._coming = 0  # images that are not yet in a batch
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(_READERS, "read")
        self._finisher = ThreadPoolExecutor(1, "finish")
        self._ready: queue.SimpleQueue[_Ready | None] = queue.SimpleQueue()
        # A daemon: a program that is ended at once does not wait for it.
        self._worker = threading.Thread(target=self._work, name="network", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Return the number of images that the network has not begun with."""
        return self._coming

    def submit(
        self, image: Image, *, threshold: float | None = None, nms: float | None = None
    ) -> Future[Detections]:
        """Detect the objects in an image, and return a future at once.

        A future that is cancelled before the network has begun with its image costs no more work.

        Args:
            image: one image, as ``Detector`` accepts it.
            threshold: minimum confidence, 0 to 1. Default: the detector's.
            nms: NMS IoU threshold, 0 to 1. Default: the detector's.
        """
        job = _Job(image, threshold, nms)
        self._count(1)
        try:
            self._readers.submit(self._prepare, job)
        except RuntimeError:  # closed
            self._count(-1)
            raise
        return job.future

    def close(self) -> None:
        """Finish all images that were submitted, and end the threads."""
        self._readers.shutdown()
        self._ready.put(None)
        self._worker.join()
        self._finisher.shutdown()

    def _count(self, change: int) -> None:
        with self._lock:
            self._coming += change

    def _prepare(self, job: _Job) -> None:
        try:
            if job.future.cancelled() or job.image is None:
                self._count(-1)
                return
            prepared = self.detector.prepare(job.image)
        except Exception as error:
            self._count(-1)
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(error)
        else:
            job.image = None  # the network needs the resized image alone
            self._ready.put(_Ready(job, prepared.x, prepared.placement))

    def _work(self) -> None:
        waiting: list[_Ready] = []
        while self._gather(waiting):
            size = next(size for size in self._sizes if size <= len(waiting))
            batch, waiting = waiting[:size], waiting[size:]
            self._count(-size)
            # Those whose caller has given up are left out; from here on nobody can.
            self._run([item for item in batch if item.job.future.set_running_or_notify_cancel()])

    def _gather(self, waiting: list[_Ready]) -> bool:
        """Add images that are ready, after a short wait for those that are being read.

        Args:
            waiting: images that no call has taken yet; extended to at most a batch.

        Returns:
            False at the end, when nothing is left to do.
        """
        end = time.monotonic() + _WAIT
        while not waiting or len(waiting) < min(self.detector.batch, self._coming):
            try:
                # Without others on their way, one image does not wait.
                timeout = max(0.0, end - time.monotonic()) if waiting else None
                item = self._ready.get(timeout=timeout)
            except queue.Empty:
                break
            if item is None:
                self._ready.put(None)  # for the next call
                break
            waiting.append(item)
        return bool(waiting)

    def _run(self, batch: Sequence[_Ready]) -> None:
        if not batch:
            return
        network = self.detector.network
        try:
            x = torch.stack([item.x for item in batch])  # (B, C, height, width)
            with one_thread(network):
                network.reset_state()  # images are independent of each other
                raw_maps = self.detector.raw_maps(x)
        except Exception as error:
            for item in batch:
                item.job.future.set_exception(error)
            return
        self.images += len(batch)
        self.batches += 1
        for row, item in enumerate(batch):
            one = [raw[row : row + 1] for raw in raw_maps]
            self._finisher.submit(self._finish, item, one)

    def _finish(self, item: _Ready, raw_maps: list[Tensor]) -> None:
        job = item.job
        try:
            (found,) = self.detector.interpret(
                raw_maps, [item.placement], threshold=job.threshold, nms=job.nms
            )
        except Exception as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(found)


def _batch_sizes(largest: int) -> list[int]:
    """Return the sizes of a call, the largest first: 8, 4, 2, 1 or 32, 10, 3, 1.

    Engines compile for each size, and ``TorchEngine`` keeps the code for four of them. Seven images
    are therefore computed as 4 + 2 + 1.
    """
    return sorted({round(largest ** (step / 3)) for step in range(4)}, reverse=True)
