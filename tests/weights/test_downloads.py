"""Downloads from a server that misbehaves: nothing half-written under the final name, and one clear
line."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darknet_builder.errors import DownloadError, InputError
from darknet_builder.support.web import requests
from darknet_builder.support.web.opener import SafeRedirects
from darknet_builder.weights import downloads
from darknet_builder.weights.downloads import Download, Expected, download
from tests.helpers.web_server import Site, serve

CONTENT = bytes(range(256)) * 40
"""10,240 bytes; a short and a long header make 10,236 another right size."""
OTHER = CONTENT[::-1]
SIZES = (len(CONTENT), len(CONTENT) - 4)
EMPTY: dict[str, tuple[str, ...]] = {}


def digest(kind: str, content: bytes = CONTENT) -> str:
    return hashlib.new(kind, content).hexdigest()


CHECKED = Expected(SIZES, {"sha256": (digest("sha256"),), "sha1": (), "md5": ()})
UNCHECKED = Expected(SIZES, EMPTY)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that has the file, in small pieces."""
    monkeypatch.setattr(downloads, "_CHUNK", 1000)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as site:
        site.files["/net.weights"] = CONTENT
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "net.weights"


def fetch(
    site: Site, target: Path, expected: Expected = CHECKED, *paths: str, **more: Any
) -> Download:
    return download(
        [site.url + path for path in paths or ("/net.weights",)], target, expected, **more
    )


def failure(site: Site, target: Path, expected: Expected = CHECKED, *paths: str) -> str:
    """The text of the error, with the server's and the folder's names taken out."""
    with pytest.raises(DownloadError) as caught:
        fetch(site, target, expected, *paths)
    assert not target.exists() and "\n" not in str(caught.value)
    return str(caught.value).replace(site.url, "URL").replace(str(target.parent), "DIR")


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


# ---- all is well ---------------------------------------------------------------------------------


def test_fetch(site: Site, target: Path) -> None:
    assert fetch(site, target) == Download(target, 10240, "sha256", fetched=True)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["net.weights"]
    assert site.requests == [("/net.weights", None, None)]


def test_permissions_are_the_users(site: Site, target: Path) -> None:
    mask = os.umask(0o027)
    try:
        fetch(site, target)
    finally:
        os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o640


def test_the_folder_is_made(site: Site, tmp_path: Path) -> None:
    assert fetch(site, tmp_path / "new" / "folder" / "net.weights").path.read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched_again(site: Site, target: Path) -> None:
    target.write_bytes(CONTENT)
    assert fetch(site, target) == Download(target, 10240, "sha256", fetched=False)
    assert fetch(site, target, UNCHECKED) == Download(target, 10240, "", fetched=False)
    assert site.requests == []


def test_the_short_header_is_another_right_size(site: Site, target: Path) -> None:
    site.files["/net.weights"] = CONTENT[4:]
    assert fetch(site, target, UNCHECKED) == Download(target, 10236, "", fetched=True)


@pytest.mark.parametrize(
    ("checksums", "used"),
    [
        ({"sha256": ("0" * 64, digest("sha256"))}, "sha256"),
        ({"sha1": ("0" * 40, digest("sha1"))}, "sha1"),
        (
            {"sha256": ("0" * 64,), "md5": (digest("md5"),)},
            "md5",
        ),  # sources that do not mean the same upload
        ({"sha256": (digest("sha256"),), "md5": ("0" * 32,)}, "sha256"),
        (EMPTY, ""),
    ],
)
def test_any_known_checksum_will_do(
    site: Site, target: Path, checksums: dict[str, tuple[str, ...]], used: str
) -> None:
    assert fetch(site, target, Expected(SIZES, checksums)).checksum == used


def test_progress(site: Site, target: Path) -> None:
    told: list[tuple[int, int]] = []
    fetch(site, target, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (10240, 10240) and len(told) >= 10
    assert told == sorted(told) and {total for _, total in told} == {10240}


def test_redirect(site: Site, target: Path) -> None:
    site.redirects["/old"] = "/net.weights"
    site.cuts = [4000]
    assert fetch(site, target, CHECKED, "/old").path.read_bytes() == CONTENT
    assert site.requests[-1] == (
        "/net.weights",
        "bytes=3999-",
        None,
    )  # the redirected request asks for the rest too


def test_a_server_that_names_no_length(site: Site, target: Path) -> None:
    site.announce = ""
    assert fetch(site, target, UNCHECKED).path.read_bytes() == CONTENT


# ---- interrupted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_lost_connections_are_gone_on_from(site: Site, target: Path, reset: bool) -> None:
    site.cuts, site.reset = [4000, 3000], reset
    assert fetch(site, target).path.read_bytes() == CONTENT
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=3999-", "bytes=6998-"]


def test_an_unfinished_download_is_kept_and_gone_on_from_by_the_next(
    site: Site, target: Path
) -> None:
    site.cuts = [4000, 0]
    assert (
        failure(site, target)
        == "URL/net.weights: the connection ended after 4,000 of 10,240 bytes; 4,000 bytes are kept"
        " in DIR/net.weights.part, run the same command to resume"
    )
    assert names(target) == ["net.weights.part", "net.weights.part.tag"]
    told: list[int] = []
    fetch(site, target, progress=lambda done, total: told.append(done))
    assert site.requests[-1][1] == "bytes=3999-" and told[0] > 4000
    assert target.read_bytes() == CONTENT and names(target) == ["net.weights"]


def test_stopped_by_the_user(site: Site, target: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 5000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(site, target, progress=stop)
    part = target.with_name("net.weights.part")
    assert (
        not target.exists() and CONTENT.startswith(part.read_bytes()) and part.stat().st_size > 4000
    )
    assert fetch(site, target).path.read_bytes() == CONTENT
    assert site.requests[-1][1] is not None


def test_a_connection_that_falls_silent(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "TIMEOUT", 0.05)
    site.delay = 0.5
    assert failure(site, target) == "URL/net.weights: the connection was lost: timed out"


def test_a_connection_that_is_lost_again_and_again(site: Site, target: Path) -> None:
    site.cuts = [100] * 99
    assert failure(site, target).startswith(
        "URL/net.weights: the connection was lost 10 times; 991 bytes are kept in"
    )


def test_a_whole_part_only_needs_its_name(site: Site, target: Path) -> None:
    target.with_name("net.weights.part").write_bytes(CONTENT)
    assert fetch(site, target).fetched and target.read_bytes() == CONTENT
    assert site.requests == [("/net.weights", "bytes=10239-", None)]


def test_a_part_that_ends_with_the_short_size_is_not_taken_for_whole(
    site: Site, target: Path
) -> None:
    site.etags["/net.weights"], site.cuts = '"one"', [10236, 0]
    assert "after 10,236 of 10,240" in failure(site, target, UNCHECKED)
    assert fetch(site, target, UNCHECKED).path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_fetched_anew(site: Site, target: Path) -> None:
    target.with_name("net.weights.part").write_bytes(CONTENT + b"x")
    assert fetch(site, target).path.read_bytes() == CONTENT
    assert [asked for _, asked, _ in site.requests] == ["bytes=10240-", None]


def test_a_part_that_is_of_something_else_is_fetched_anew(site: Site, target: Path) -> None:
    target.with_name("net.weights.part").write_bytes(OTHER[:3000])
    assert fetch(site, target).path.read_bytes() == CONTENT
    assert [asked for _, asked, _ in site.requests] == ["bytes=2999-", None]


@pytest.mark.parametrize("expected", [CHECKED, UNCHECKED])
def test_a_server_without_ranges(site: Site, target: Path, expected: Expected) -> None:
    site.ranges, site.cuts = False, [4000]
    assert fetch(site, target, expected).path.read_bytes() == CONTENT


def test_a_server_that_sends_another_part(site: Site, target: Path) -> None:
    site.wrong_range, site.cuts = True, [4000]
    assert fetch(site, target).path.read_bytes() == CONTENT
    assert [asked for _, asked, _ in site.requests] == [None, "bytes=3999-", None]


# ---- which version -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("etag", "modified", "named"),
    [
        ('"one"', "Wed, 01 Jan 2020 00:00:00 GMT", '"one"'),
        (
            'W/"one"',
            "Wed, 01 Jan 2020 00:00:00 GMT",
            "Wed, 01 Jan 2020 00:00:00 GMT",
        ),  # a weak one may not be named
        ("", "Wed, 01 Jan 2020 00:00:00 GMT", "Wed, 01 Jan 2020 00:00:00 GMT"),
    ],
)
def test_the_rest_is_asked_for_of_the_same_version(
    site: Site, target: Path, etag: str, modified: str, named: str
) -> None:
    site.etags["/net.weights"], site.modified, site.cuts = etag, modified, [4000]
    fetch(site, target, UNCHECKED)
    assert site.requests[1:] == [("/net.weights", "bytes=3999-", named)]


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site, target: Path) -> None:
    site.etags["/net.weights"], site.cuts = '"one"', [4000, 0]
    failure(site, target, UNCHECKED)
    site.etags["/net.weights"], site.files["/net.weights"] = '"two"', OTHER
    assert fetch(site, target, UNCHECKED).path.read_bytes() == OTHER


def test_without_a_version_and_a_checksum_nothing_is_put_together(site: Site, target: Path) -> None:
    site.cuts = [4000, 0]
    failure(site, target, UNCHECKED)
    site.files["/net.weights"] = OTHER
    assert fetch(site, target, UNCHECKED).path.read_bytes() == OTHER
    assert [asked for _, asked, _ in site.requests] == [None, None, None]


def test_a_part_of_another_address_is_not_mixed_in(site: Site, target: Path) -> None:
    site.etags = {"/net.weights": '"one"', "/other.weights": '"one"'}
    site.files["/other.weights"], site.cuts = OTHER, [4000, 0]
    failure(site, target, UNCHECKED)
    assert fetch(site, target, UNCHECKED, "/other.weights").path.read_bytes() == OTHER


def test_the_next_address_goes_on_where_a_checksum_will_tell(site: Site, target: Path) -> None:
    site.files["/mirror"], site.cuts = CONTENT, [4000, 0]
    assert fetch(site, target, CHECKED, "/net.weights", "/mirror").path.read_bytes() == CONTENT
    assert site.requests[-1] == ("/mirror", "bytes=3999-", None)


# ---- what servers do wrong -----------------------------------------------------------------------


def test_truncated_by_a_server_that_names_no_length(site: Site, target: Path) -> None:
    site.announce, site.cuts = "", [4000, 0]
    assert failure(site, target).startswith(
        "URL/net.weights: the connection ended after 4,000 of 10,240 bytes"
    )


def test_wrong_checksum(site: Site, target: Path) -> None:
    site.files["/net.weights"] = OTHER
    assert (
        failure(site, target)
        == f"URL/net.weights: the file's sha256 is {digest('sha256', OTHER)}; expected"
        f" {digest('sha256')}; it was removed"
    )
    assert names(target) == []


def test_wrong_checksum_of_a_file_that_was_replaced(site: Site, target: Path) -> None:
    expected = Expected(SIZES, {"sha1": ("1" * 40, "2" * 40)})
    assert (
        failure(site, target, expected) == f"URL/net.weights: the file's sha1 is {digest('sha1')}; "
        f"expected {'1' * 40} or {'2' * 40}; it was removed"
    )


@pytest.mark.parametrize("content", [b"<html>Sorry</html>", CONTENT + b"more"])
def test_wrong_size(site: Site, target: Path, content: bytes) -> None:
    """Refused before a byte of it is stored."""
    site.files["/net.weights"] = content
    assert (
        failure(site, target)
        == f"URL/net.weights: offers a file of {len(content):,} bytes; expected 10,240 or 10,236"
    )
    assert names(target) == []


def test_a_wrong_size_leaves_an_older_part_alone(site: Site, target: Path) -> None:
    site.cuts = [4000, 0]
    failure(site, target)
    site.files["/net.weights"] = b"<html>Sorry</html>"
    assert "4,000 bytes are kept" in failure(site, target)


def test_no_end(site: Site, target: Path) -> None:
    site.announce, site.files["/net.weights"] = "", CONTENT * 3
    assert (
        failure(site, target)
        == "URL/net.weights: the file is longer than 10,240 or 10,236 bytes; it was removed"
    )
    assert names(target) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "HTTP 404 Not Found"),
        (403, "HTTP 403 Forbidden"),
        (500, "HTTP 500 Internal Server Error"),
    ],
)
def test_http_errors(site: Site, target: Path, status: int, words: str) -> None:
    site.statuses["/net.weights"] = status
    assert failure(site, target) == f"URL/net.weights: {words}"
    assert names(target) == []


def test_redirected_in_a_circle(site: Site, target: Path) -> None:
    site.redirects["/net.weights"] = "/net.weights"
    assert failure(site, target).startswith(
        "URL/net.weights: HTTP 302 The HTTP server returned a redirect error"
    )


def test_the_next_address_is_tried(site: Site, target: Path) -> None:
    site.files["/wrong"] = OTHER
    assert (
        fetch(site, target, CHECKED, "/gone", "/wrong", "/net.weights").path.read_bytes() == CONTENT
    )
    assert [path for path, _, _ in site.requests] == ["/gone", "/wrong", "/net.weights"]


def test_every_address_is_named_when_all_fail(site: Site, target: Path) -> None:
    site.statuses["/b"] = 503
    assert (
        failure(site, target, CHECKED, "/a", "/b")
        == "URL/a: HTTP 404 Not Found; URL/b: HTTP 503 Service Unavailable"
    )


def test_a_reason_that_all_addresses_share_is_named_once(site: Site, target: Path) -> None:
    site.statuses["/b"] = 503
    assert (
        failure(site, target, CHECKED, "/a", "/b", "/c")
        == "URL/a, URL/c: HTTP 404 Not Found; URL/b: HTTP 503 Service Unavailable"
    )


def test_nobody_there(target: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/net.weights"
        with pytest.raises(
            DownloadError, match=f"^{re.escape(url)}: cannot be reached: Connection refused$"
        ):
            download([url], target, CHECKED)


@pytest.mark.parametrize(
    "url",
    [
        "http://no-such-host.invalid/a",
        "http://a..b/a",
        "http://127.0.0.1:x/a",
        "http://127.0.0.1/a b",
    ],
)
def test_unreachable(target: Path, url: str) -> None:
    with pytest.raises(DownloadError, match=f"^{re.escape(url)}: cannot be reached: \\S.*"):
        download([url], target, CHECKED)


# ---- this machine --------------------------------------------------------------------------------


def test_no_space_is_seen_before_the_download(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    assert failure(site, target) == "DIR: 10,240 bytes are needed, but 10,000 are free"
    assert site.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_space_on_the_way(site: Site, target: Path) -> None:
    """``/dev/full`` takes the place of a file on a full disk."""
    target.with_name("net.weights.part").symlink_to("/dev/full")
    assert (
        failure(site, target) == "DIR/net.weights.part: cannot be written: No space left on device"
    )
    assert len(site.requests) == 1, "another address would not help"


def test_the_name_is_taken_by_another_file(site: Site, target: Path) -> None:
    target.write_bytes(OTHER)
    with pytest.raises(InputError) as caught:
        fetch(site, target)
    assert (
        str(caught.value) == f"{target}: exists and is not the expected file: the file's sha256 is "
        f"{digest('sha256', OTHER)}; expected {digest('sha256')}; "
        "move it away, or choose another folder"
    )
    assert target.read_bytes() == OTHER and site.requests == []


def test_the_name_is_taken_by_a_folder(site: Site, target: Path) -> None:
    target.mkdir()
    with pytest.raises(
        InputError,
        match="exists and is not the expected file: it is not a regular file; move it away",
    ):
        fetch(site, target)


def test_the_folder_cannot_be_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"file/new: cannot be created: Not a directory$"):
        fetch(site, tmp_path / "file" / "new" / "net.weights")


def test_exit_statuses() -> None:
    assert (InputError("").exit_status, DownloadError("").exit_status) == (2, 1)


# ---- safety --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("ftp://127.0.0.1/a", "cannot be reached: http is redirected to ftp, which is not safe"),
        (
            "file:///etc/passwd",
            "HTTP 302 Found - Redirection to url 'file:///etc/passwd' is not allowed",
        ),
    ],
)
def test_redirected_to_something_else(site: Site, target: Path, place: str, reason: str) -> None:
    """Only http and https are followed."""
    site.redirects["/net.weights"] = place
    assert failure(site, target) == f"URL/net.weights: {reason}"


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/a", "file:///etc/passwd", "no address", ""])
def test_other_addresses(target: Path, place: str) -> None:
    """Only http and https are asked."""
    with pytest.raises(DownloadError, match="cannot be reached"):
        download([place], target, CHECKED)
    assert not target.exists()


def test_https_never_becomes_http() -> None:
    """A redirect that gives up the encryption is refused; one that begins it is followed."""
    headers = http.client.HTTPMessage()

    def follow(old: str, new: str) -> str | None:
        request = urllib.request.Request(old)
        found = SafeRedirects().redirect_request(request, None, 302, "Found", headers, new)
        return found and found.full_url

    assert follow("https://a.org/x", "https://b.org/x") == "https://b.org/x"
    assert follow("http://a.org/x", "https://b.org/x") == "https://b.org/x"
    assert follow("http://a.org/x", "http://b.org/x") == "http://b.org/x"
    for unsafe in ("http://b.org/x", "HTTP://b.org/x", "ftp://b.org/x"):
        with pytest.raises(urllib.error.URLError, match="https is redirected to .*, which is not"):
            follow("https://a.org/x", unsafe)


def test_the_checksum_of_an_unchecked_file(site: Site, target: Path) -> None:
    """It is told, to compare a later download with; a checked file needs none."""
    assert fetch(site, target, UNCHECKED).sha256 == digest("sha256")
    assert fetch(site, target, UNCHECKED).sha256 == digest("sha256")
    assert fetch(site, target, CHECKED).sha256 == ""
