"""JSON answers, and what every request and response passes: limits, headers, closing connections.

An answer with an error is ``{"error": "one sentence"}``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darknet_builder.support.text import printable

_LINGER = 2.0
"""Seconds for which the rest of a refused upload is read and dropped."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""Headers of all responses. Pages of other sites can neither show nor read them."""
_CLOSE = (b"connection", b"close")
_PLAINLY = {
    "Not Found": "nothing is at this address",
    "Method Not Allowed": "this address does not support the method",
}
"""What is said instead of Starlette's own words."""


class Json(Response):
    r"""A JSON response whose text shows control characters as ``\uXXXX``.

    Example:
        >>> Json({"name": "a \x1b[31mred \u202e dog"}).body
        b'{"name": "a \\u001b[31mred \\u202e dog"}\n'
    """

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the text of the body."""
        return json_line(content)


def json_line(content: Any) -> bytes:
    """Return a value as one line of JSON, with the line break."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return (printable(text) + "\n").encode()


def refusal(status: int, text: str, **headers: str) -> HTTPException:
    """Return the exception that answers with an error; ``retry_after`` is a header.

    Example:
        >>> refusal(503, "too many requests", retry_after="1").headers
        {'retry-after': '1'}
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPException(status, text, named)


def answer_refusal(request: Request, error: Exception) -> Response:
    """Answer an ``HTTPException``, also those of Starlette itself."""
    assert isinstance(error, HTTPException)
    text = error.detail
    if text in _PLAINLY:
        text = f"{_PLAINLY[text]}: {request.method} {request.url.path}"
    return Json({"error": text}, error.status_code, error.headers)


def answer_fault(request: Request, error: Exception) -> Response:
    """Answer a fault of the program, whose traceback the server writes to its log."""
    return Json({"error": "internal error; the log of the server has the reason"}, 500)


class Guard:
    """Middleware: limit the size of a request, add headers, and end connections in order.

    Args:
        app: the application.
        max_bytes: maximum number of bytes of a request's body.
        is_closing: returns whether the server is being stopped.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, is_closing: Callable[[], bool]) -> None:
        self._app, self._max_bytes, self._is_closing = app, max_bytes, is_closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._max_bytes, self._is_closing)
        # A GET request may have a body, but nobody reads it.
        exchange.is_whole = scope["method"] in ("GET", "HEAD")
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its response.

    Attributes:
        is_whole: whether the whole body has arrived.
    """

    def __init__(
        self, receive: Receive, send: Send, max_bytes: int, is_closing: Callable[[], bool]
    ) -> None:
        self._receive, self._send = receive, send
        self._max_bytes, self._is_closing = max_bytes, is_closing
        self._bytes = 0
        self._lingers = False
        self.is_whole = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.is_whole = self.is_whole or not message.get("more_body", False)
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._max_bytes:
                raise refusal(413, f"the request has more than {self._max_bytes:,} bytes")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._lingers = not self.is_whole
            headers = [*message.get("headers", []), *_HEADERS]
            if self._lingers or self._is_closing():
                headers.append(_CLOSE)
            message = {**message, "headers": headers}
        elif self._lingers and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drop_rest()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drop_rest(self) -> None:
        """Read the rest of an upload whose answer has been sent.

        A connection that is closed while data arrives is reset, and the client would lose the
        answer. A client that reads it stops sending.
        """
        try:
            await asyncio.wait_for(self._read_rest(), _LINGER)
        except asyncio.TimeoutError:
            return

    async def _read_rest(self) -> None:
        while not self.is_whole:
            message = await self._receive()
            is_last = message["type"] != "http.request" or not message.get("more_body", False)
            self.is_whole = is_last
