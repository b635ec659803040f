"""Answer HTTP requests with detections: the application, its queue and the server that runs it.

The options of the command belong in ``cli``, the page in ``pages``. This room needs the extra
``serve``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.extras import load_extra
from darknet_builder.support.lazy import lazy_names

# Here and not in each file: whatever is imported from this room, the error names the extra.
for _module in ("starlette", "uvicorn", "python_multipart"):
    load_extra(_module, "serve")

if TYPE_CHECKING:
    from darknet_builder.serving.app import create_app as create_app
    from darknet_builder.serving.detection_queue import DetectionQueue as DetectionQueue
    from darknet_builder.serving.server import listen as listen
    from darknet_builder.serving.server import run_server as run_server
    from darknet_builder.serving.settings import ServeSettings as ServeSettings
else:
    __getattr__, __all__ = lazy_names(__name__)
