"""Data sets in the formats of other programs: one file a format, and the record between them.

Darknet's own lists and labels, as training reads them, are in ``data``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.data.formats.convert import Conversion as Conversion
    from darknet_builder.data.formats.convert import convert_dataset as convert_dataset
    from darknet_builder.data.formats.finding import open_dataset as open_dataset
    from darknet_builder.data.formats.records import AnnotatedImage as AnnotatedImage
    from darknet_builder.data.formats.records import AnnotatedSet as AnnotatedSet
    from darknet_builder.data.formats.records import Annotation as Annotation
else:
    __getattr__, __all__ = lazy_names(__name__)
