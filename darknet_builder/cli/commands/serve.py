"""Answer HTTP requests with detections: ``darknet-builder serve``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darknet_builder.cli.detection.detector import add_detector, make_detector
from darknet_builder.cli.model import MODEL_OPTIONS, describe_choice, take_named
from darknet_builder.support.text import one_line, plural

if TYPE_CHECKING:
    from darknet_builder.serving.broadcast import OpenFrames

HELP = "answer HTTP requests with detections; show a page for pictures in the browser"
EXAMPLES = """\
This needs the extra 'serve': pip install 'darknet-builder[serve]'. The server stops on Ctrl-C or
SIGTERM, after it has answered all requests that it has received.

addresses:
  POST /detect       bytes of an image, or files as multipart/form-data; the answer is JSON with the
                     records of detect. Parameters: /detect?threshold=0.5&nms=0.3
  GET  /             a page: drop a picture and see its boxes
  GET  /stream       annotated frames of --source as MJPEG
  GET  /stream.jsonl the objects of each frame of --source, one JSON object a line
  GET  /healthz      model, classes and length of the queue

examples:
  darknet-builder serve --model yolov4-tiny --download --port 8000
  darknet-builder serve --cfg my.cfg --weights my.weights --names my.names --device cuda --batch 32
  darknet-builder serve --source clip.mp4
  darknet-builder serve --model yolov4-tiny --source 0
  curl -F image=@photo.jpg http://127.0.0.1:8000/detect
"""
OPTIONS = MODEL_OPTIONS
"""Hints that are shown for a wrong library argument, by argument."""
_BATCH = 8
"""Default batch size: requests that arrive together share a call of the network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_detector(parser, _BATCH)
    _add_address(parser)
    _add_limits(parser)


def _add_address(parser: argparse.ArgumentParser) -> None:
    """Add where the server listens, and what it shows."""
    server = parser.add_argument_group("server")
    server.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="address to listen on; 0.0.0.0 accepts requests from other machines (default:"
        " %(default)s)",
    )
    server.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="N",
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    server.add_argument(
        "--source",
        metavar="FILE",
        help="video file, webcam number, or rtsp:// or http:// address to show at /stream",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ServeSettings``."""
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--queue",
        type=int,
        default=64,
        metavar="N",
        help="number of images that may wait or be in work; more are refused (default:"
        " %(default)s)",
    )
    limits.add_argument(
        "--max-upload",
        type=float,
        default=16,
        metavar="MIB",
        help="largest size of a request in MiB (default: %(default)s)",
    )
    limits.add_argument(
        "--timeout",
        type=float,
        default=30,
        metavar="SECONDS",
        help="seconds for an upload to arrive, and seconds for its answer (default: %(default)s)",
    )


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Serve until the process is told to stop; return 0 after SIGTERM."""
    from darknet_builder.images.opencv import load_opencv
    from darknet_builder.serving import ServeSettings, create_app, listen, run_server
    from darknet_builder.serving.server import address_of, allowed_hosts

    load_opencv()
    settings = ServeSettings(args.queue, args.max_upload, args.timeout)
    source = None if args.source is None else _check_source(args.source)
    with listen(args.host, args.port) as listener:
        address = address_of(listener)
        names = take_named(args, needs_names=args.names is None)
        args.names = args.names or names
        detector = make_detector(args, args.device)
        name = args.model or (Path(args.cfg).stem if args.cfg else "shapes")
        app = create_app(
            detector, name=name, settings=settings, hosts=allowed_hosts(args.host), source=source
        )

        def tell_start() -> None:
            if line := describe_choice(args, detector.runner):
                out.write(f"{line}\n")
            out.write(f"{one_line(name)}: {address} (stop with Ctrl-C)\n")
            out.flush()

        try:
            run_server(app, listener, on_start=tell_start)
        finally:
            count = app.state.service.answered
            out.write(f"stopped; {count} {plural(count, 'image')} answered\n")
    return 0


def _check_source(word: str) -> tuple[str, OpenFrames]:
    """Open a source once, and return its name and the function that opens it.

    Raises:
        ImageError: if it cannot be read.
    """
    from darknet_builder.serving.broadcast import open_source

    name, open_frames = open_source(word)
    with open_frames():
        return name, open_frames
