"""``detector test`` and ``detect``: objects in images."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.cli.darknet.flags import DETECT
from darknet_builder.cli.darknet.model import announce, choose_device
from darknet_builder.cli.darknet.request import Request
from darknet_builder.compat.program.boxes import ListedBoxes, list_boxes
from darknet_builder.compat.program.documents import image_object, json_document, label_lines
from darknet_builder.compat.program.lines import head_lines, object_lines
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import filled_lines
from darknet_builder.data.labels import label_places
from darknet_builder.errors import ImageError
from darknet_builder.images.files import write_image
from darknet_builder.images.inputs import Image
from darknet_builder.prediction.detector import Detector, Prepared
from darknet_builder.support.devices import synchronize
from darknet_builder.support.files import (
    check_folder,
    refuse_overwriting,
    write_text,
    writing,
)

PICTURE = "predictions.jpg"
_SHORT_FORM_THRESHOLD = 0.24  # darknet.c:490
_SHORT_FORM_DATA = "cfg/coco.data"
_PROMPT = "Enter Image Path: "


@dataclass(frozen=True)
class Found:
    """The result on one image.

    Attributes:
        prepared: the image as it was read, and as the network saw it.
        listed: the boxes in Darknet's order.
        detections: the same boxes as ``Detections``, for drawing.
    """

    prepared: Prepared
    listed: ListedBoxes
    detections: Detections

    def picture(self) -> np.ndarray:
        """Return (H, W, 3) uint8, the image with its boxes."""
        return draw_detections(self.prepared.image, self.detections)


def make_detector(request: Request, out: TextIO, names: str | Path, first: int) -> Detector:
    """Make the detector of a command line, and print what Darknet prints about it.

    Args:
        request: the command line with its flags.
        out: stream for Darknet's lines.
        names: file of the class names.
        first: index of CFG among the words.

    Raises:
        DarknetError: as ``Detector``.
    """
    cfg, weights = request.words[first : first + 2]
    device = choose_device(request, out)
    short = _SHORT_FORM_THRESHOLD if request.function == DETECT else 0.25
    detector = Detector(
        cfg,
        weights,
        names,
        threshold=request.value("-thresh", short),
        nms=request.value("-nms", 0.45),
        resize="letterbox" if request.has("-letter_box") else None,
        device=device,
    )
    for head in detector.network.heads:
        if request.has("-hier") and head.tree is not None:
            head.hierarchy_threshold = request.value("-hier")
    announce(detector.network, out)
    return detector


def find(detector: Detector, image: Image, *, keep_state: bool = False) -> tuple[Found, float]:
    """Detect in one image.

    Args:
        detector: the detector whose thresholds apply.
        image: a path or an array.
        keep_state: keep the state of recurrent layers, for the frames of a video.

    Returns:
        The boxes, and the milliseconds that the network took.

    Raises:
        ImageError: if the file cannot be read.
    """
    prepared = detector.prepare(image)
    if not keep_state:
        detector.network.reset_state()
    started = time.perf_counter()
    raw_maps = detector.raw_maps(prepared.x[None])  # (C, H, W) -> (1, C, H, W)
    synchronize(detector.device)
    milliseconds = 1000 * (time.perf_counter() - started)
    listed = list_boxes(detector, raw_maps, prepared.placement)
    (detections,) = detector.interpret(raw_maps, [prepared.placement])
    return Found(prepared, listed, detections), milliseconds


@dataclass
class _Run:
    """One run of ``detector test``.

    Attributes:
        detector: the detector of the command line.
        request: the command line with its flags.
        out: stream for Darknet's lines.
        objects: the JSON of each image so far.
        failures: number of images that could not be read.
    """

    detector: Detector
    request: Request
    out: TextIO
    objects: list[str] = field(default_factory=list)
    failures: int = 0

    def add(self, path: str) -> None:
        """Detect in one image, print its lines and write its files."""
        refuse_overwriting(Path(PICTURE), [path], "the boxes are drawn there; rename the image")
        found, milliseconds = find(self.detector, path)
        self.out.write(head_lines(self.detector.network))
        self.out.write(f"{path}: Predicted in {milliseconds:f} milli-seconds.\n")
        extended = self.request.has("-ext_output")
        self.out.write(object_lines(found.listed, extended=extended))
        self.out.flush()
        write_image(PICTURE, found.picture())
        self.objects.append(image_object(len(self.objects) + 1, found.listed, path))
        if self.request.has("-save_labels"):
            labels = _label_path(Path(path))
            with writing(labels):
                write_text(labels, label_lines(found.listed))

    def add_listed(self) -> None:
        """Detect in the images listed on standard input; report and skip those not readable.

        After Ctrl-C, the JSON has the images so far.
        """
        try:
            for path in image_paths(self.out):
                try:
                    self.add(path)
                except ImageError as error:
                    self.failures += 1
                    sys.stderr.write(f"Cannot load image: {error}\n")
        except KeyboardInterrupt:
            self.save()
            raise

    def save(self) -> None:
        """Write the JSON of ``-out``."""
        path = self.request.value("-out")
        if path is not None:
            with writing(path):
                write_text(path, json_document(self.objects))


def run_test(request: Request, out: TextIO) -> int:
    """Detect in an image, or in those listed on standard input; return the exit status."""
    is_short = request.function == DETECT
    first = 0 if is_short else 1
    check_folder(request.value("-out"))
    detector = make_detector(request, out, _names(request, is_short), first)
    run = _Run(detector, request, out)
    image = request.word(first + 2)
    if image is not None:
        run.add(image)
    else:
        run.add_listed()
    run.save()
    return 1 if run.failures else 0


def _names(request: Request, is_short: bool) -> str | Path:
    """Return the file of the class names; the short form reads ``cfg/coco.data``."""
    if not is_short:
        return DataFile.read(request.words[0]).file("names")
    if Path(_SHORT_FORM_DATA).is_file():
        return DataFile.read(_SHORT_FORM_DATA).file("names")
    return "coco"


def image_paths(out: TextIO) -> Iterator[str]:
    """Ask for paths until standard input ends."""

    def ask() -> str:
        out.write(_PROMPT)
        out.flush()
        return sys.stdin.readline()

    for _, path in filled_lines(iter(ask, "")):
        yield path


def _label_path(image: Path) -> Path:
    """Return the path at which ``train`` will look for the labels of an image."""
    return next(path for path in label_places(image) if path.parent.is_dir())
