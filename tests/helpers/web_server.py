"""A web server on this machine for the tests of downloads: it can misbehave in the ways that real
ones do."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server has and how it behaves; tests change it between requests.

    Attributes:
        files: path -> content.
        ranges: whether it knows ``Range``.
        etags: path -> the version that it names; none by default.
        modified: the date of the last change that it names.
        redirects: path -> where to go instead.
        statuses: path -> the error to answer with.
        cuts: how many bytes of its body each of the next answers sends before the connection ends.
        announce: the length that it claims instead of the true one; "" for none at all.
        reset: a cut connection is reset instead of closed.
        delay: seconds before each body.
        wrong_range: answers with another part than the one that was asked for.
        requests: (path, Range, If-Range) of every request so far.
        logins: the Authorization header of every request so far.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: dict[str, str] = field(default_factory=dict)
    modified: str = ""
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    announce: str | None = None
    reset: bool = False
    delay: float = 0.0
    wrong_range: bool = False
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        """Answer as the site says."""
        site = self.site
        site.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        site.logins.append(self.headers.get("Authorization"))
        if self.path in site.redirects:
            self._head(302, Location=site.redirects[self.path])
        elif self.path in site.statuses or self.path not in site.files:
            self.send_error(site.statuses.get(self.path, 404))
        else:
            self._send(site.files[self.path])

    def _send(self, content: bytes) -> None:
        site = self.site
        start = self._asked_start(content)
        if start is None:
            status, body = 200, content
        elif start >= len(content):
            return self._head(416, **{"Content-Range": f"bytes */{len(content)}"})
        else:
            start = 0 if site.wrong_range else start
            status, body = 206, content[start:]
        headers = {
            "ETag": site.etags.get(self.path, ""),
            "Last-Modified": site.modified,
            "Content-Length": str(len(body)) if site.announce is None else site.announce,
        }
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(status, **headers)
        time.sleep(site.delay)
        self._body(body)

    def _asked_start(self, content: bytes) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        version = self.headers.get("If-Range")
        known = (None, self.site.etags.get(self.path), self.site.modified or None)
        return int(match[1]) if match and self.site.ranges and version in known else None

    def _body(self, body: bytes) -> None:
        cut = self.site.cuts.pop(0) if self.site.cuts else len(body)
        self.wfile.write(body[:cut])
        if cut < len(body) and self.site.reset:
            self.wfile.flush()
            time.sleep(0.1)  # let the bytes arrive before the reset throws away what was not read
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def finish(self) -> None:
        """A connection that was reset has nothing to flush."""
        with suppress(OSError):
            super().finish()


@contextmanager
def serve() -> Iterator[Site]:
    """A running server, on a port of its own."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:  # or a test that fails would keep Python from ending
            server.shutdown()
            thread.join()
