"""A camera on the local network: an MJPEG server that plays given pictures, dies, stalls or comes
back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

BOUNDARY = "frame"


@dataclass
class Camera:
    """What the camera shows and how it behaves; tests change it while it runs.

    Attributes:
        parts: the pictures as JPEG; they are shown again and again.
        seconds: time between two pictures.
        lengths: number of pictures in each of the next connections; without an entry, no end.
        stalls: instead of ending, a connection stays open without another picture.
        status: the HTTP status; anything but 200 is an error without content.
        redirect: address to go to instead.
        requests: number of connections so far.
        login: the Authorization header that it asks for; empty for none.
    """

    parts: list[bytes]
    seconds: float = 0.01
    lengths: list[int] = field(default_factory=list)
    stalls: bool = False
    status: int = 200
    redirect: str = ""
    requests: int = 0
    login: str = ""
    url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    camera: Camera

    def do_GET(self) -> None:
        """Send the pictures until the connection's length is reached."""
        camera = self.camera
        is_player = "Lavf" in self.headers.get("User-Agent", "")
        if camera.redirect:
            self.send_response(302)
            self.send_header("Location", camera.redirect)
            self.end_headers()
            return
        if camera.login and self.headers.get("Authorization") != camera.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        if camera.status != 200:
            self.send_error(camera.status)
            return
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        if not is_player:
            return  # somebody looks at the headers only
        camera.requests += 1
        length = camera.lengths.pop(0) if camera.lengths else 10**9
        for number in range(length):
            part = camera.parts[number % len(camera.parts)]
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + part + b"\r\n")
            if camera.stopped.wait(camera.seconds):
                return
        if camera.stalls:
            camera.stopped.wait(60)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def handle(self) -> None:
        """A player that has seen enough hangs up."""
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        """As ``handle``."""
        with suppress(OSError):
            super().finish()


@contextmanager
def run_camera(images: Sequence[np.ndarray]) -> Iterator[Camera]:
    """A running camera, on a port of its own.

    Args:
        images: the pictures, (H, W, 3) uint8.
    """
    camera = Camera([cv2.imencode(".jpg", image)[1].tobytes() for image in images])
    handler = type("Handler", (_Handler,), {"camera": camera})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        camera.url = f"http://127.0.0.1:{server.server_port}/stream"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield camera
        finally:
            camera.stopped.set()
            server.shutdown()
            thread.join()
