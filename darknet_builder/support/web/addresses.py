"""Take web addresses apart: scheme, login, and the name of what they lead to."""

from __future__ import annotations

import re
from urllib.parse import unquote

_LONGEST_NAME = 100
"""Characters of a file name that is made of an address."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
ARCHIVES = ("tar", "zip")
"""Schemes of files in an archive, whose own address follows: ``zip://a.jpg::https://a.org/b.zip``.
"""
_WITHOUT_HOST = ("memory", *ARCHIVES)
_WITH_QUERY = ("http", "https")
_SECRET = re.compile(
    r"([?&][^=&#]*(?:credential|key|password|secret|sig|token)[^=&#]*=)[^&#]*", re.IGNORECASE
)
"""A value in a signed address that gives access to a file."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+")


def scheme_of(word: str) -> str:
    """Return the scheme of an address in lower case; empty for a word that is not an address.

    Example:
        >>> scheme_of("RTSP://camera/1"), scheme_of("C:/photo.jpg")
        ('rtsp', '')
    """
    match = _SCHEME.match(word)
    return match[1].lower() if match else ""


def without_login(url: str) -> tuple[str, str]:
    """Return an address without its user name and password, and these two as ``user:password``.

    Example:
        >>> without_login("http://ann:secret@camera/1")
        ('http://camera/1', 'ann:secret')
    """
    scheme, host, path = _parts(url)
    login, at, host = host.rpartition("@")
    return f"{scheme}://{host}{path}", unquote(login) if at else ""


def last_part(url: str) -> str:
    """Return the last part of an address's path; the host if there is no path.

    Example:
        >>> last_part("https://a.org/b/photo.jpg?size=2"), last_part("rtsp://10.0.0.5:554/")
        ('photo.jpg', '10.0.0.5')
    """
    _, host, path = _parts(without_login(url)[0])
    name = re.split(r"[?#]", path)[0].rstrip("/").rpartition("/")[2]
    return name or re.sub(r":\d+$", "", host)


def file_stem(url: str) -> str:
    """Return a name for a file about what an address leads to, without a suffix.

    Example:
        >>> file_stem("https://a.org/b/my%20photo.jpg?size=2"), file_stem("rtsp://10.0.0.5:554/")
        ('my_photo', '10.0.0.5')
    """
    _, _, path = _parts(url)
    name = last_part(url)
    # The dots of a host are not before a suffix.
    if path.strip("/"):
        name = re.sub(r"(?<=.)\.[^.]*$", "", name)
    return re.sub(r"[^\w.-]+", "_", unquote(name)).strip(".")[:_LONGEST_NAME] or "source"


def printable_address(url: str) -> str:
    """Return an address without user name and password, and with dots for keys and signatures.

    Example:
        >>> printable_address("https://ann:secret@a.org/b.jpg?size=2&X-Amz-Signature=0123")
        'https://a.org/b.jpg?size=2&X-Amz-Signature=...'
        >>> printable_address("zip://a.jpg::https://ann:secret@a.org/b.zip")
        'zip://a.jpg::https://a.org/b.zip'
    """
    if scheme_of(url) in ARCHIVES:
        member, mark, archive = url.partition("::")
        return member + mark + printable_address(archive)
    if scheme_of(url) in ("", *_WITHOUT_HOST):
        return url
    return _SECRET.sub(r"\1...", without_login(url)[0])


def hide_secrets(text: str) -> str:
    """Return a text with all addresses in it as ``printable_address`` returns them.

    Example:
        >>> hide_secrets("no answer from 'https://ann:secret@a.org/b?token=1'")
        "no answer from 'https://a.org/b?token=...'"
    """
    return _ADDRESS.sub(lambda match: printable_address(match[0]), text)


def split_address(url: str) -> tuple[str, str, str]:
    """Split an address into scheme with host or bucket, path, and query or archive.

    The three parts put together are the address again, but for slashes before the path.

    Example:
        >>> split_address("s3://bucket/images/a.jpg"), split_address("zip://a.jpg::b.zip")
        (('s3://bucket/', 'images/a.jpg', ''), ('zip://', 'a.jpg', '::b.zip'))
    """
    scheme, _, rest = url.partition("://")
    host, end = "", ""
    if scheme.lower() in ARCHIVES:
        rest, mark, archive = rest.partition("::")
        end = mark + archive
    if scheme.lower() not in _WITHOUT_HOST:
        host, _, rest = rest.partition("/")
        host += "/"
    if scheme.lower() in _WITH_QUERY:
        path = re.split(r"[?#]", rest)[0]
        rest, end = path, rest[len(path) :]
    return f"{scheme}://{host}", rest.lstrip("/"), end


def _parts(url: str) -> tuple[str, str, str]:
    """``http://host/path?query`` -> ``("http", "host", "/path?query")``."""
    if scheme_of(url) in _WITHOUT_HOST:
        return scheme_of(url), "", f"/{split_address(url)[1]}"
    # Not urlsplit, which raises for addresses that a library might still open.
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest)[0]
    return scheme, host, rest[len(host) :]
