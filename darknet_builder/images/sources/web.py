"""Images at web addresses: fetched into memory when they are needed, never saved."""

from __future__ import annotations

from dataclasses import dataclass

from darknet_builder.support.web.addresses import without_login
from darknet_builder.support.web.requests import read_address

_MOST_BYTES = 2**27
"""The largest image that is fetched: 128 MiB."""


@dataclass(frozen=True)
class WebImage:
    """An image at an http or https address; a detector takes it like any other file object.

    It is downloaded into memory each time it is read, up to 128 MiB. A user name and a password in
    the address are sent to its host alone. An encrypted address is not left for an unencrypted one.

    Attributes:
        url: the address.

    Example:
        >>> WebImage("https://ann:secret@a.org/photo.jpg").name
        'https://a.org/photo.jpg'
    """

    url: str

    @property
    def name(self) -> str:
        """The address without user name and password."""
        return without_login(self.url)[0]

    def read(self) -> bytes:
        """Download the image.

        Raises:
            OSError: if it cannot be read whole, or is too large.
        """
        return read_address(self.url, _MOST_BYTES)

    def __str__(self) -> str:
        return self.name
