"""Read the images and the parameters of a request.

Nothing in a request is used as the path of a file; names of files are only repeated in the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.requests import Request

from darknet_builder.errors import did_you_mean, shorten
from darknet_builder.serving.messages import refusal
from darknet_builder.serving.settings import ServeSettings

LOWEST_THRESHOLD = 0.01
"""Lowest confidence threshold that a request may set, unless the server's own is lower. Lower ones
keep nearly every candidate of a network, and suppression takes time with their number squared."""
_UNNAMED = "image"
"""Name of an image that was sent without one."""
_BYTES = ("", "application/octet-stream")
_FORM = "multipart/form-data"


class Upload(NamedTuple):
    """An image file of a request.

    Attributes:
        name: the file's name as the client gives it.
        data: the contents of the file.
    """

    name: str
    data: bytes

    def said(self, message: str) -> str:
        """Return a message about the file, with its name if the client gave one."""
        return message if self.name == _UNNAMED else f"{self.name}: {message}"


async def read_uploads(request: Request, settings: ServeSettings) -> list[Upload]:
    """Read the files of a request: its whole body, or each file of a form.

    Args:
        request: its body must not have been read.
        settings: the limits.

    Raises:
        HTTPException: 415 for another content type, 413 for too many bytes, 400 for a form without
            files or with other fields.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM and kind not in _BYTES and not kind.startswith("image/"):
        raise refusal(
            415,
            f"cannot read {shorten(kind)}; send the bytes of an image with the content type"
            f" image/jpeg, image/png, ... or application/octet-stream, or files as {_FORM}",
        )
    check_length(request.headers, settings)
    if kind != _FORM:
        return [Upload(_UNNAMED, await request.body())]
    async with request.form(max_files=settings.queue, max_fields=settings.queue) as form:
        return [await _read_field(name, field) for name, field in _filled(form.multi_items())]


def check_length(headers: Mapping[str, str], settings: ServeSettings) -> None:
    """Refuse a request by its ``Content-Length``, before any of its body is read.

    Raises:
        HTTPException: 413 if it is above the limit.

    Example:
        >>> check_length({"content-length": "1000"}, ServeSettings())
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.max_bytes:
        raise refusal(
            413,
            f"the request has {int(length):,} bytes, more than the limit of {settings.max_bytes:,}",
        )


def _filled(
    fields: Iterable[tuple[str, UploadFile | str]],
) -> list[tuple[str, UploadFile | str]]:
    found = list(fields)
    if not found:
        raise refusal(400, "the form has no file")
    return found


async def _read_field(name: str, field: UploadFile | str) -> Upload:
    if isinstance(field, str):
        raise refusal(400, f"the form field {shorten(name)!r} is not a file")
    return Upload(field.filename or _UNNAMED, await field.read())


def read_options(query: Mapping[str, str], threshold: float) -> dict[str, float]:
    """Read ``threshold`` and ``nms`` from the query of an address.

    Args:
        query: the parameters.
        threshold: confidence threshold of the server.

    Returns:
        The given ones, as arguments of ``DetectionQueue.submit``.

    Raises:
        HTTPException: 400 for an unknown parameter or a wrong value.

    Example:
        >>> read_options({"threshold": "0.5"}, 0.25)
        {'threshold': 0.5}
    """
    lowest = {"threshold": min(LOWEST_THRESHOLD, threshold), "nms": 0.0}
    options = {}
    for name, text in query.items():
        if name not in lowest:
            raise refusal(400, f"unknown parameter {shorten(name)!r}{did_you_mean(name, lowest)}")
        options[name] = _number(name, text, lowest[name])
    return options


def _number(name: str, text: str, lowest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not lowest <= value <= 1:
        raise refusal(400, f"{name}={shorten(text)}: expected a number from {lowest:g} to 1")
    return value
