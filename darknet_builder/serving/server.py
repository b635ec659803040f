"""Run the application: listen on a port, and stop without losing a request."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import uvicorn
from starlette.applications import Starlette

from darknet_builder.errors import InputError
from darknet_builder.serving.app import Service

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
_BACKLOG = 1024
_MOST_CONNECTIONS = 1000
"""Above this number of open connections, requests are refused with 503."""
_IDLE = 10.0
"""Seconds for which a connection may be open without a complete head of a request."""
_GRACE = 0.2
"""Seconds for which a server that is being stopped still reads requests that are on their way."""
_TICKS = 10
"""Number of uvicorn's ticks, a second in all, between looks for idle connections."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that a port in use is noticed before a model is loaded.

    Args:
        host: address or name of this machine.
        port: 0 to 65535; 0 takes a free one.

    Raises:
        InputError: if the address cannot be used; the message has the reason.

    Example:
        >>> with listen("127.0.0.1", 0) as taken:
        ...     port = taken.getsockname()[1]
        ...     try:
        ...         listen("127.0.0.1", port)
        ...     except InputError as error:
        ...         print(str(error).replace(str(port), "8000"))
        port=8000: cannot listen on 127.0.0.1: Address already in use
    """
    if not 0 <= port <= 65535:
        raise InputError("expected 0 to 65535", argument="port", value=port)
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise InputError(str(error.strerror), argument="host", value=host) from None
    except UnicodeError:
        raise InputError("not a name of a machine", argument="host", value=host) from None
    except OSError as error:
        # Not strerror: socket.create_server adds the address to it once more.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"cannot listen on {host}: {reason}", argument="port", value=port
        ) from None
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol. With it,
    # each answer on a connection that is kept would wait 40 ms for an acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=made.detach())


def allowed_hosts(host: str) -> tuple[str, ...]:
    """Return the host names under which a server may be addressed.

    A server for this machine alone answers to no other name: a page of another site whose name
    leads to this machine (DNS rebinding) cannot use it.

    Args:
        host: the address that the server listens on.

    Example:
        >>> allowed_hosts("0.0.0.0")
        ('*',)
        >>> "localhost" in allowed_hosts("127.0.0.1")
        True
    """
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = host.lower() == "localhost"
    return (*_LOOPBACK, host) if is_local else ("*",)


def address_of(listener: socket.socket) -> str:
    """Return the address of the page, such as ``http://127.0.0.1:8000``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(
    app: Starlette, listener: socket.socket, *, on_start: Callable[[], object] = lambda: None
) -> None:
    """Run an application until SIGINT or SIGTERM.

    The server then accepts no more connections, answers all requests that it has received, and
    returns. A second SIGINT ends it at once.

    Args:
        app: the result of ``create_app``.
        listener: the result of ``listen``; it is closed at the end.
        on_start: called when the server answers requests.

    Raises:
        KeyboardInterrupt: at the end, after SIGINT.
    """
    server = make_server(app, on_start)
    with listener, _noting_signals() as noted:
        server.run(sockets=[listener])
    if signal.SIGINT in noted:
        signal.raise_signal(signal.SIGINT)  # for the handler of the program


def make_server(app: Starlette, on_start: Callable[[], object] = lambda: None) -> uvicorn.Server:
    """Return the server that ``run_server`` runs; the arguments are the same."""
    service: Service = app.state.service
    timeout = service.settings.timeout
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        # An upload and its answer have a limit each, so only a client that does not read its
        # answer takes longer.
        timeout_graceful_shutdown=math.ceil(2 * timeout) + 2,
    )
    return _Server(config, service, on_start)


class _Server(uvicorn.Server):
    """A server that tells when it runs, closes idle connections, and stops in order."""

    def __init__(
        self, config: uvicorn.Config, service: Service, on_start: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._service, self._on_start = service, on_start
        # connection -> (its last request, when it was first seen to be complete)
        self._idle: WeakKeyDictionary[Any, tuple[Any, float]] = WeakKeyDictionary()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            self._close_idle()
        return await super().on_tick(counter)

    def _close_idle(self) -> None:
        """Close connections on which no request arrives; uvicorn does so only after a first one."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            cycle: Any = getattr(connection, "cycle", None)
            last, since = self._idle.get(connection, (self, now))
            if last is not cycle or (cycle is not None and not cycle.response_complete):
                self._idle[connection] = (cycle, now)
            elif now - since > _IDLE:
                connection.shutdown()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._service.begin_closing()
        # Requests whose bytes are on their way are read, and each answer closes its connection.
        await asyncio.sleep(_GRACE)
        await super().shutdown(sockets)


@contextmanager
def _noting_signals() -> Iterator[list[int]]:
    """Let signals end the block and not the process; yield those that came.

    Uvicorn raises the signals that have stopped it again, inside its event loop, where a
    KeyboardInterrupt would be logged as a fault.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in numbers
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
