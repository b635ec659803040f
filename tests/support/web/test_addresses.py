"""Web addresses and requests: what is shown, what is sent, and what is refused."""

from __future__ import annotations

import pytest

from darknet_builder.support.web.addresses import last_part, scheme_of, without_login
from darknet_builder.support.web.requests import WebError, open_address, read_address
from tests.helpers.web_server import serve


@pytest.mark.parametrize(
    ("word", "scheme"),
    [("http://a", "http"), ("RTSP://a", "rtsp"), ("C:\\a", ""), ("a//b", ""), ("://a", "")],
)
def test_schemes(word: str, scheme: str) -> None:
    """Of addresses only."""
    assert scheme_of(word) == scheme


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a.org/b", ("http://a.org/b", "")),
        ("http://u:p@a.org:8/b@c", ("http://a.org:8/b@c", "u:p")),
        ("http://u:p@q@a.org", ("http://a.org", "u:p@q")),
        ("http://u:p%40q@a.org?x", ("http://a.org?x", "u:p@q")),
        ("http://a.org?mail=x@y", ("http://a.org?mail=x@y", "")),
    ],
)
def test_logins(url: str, parts: tuple[str, str]) -> None:
    """An @ after the host is not one."""
    assert without_login(url) == parts


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://a.org/b/c.jpg?d=/e.png", "c.jpg"),
        ("http://a.org:80", "a.org"),
        ("http://u:p@a.org/", "a.org"),
        ("http://[::1]:80/", "[::1]"),
        ("http://[::1", "[:"),
    ],
)
def test_last_parts(url: str, name: str) -> None:
    """The host where there is no path; nothing raises."""
    assert last_part(url) == name


def test_content() -> None:
    """Read whole, or not at all."""
    with serve() as site:
        site.files["/a"] = b"abc" * 1000
        assert read_address(f"{site.url}/a", 3000) == b"abc" * 1000
        with pytest.raises(WebError, match="^larger than 0 MiB$"):
            read_address(f"{site.url}/a", 2999)
        site.cuts = [100]
        with pytest.raises(WebError, match=r"^the connection ended 2,900 bytes too early$"):
            read_address(f"{site.url}/a", 3000)
        with pytest.raises(WebError, match=r"^not complete after 0 seconds$"):
            read_address(f"{site.url}/a", 3000, most_seconds=0)
        with pytest.raises(WebError, match="^HTTP 404 Not Found$") as raised:
            read_address(f"{site.url}/b", 3000)
        assert raised.value.status == 404


def test_a_slow_answer() -> None:
    """Has a time limit."""
    with serve() as site:
        site.files["/a"], site.delay = b"abc", 1.0
        with pytest.raises(WebError, match="^the connection was lost: timed out$"):
            read_address(f"{site.url}/a", 3000, timeout=0.1)


def test_a_login_stays_with_its_host() -> None:
    """A redirect to another place does not get the password."""
    with serve() as site, serve() as other:
        other.files["/a"] = b"abc"
        site.redirects["/a"] = f"{other.url}/a"
        with open_address(f"{site.url.replace('://', '://u:p@')}/a") as response:
            assert response.read() == b"abc"
        assert site.logins == ["Basic dTpw"] and other.logins == [None]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "http://[::1", "http://a b/", "http://"])
def test_no_address(url: str) -> None:
    """A reason, not another exception."""
    with pytest.raises(WebError, match="^cannot be reached: "):
        open_address(url)
