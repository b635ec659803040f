"""Make the page of the server: drop a picture, and see the boxes in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from darknet_builder.pages.detections_page import class_css
from darknet_builder.pages.templates import fill, html_text, read_part, script_data, theme_css
from darknet_builder.support.text import printable


class UploadPage:
    """A page that sends pictures to ``detect`` on the same server, and draws what is found.

    The page loads nothing else, and its policy forbids it to.

    Args:
        title: heading of the page.
        names: class names.
        threshold: minimum confidence, in [0, 1], where the page's slider begins.
        has_stream: whether the page links to the live picture.

    Attributes:
        html: the page as text.
        policy: value of the header ``Content-Security-Policy``.

    Example:
        >>> page = UploadPage("shapes <b>", ["ring"], 0.25)
        >>> "<h1>shapes &lt;b&gt;</h1>" in page.html
        True
        >>> page.policy.split("; ")[0]
        "default-src 'none'"
    """

    def __init__(
        self, title: str, names: Sequence[str], threshold: float, *, has_stream: bool = False
    ) -> None:
        script = f"\n{read_part('labels.js')}\n{read_part('upload.js')}\n"
        parts = [read_part(name) for name in ("base.css", "report.css", "upload.css")]
        self.html = fill(
            "upload.html",
            title=html_text(title),
            style="\n".join([theme_css(), *parts, class_css(range(len(names)))]),
            threshold=f"{threshold:g}",
            live='<a href="stream">live picture</a>' if has_stream else "",
            # Bytes of a names file that are not UTF-8 could not be sent.
            data=printable(script_data({"names": list(names)})),
            script=script,
        )
        # The hash of the whole text of the element, so that no other script can run.
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        self.policy = (
            "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; style-src"
            f" 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'"
        )
