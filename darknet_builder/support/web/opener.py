"""Open web addresses without leaving http and https, or giving up an encrypted connection."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to https, and from http to http, alone.

    Example:
        >>> request = urllib.request.Request("https://a.org/x")
        >>> follow = SafeRedirects().redirect_request
        >>> follow(request, None, 302, "Found", {}, "https://b.org/x").full_url
        'https://b.org/x'
    """

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to send next.

        Raises:
            URLError: if it would be less safe than the one before.
        """
        scheme = newurl.partition(":")[0].lower()
        if scheme != "https" and (scheme != "http" or req.type != "http"):
            raise urllib.error.URLError(f"{req.type} is redirected to {scheme}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def make_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone; Python's own knows ftp, file and data as well.

    Example:
        >>> make_opener().open("ftp://127.0.0.1/a")
        Traceback (most recent call last):
        ...
        urllib.error.URLError: <urlopen error unknown url type: ftp>
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        SafeRedirects,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
