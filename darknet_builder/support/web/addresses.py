"""Take web addresses apart: scheme, login, and the name of what they lead to."""

from __future__ import annotations

import re
from urllib.parse import unquote

_LONGEST_NAME = 100
"""Characters of a file name that is made of an address."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


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


def _parts(url: str) -> tuple[str, str, str]:
    """``http://host/path?query`` -> ``("http", "host", "/path?query")``."""
    # Not urlsplit, which raises for addresses that a library might still open.
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest)[0]
    return scheme, host, rest[len(host) :]
