"""``detector demo``: objects in a video file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from darknet_builder.cli.darknet.detecting import Found, find, make_detector
from darknet_builder.cli.darknet.request import Request
from darknet_builder.compat.program.documents import image_object, json_document
from darknet_builder.compat.program.lines import object_lines
from darknet_builder.data.data_file import DataFile
from darknet_builder.errors import ImageError
from darknet_builder.images.files import write_image
from darknet_builder.images.video import Video, open_video, write_video
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.files import (
    check_folder,
    refuse_overwriting,
    write_text,
    writing,
)

_SMOOTHING = 0.1
"""Weight of the newest frame in Darknet's frames per second (demo.c:396)."""


@dataclass
class _Demo:
    """One run of ``detector demo``.

    Attributes:
        request: the command line with its flags.
        out: stream for Darknet's lines.
        append: adds a frame to the video of ``-out_filename``; None without it.
        objects: the JSON of each frame so far, for ``-json_file_output``.
        frames: number of frames so far.
        fps: moving average of the frames per second.
        started: start time in seconds of ``time.perf_counter``.
    """

    request: Request
    out: TextIO
    append: Callable[[np.ndarray], None] | None
    objects: list[str] = field(default_factory=list)
    frames: int = 0
    fps: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add(self, found: Found, seconds: float) -> None:
        """Print the lines of a frame and write its files."""
        self.frames += 1
        self.fps += _SMOOTHING * (1 / max(seconds, 1e-9) - self.fps)
        average = self.frames / (time.perf_counter() - self.started)
        extended = self.request.has("-ext_output")
        self.out.write(f"Objects:\n\n{object_lines(found.listed, extended=extended)}")
        self.out.write(f"\nFPS:{self.fps:.1f} \t AVG_FPS:{average:.1f}\n")
        self.out.flush()
        if self.request.has("-json_file_output"):
            self.objects.append(image_object(self.frames, found.listed, None))
        self._draw(found)

    def _draw(self, found: Found) -> None:
        prefix = self.request.value("-prefix")
        if self.append is None and prefix is None:
            return
        plain = self.request.has("-dontdraw_bbox")
        picture = found.prepared.image if plain else found.picture()
        if self.append is not None:
            self.append(picture)
        if prefix is not None:
            write_image(f"{prefix}_{self.frames:08d}.jpg", picture)

    def is_over(self) -> bool:
        """Return whether ``-time_limit_sec`` has passed."""
        limit = self.request.value("-time_limit_sec", 0)
        return limit > 0 and time.perf_counter() - self.started > limit


def run_demo(request: Request, out: TextIO) -> int:
    """Detect in each frame of a video; return the exit status."""
    path = request.words[-1]
    for flag in ("-out_filename", "-json_file_output", "-prefix"):
        check_folder(request.value(flag))
    output = request.value("-out_filename")
    if output is not None:
        refuse_overwriting(Path(output), [path], "give -out_filename another file")
    names = DataFile.read(request.words[0]).file("names")
    with open_video(path) as video, ExitStack() as stack:
        out.write("Demo\n")
        detector = make_detector(request, out, names, 1)
        out.write(f"video file: {path}\n")
        append = None
        if output is not None:
            append = stack.enter_context(write_video(output, video.fps))
        demo = _Demo(request, out, append)
        for found, seconds in _find_in_frames(detector, video):
            demo.add(found, seconds)
            if demo.is_over():
                break
        if not demo.frames:
            raise ImageError("has no frame that can be read", path=path)
    out.write("input video stream closed. \n")
    if output is not None:
        out.write("output_video_writer closed. \n")
    json_path = request.value("-json_file_output")
    if json_path is not None:
        with writing(json_path):
            write_text(json_path, json_document(demo.objects))
    return 0


def _find_in_frames(detector: Detector, video: Video) -> Iterator[tuple[Found, float]]:
    """Yield the result of each frame and the seconds that it took."""
    for number, frame in enumerate(video.frames()):
        started = time.perf_counter()
        found, _ = find(detector, frame, keep_state=number > 0)
        yield found, time.perf_counter() - started
