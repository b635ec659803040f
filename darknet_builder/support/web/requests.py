"""Send one request to a web address, and say in a few words why it failed."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from darknet_builder.support.version import VERSION
from darknet_builder.support.web.addresses import without_login
from darknet_builder.support.web.opener import make_opener

TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each part of an answer."""


class WebError(OSError):
    """A request that failed; its text is the reason.

    Args:
        reason: a few words, such as ``HTTP 404 Not Found``.
        status: the HTTP status of the answer; None if there was no answer.

    Example:
        >>> str(WebError("HTTP 404 Not Found", 404))
        'HTTP 404 Not Found'
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def open_address(
    url: str, headers: Mapping[str, str] | None = None, timeout: float | None = None
) -> http.client.HTTPResponse:
    """Send a GET request and return the answer, whose content has not been read yet.

    Args:
        url: an http or https address; a user name and a password in it are sent to its host alone.
        headers: further headers.
        timeout: seconds to wait for the connection, and for each part of the answer; by default
            ``TIMEOUT``.

    Raises:
        WebError: if the address cannot be reached or answers with an error.

    Example:
        >>> open_address("ftp://127.0.0.1/a")
        Traceback (most recent call last):
        ...
        darknet_builder.support.web.requests.WebError: cannot be reached: unknown url type: ftp
    """
    address, login = without_login(url)
    sent = {"User-Agent": f"darknet-builder/{VERSION}", "Accept-Encoding": "identity"}
    try:
        # S310: the opener knows http and https alone.
        request = urllib.request.Request(address, headers={**sent, **(headers or {})})  # noqa: S310
        if login:
            # Unredirected: another host must not get the password.
            basic = base64.b64encode(login.encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {basic}")
        response: http.client.HTTPResponse = make_opener().open(request, timeout=timeout or TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            reason = " ".join(f"HTTP {error.code} {error.reason}".split())
            raise WebError(reason, error.code) from None
    except urllib.error.URLError as error:
        raise WebError(f"cannot be reached: {reason_of(error.reason)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WebError(f"cannot be reached: {reason_of(error)}") from None
    return response


def read_address(
    url: str, most_bytes: int, timeout: float | None = None, most_seconds: float = 300.0
) -> bytes:
    """Read the content of a web address into memory.

    Args:
        url: an http or https address, as for ``open_address``.
        most_bytes: the limit of its size.
        timeout: as for ``open_address``.
        most_seconds: seconds for the whole content.

    Raises:
        WebError: if it cannot be read whole, is larger, or takes longer.
    """
    data, started = bytearray(), time.monotonic()
    with open_address(url, timeout=timeout) as response:
        try:
            while part := response.read1(2**16):
                data += part
                if len(data) > most_bytes:
                    raise WebError(f"larger than {most_bytes >> 20} MiB")
                if time.monotonic() - started > most_seconds:
                    raise WebError(f"not complete after {most_seconds:g} seconds")
        except WebError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise WebError(f"the connection was lost: {reason_of(error)}") from None
        # read1 gives nothing, instead of an exception, where a connection ends too early.
        if response.length:
            raise WebError(f"the connection ended {response.length:,} bytes too early")
    return bytes(data)


def reason_of(error: Any) -> str:
    """Return the system's text of an error, without its number.

    Example:
        >>> reason_of(ConnectionRefusedError(111, "Connection refused"))
        'Connection refused'
    """
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
