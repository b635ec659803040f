"""Images at addresses: fetched into memory when they are needed, never saved."""

from __future__ import annotations

from dataclasses import dataclass

from darknet_builder.errors import ImageError
from darknet_builder.support.web.remote import RemoteFile


@dataclass(frozen=True)
class WebImage(RemoteFile):
    """An image at an address; a detector takes it like any other file object.

    It is downloaded into memory each time it is read, up to 128 MiB. A user name and a password in
    an http or https address are sent to its host alone, and an encrypted address is not left for an
    unencrypted one. Object stores (``s3://``, ``gs://``, ...) and members of archives
    (``zip://a.jpg::photos.zip``) are read by fsspec.

    Attributes:
        url: the address.

    Example:
        >>> WebImage("https://ann:secret@a.org/photo.jpg").name
        'https://a.org/photo.jpg'
    """

    def read(self) -> bytes:
        """Download the image.

        Raises:
            ImageError: if it cannot be read whole, or is too large.
        """
        try:
            return self.read_bounded()
        except OSError as error:
            raise ImageError(f"{error.strerror or error}", path=self.name) from None
