"""The application: its addresses, and how a request becomes an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.records import Record, json_document
from darknet_builder.errors import ImageError, InputError
from darknet_builder.pages.upload_page import UploadPage
from darknet_builder.prediction.detector import Detector
from darknet_builder.serving.broadcast import Broadcast, OpenFrames
from darknet_builder.serving.detection_queue import DetectionQueue
from darknet_builder.serving.messages import Guard, Json, answer_fault, answer_refusal, refusal
from darknet_builder.serving.settings import ServeSettings
from darknet_builder.serving.streams import stream_lines, stream_pictures
from darknet_builder.serving.uploads import Upload, read_options, read_uploads

_T = TypeVar("_T")
_RETRY_AFTER = "1"
"""Seconds after which a client may try again."""


def create_app(
    detector: Detector,
    *,
    name: str = "detector",
    settings: ServeSettings | None = None,
    hosts: Sequence[str] = ("*",),
    source: tuple[str, OpenFrames] | None = None,
) -> Starlette:
    """Make the application that answers requests with a detector.

    Its addresses are ``POST /detect``, ``GET /``, ``GET /healthz``, ``GET /stream`` and
    ``GET /stream.jsonl``. ``run_server`` runs it, and so does any other ASGI server.

    Args:
        detector: the detector; its batch size is the largest number of images in a call.
        name: name of the model.
        settings: limits of size, time and queue.
        hosts: host names under which the server may be addressed; ``*`` for all.
        source: name of a video, camera or stream, and the function that opens it.

    Raises:
        InputError: if a network that keeps state from frame to frame is given a source.

    Example:
        >>> app = create_app(Detector("shapes"), name="shapes")
        >>> [route.path for route in app.routes]
        ['/', '/detect', '/healthz', '/stream', '/stream.jsonl']
    """
    if source is not None and detector.has_memory:
        raise InputError(
            "the network keeps state from frame to frame, which images of requests would disturb",
            path=source[0],
            hint="serve it without a source",
            argument="source",
        )
    service = Service(detector, name, settings or ServeSettings(), source)
    app = Starlette(
        routes=[
            Route("/", service.show_page),
            Route("/detect", service.detect, methods=["POST"]),
            Route("/healthz", service.tell_health),
            Route("/stream", service.show_pictures),
            Route("/stream.jsonl", service.show_lines),
        ],
        middleware=[
            Middleware(
                Guard, max_bytes=service.settings.max_bytes, is_closing=lambda: service.is_closing
            ),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
        exception_handlers={HTTPException: answer_refusal, Exception: answer_fault},
        lifespan=service.living,
    )
    app.state.service = service
    return app


class Service:
    """What the addresses share: the queue, the limits and the live source.

    Args:
        detector: the detector.
        name: name of the model.
        settings: the limits.
        source: name of the live source, and the function that opens it; None without one.

    Attributes:
        settings: the limits.
        answered: number of images that were answered with detections.
        is_closing: whether the server is being stopped.
    """

    def __init__(
        self,
        detector: Detector,
        name: str,
        settings: ServeSettings,
        source: tuple[str, OpenFrames] | None,
    ) -> None:
        self.settings = settings
        self.answered = 0
        self.is_closing = False
        self._detector, self._name, self._source = detector, name, source
        self._inside = 0
        self._page = UploadPage(
            name, detector.names, detector.threshold, has_stream=source is not None
        )

    @asynccontextmanager
    async def living(self, app: Starlette) -> AsyncIterator[None]:
        """Run the queue while the server runs, and finish its work at the end."""
        self._work = DetectionQueue(self._detector)
        self._live = None if self._source is None else Broadcast(self._work, *self._source)
        try:
            yield
        finally:
            self.begin_closing()
            await asyncio.get_running_loop().run_in_executor(None, self._work.close)

    def begin_closing(self) -> None:
        """End live streams, and close connections with their next answer."""
        self.is_closing = True
        if self._live is not None:
            self._live.close()

    # ---- addresses -------------------------------------------------------------------------------

    async def show_page(self, request: Request) -> Response:
        """Answer ``GET /``."""
        policy = {"content-security-policy": self._page.policy}
        return HTMLResponse(self._page.html, headers=policy)

    async def tell_health(self, request: Request) -> Response:
        """Answer ``GET /healthz``."""
        return Json(
            {
                "status": "stopping" if self.is_closing else "ok",
                "model": self._name,
                "classes": list(self._detector.names),
                "input_size": list(self._detector.network.input_size),
                "batch": self._detector.batch,
                "queue": self._inside,
                "queue_limit": self.settings.queue,
                "images": self._work.images,
                "batches": self._work.batches,
            }
        )

    async def detect(self, request: Request) -> Response:
        """Answer ``POST /detect``."""
        options = read_options(request.query_params, self._detector.threshold)
        with self._admitting(1):
            late = refusal(408, f"the upload took more than {self.settings.timeout:g} seconds")
            uploads = await self._in_time(read_uploads(request, self.settings), late)
            with self._admitting(len(uploads) - 1):
                results = await self._find(uploads, options)
        return self._answer(uploads, results, options)

    async def show_pictures(self, request: Request) -> Response:
        """Answer ``GET /stream``."""
        return await stream_pictures(self._take_live(), self.settings.timeout)

    async def show_lines(self, request: Request) -> Response:
        """Answer ``GET /stream.jsonl``."""
        return await stream_lines(self._take_live(), self.settings.timeout)

    # ---- one request -----------------------------------------------------------------------------

    def _take_live(self) -> Broadcast:
        if self._live is None:
            raise refusal(404, "this server was started without a source")
        return self._live

    @contextmanager
    def _admitting(self, images: int) -> Iterator[None]:
        """Count images as being inside, or refuse them."""
        if self._inside + images > self.settings.queue:
            raise refusal(
                503,
                f"{self._inside} images are being worked on; try again later",
                retry_after=_RETRY_AFTER,
            )
        self._inside += images
        try:
            yield
        finally:
            self._inside -= images

    async def _in_time(self, work: Awaitable[_T], late: HTTPException) -> _T:
        try:
            return await asyncio.wait_for(work, self.settings.timeout)
        except asyncio.TimeoutError:
            raise late from None

    async def _find(
        self, uploads: Sequence[Upload], options: Mapping[str, float]
    ) -> list[Detections | ImageError]:
        futures = [self._work.submit(upload.data, **options) for upload in uploads]
        late = refusal(
            504,
            f"not answered within {self.settings.timeout:g} seconds; try again later",
            retry_after=_RETRY_AFTER,
        )
        try:
            return list(await self._in_time(asyncio.gather(*map(_outcome, futures)), late))
        except InputError as error:  # memory is short
            raise refusal(503, str(error), retry_after=_RETRY_AFTER) from None
        finally:
            for future in futures:
                future.cancel()

    def _answer(
        self,
        uploads: Sequence[Upload],
        results: Sequence[Detections | ImageError],
        options: Mapping[str, float],
    ) -> Response:
        records, errors = [], []
        for upload, result in zip(uploads, results, strict=True):
            if isinstance(result, ImageError):
                errors.append({"file": upload.name, "error": result.message})
            else:
                records.append(Record(upload.name, result))
        if not records:
            first = next(result for result in results if isinstance(result, ImageError))
            raise refusal(_status_of(first), uploads[0].said(first.message))
        self.answered += len(records)
        used = {"threshold": self._detector.threshold, "nms": self._detector.nms, **options}
        document = {**used, **json_document(records, len(errors))}
        return Json({**document, "errors": errors} if errors else document)


async def _outcome(future: Future[Detections]) -> Detections | ImageError:
    """Wait for an image; one that cannot be read is a result, not a failure of the request."""
    try:
        return await asyncio.wrap_future(future)
    except ImageError as error:
        return error


def _status_of(error: ImageError) -> int:
    """Return 413 for too many pixels, and 422 for what is not an image."""
    return 413 if error.argument == "max_pixels" else 422
