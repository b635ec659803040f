"""The two responses that last: annotated pictures (MJPEG) and lines of JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from darknet_builder.serving.broadcast import Broadcast, Shown, Watcher
from darknet_builder.serving.messages import refusal

_BOUNDARY = "frame"


class _LiveResponse(StreamingResponse):
    """A response that leaves its source however it ends."""

    def __init__(
        self, live: Broadcast, watcher: Watcher, body: AsyncIterator[bytes], media_type: str
    ) -> None:
        super().__init__(body, media_type=media_type)
        self._live, self._watcher = live, watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.leave(self._watcher)


async def stream_pictures(live: Broadcast, timeout: float) -> Response:
    """Answer with annotated frames, which browsers show as a moving picture.

    Args:
        live: the source.
        timeout: seconds within which the first frame must arrive.

    Raises:
        HTTPException: 503 if the source cannot be read, 504 if it gives no frame in time.
    """
    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    return await _stream(live, timeout, _part, media_type, pictures=True)


async def stream_lines(live: Broadcast, timeout: float) -> Response:
    """Answer with one JSON object a line for each frame; otherwise as ``stream_pictures``."""
    return await _stream(live, timeout, _line, "application/jsonl", pictures=False)


async def _stream(
    live: Broadcast,
    timeout: float,
    encode: Callable[[Shown], bytes],
    media_type: str,
    *,
    pictures: bool,
) -> Response:
    watcher = live.join(pictures=pictures)
    try:
        # Before the status is sent, so that a camera that is not there is an error.
        first = await asyncio.wait_for(watcher.next(), timeout)
        if first is None:
            raise refusal(503, watcher.reason, retry_after="5")
    except asyncio.TimeoutError:
        live.leave(watcher)
        text = f"{live.name}: no frame within {timeout:g} seconds"
        raise refusal(504, text, retry_after="5") from None
    except BaseException:
        live.leave(watcher)
        raise
    return _LiveResponse(live, watcher, _encoded(watcher, first, encode), media_type)


async def _encoded(
    watcher: Watcher, first: Shown, encode: Callable[[Shown], bytes]
) -> AsyncIterator[bytes]:
    frame: Shown | None = first
    while frame is not None:
        yield encode(frame)
        frame = await watcher.next()


def _line(frame: Shown) -> bytes:
    return frame.line


def _part(frame: Shown) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame.picture)}"
    return head.encode("ascii") + b"\r\n\r\n" + frame.picture + b"\r\n"
