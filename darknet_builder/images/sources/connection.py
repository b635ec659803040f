"""Open webcams and network streams with OpenCV, and find out why one cannot be opened."""

from __future__ import annotations

import socket
import time
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.header import check_pixels
from darknet_builder.images.opencv import load_opencv
from darknet_builder.support.web.addresses import scheme_of, without_login
from darknet_builder.support.web.requests import WebError, open_address, reason_of

Device: TypeAlias = int | str
"""The number of a webcam, or the address of a stream."""
STREAM_SCHEMES = ("http", "https", "rtsp", "rtsps")
_RTSP_PORTS = {"rtsp": 554, "rtsps": 322}
_LARGEST_NUMBER = 10_000
"""OpenCV reads larger numbers as the choice of a driver."""


def parse_device(address: str | int) -> Device:
    """Return the number of a webcam as an integer, and an address as it is.

    Args:
        address: a number, as an integer or as text, or an address.

    Raises:
        InputError: if it is neither.

    Example:
        >>> parse_device("0"), parse_device("rtsp://camera/1")
        (0, 'rtsp://camera/1')
    """
    text = str(address)
    if text.isascii() and text.isdecimal() and int(text) < _LARGEST_NUMBER:
        return int(text)
    if scheme_of(text) in STREAM_SCHEMES:
        return text
    raise InputError(
        f"expected the number of a webcam, or an address with {', '.join(STREAM_SCHEMES)}",
        argument="address",
        value=without_login(text)[0],
    )


def device_name(device: Device) -> str:
    """Return ``webcam 0``, or the address without user name and password."""
    return f"webcam {device}" if isinstance(device, int) else without_login(device)[0]


def connect(device: Device, timeout: float) -> Any:
    """Return an open ``cv2.VideoCapture``.

    Args:
        device: what ``parse_device`` returned.
        timeout: seconds that a stream may take to begin, and later for each frame.

    Raises:
        ImageError: if it cannot be opened, with the reason.
        MissingExtraError: if OpenCV is not installed or cannot be loaded.
    """
    cv2 = load_opencv()
    name, started = device_name(device), time.monotonic()
    if isinstance(device, int):
        capture = cv2.VideoCapture(device)
    else:
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        milliseconds = max(1, min(int(timeout * 1000), 2**31 - 1))
        settings = [value for limit in limits for value in (limit, milliseconds)]
        address = _checked_address(device, timeout)
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, settings)
    if capture.isOpened():
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        check_pixels(width, int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), name)
        return capture
    if isinstance(device, int):
        hint = "check that it is connected and that no other program uses it"
        raise ImageError("no such camera, or it cannot be opened", path=name, hint=hint)
    if time.monotonic() - started >= timeout:
        raise ImageError(f"no frame for {timeout:g} seconds", path=name)
    raise ImageError("not a stream that OpenCV can read", path=name)


def _checked_address(url: str, timeout: float) -> str:
    """Return the address that finally serves a stream.

    OpenCV does not say why it cannot open a stream, and would follow any redirect.

    Raises:
        ImageError: if the server cannot be reached, or answers with an error.
    """
    address, login = without_login(url)
    scheme = scheme_of(url)
    try:
        if scheme in _RTSP_PORTS:
            parts = urlsplit(address)
            place = (parts.hostname or "", parts.port or _RTSP_PORTS[scheme])
            socket.create_connection(place, timeout).close()
        elif not login:  # cameras ask for the password in several ways, which FFmpeg knows
            with open_address(url, timeout=timeout) as response:
                return str(response.geturl())
    except WebError as error:
        raise ImageError(str(error), path=address) from None
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot be reached: {reason_of(error)}", path=address) from None
    return url
