"""Limits of the server, checked when they are set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from darknet_builder.errors import InputError

_MEBIBYTE = 2**20
_MOST_MEBIBYTES = 2**20
_MOST_IMAGES = 2**16
_MOST_SECONDS = 86_400.0


@dataclass(frozen=True)
class ServeSettings:
    """Limits that keep the server's memory and waiting times bounded.

    Attributes:
        queue: maximum number of images that are being received, waiting or in work.
        max_upload: maximum size of a request in MiB.
        timeout: seconds within which an upload must arrive, and then seconds within which it is
            answered.

    Example:
        >>> ServeSettings(max_upload=2).max_bytes
        2097152
        >>> try:
        ...     ServeSettings(queue=0)
        ... except InputError as error:
        ...     print(error)
        queue=0: expected 1 to 65536 images
    """

    queue: int = 64
    max_upload: float = 16.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.queue <= _MOST_IMAGES:
            raise InputError(
                f"expected 1 to {_MOST_IMAGES} images", argument="queue", value=self.queue
            )
        for name, most, unit in (
            ("max_upload", _MOST_MEBIBYTES, "MiB"),
            ("timeout", _MOST_SECONDS, "seconds"),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= most):
                raise InputError(
                    f"expected more than 0 and at most {most:g} {unit}", argument=name, value=value
                )

    @property
    def max_bytes(self) -> int:
        """Return ``max_upload`` in bytes."""
        return max(1, int(self.max_upload * _MEBIBYTE))
