"""Images at web addresses: fetched into memory when they are needed, never saved."""

from __future__ import annotations

import os
from dataclasses import dataclass

from darknet_builder.errors import ImageError
from darknet_builder.support.web.addresses import file_stem, last_part, without_login
from darknet_builder.support.web.requests import WebError, read_address

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

    @property
    def stem(self) -> str:
        """The last part of the address without its suffix, as a file name."""
        return file_stem(self.url)

    @property
    def suffix(self) -> str:
        """The suffix of the last part, such as ``.jpg``."""
        return os.path.splitext(last_part(self.url))[1]

    def read(self) -> bytes:
        """Download the image.

        Raises:
            ImageError: if it cannot be read whole, or is too large.
        """
        try:
            return read_address(self.url, _MOST_BYTES)
        except WebError as error:
            raise ImageError(str(error), path=self.name) from None

    def __str__(self) -> str:
        return self.name
