"""An application that runs in a thread on a port of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.applications import Starlette

from darknet_builder.serving.server import address_of, listen, make_server


class Answer(NamedTuple):
    """Status, headers in lower case, and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        url: its address.
        port: its port on this machine.
        server: uvicorn's server.
        thread: ends when the server has stopped.
    """

    url: str
    port: int
    server: Any
    thread: threading.Thread

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            return read(connection)
        finally:
            connection.close()

    def detect(self, data: bytes, query: str = "", kind: str = "image/png") -> Answer:
        """One image as the body."""
        return self.ask("POST", f"/detect{query}", data, {"Content-Type": kind})

    def stop(self) -> None:
        """As SIGTERM does; returns at once."""
        self.server.should_exit = True


def read(connection: http.client.HTTPConnection) -> Answer:
    """The answer to the request that was sent."""
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a form with files."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    return b"".join([*parts, b"--edge--\r\n"]), headers


@contextmanager
def served(app: Starlette) -> Iterator[Served]:
    """Run an application until the end of the block."""
    started = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        server = make_server(app, started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert started.wait(20)
        port = listener.getsockname()[1]
        try:
            yield Served(address_of(listener), port, server, thread)
        finally:
            server.should_exit = True
            thread.join(40)
            assert not thread.is_alive()
