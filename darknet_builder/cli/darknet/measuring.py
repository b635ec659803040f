"""``detector valid``, ``map`` and ``recall``: a detector on a list of images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TextIO

from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cli.darknet.model import announce, choose_device
from darknet_builder.cli.darknet.request import Request
from darknet_builder.compat.program.boxes import ListedBoxes, list_boxes
from darknet_builder.compat.program.documents import coco_results, voc_lists
from darknet_builder.compat.program.lines import head_lines
from darknet_builder.compat.program.map_table import map_table
from darknet_builder.compat.program.recall import count_recall
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import read_image_list
from darknet_builder.errors import InputError
from darknet_builder.evaluation.map_rules import MAP_NMS, MAP_THRESHOLD
from darknet_builder.evaluation.run import Evaluation, Metrics, agreed_names
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.distributed import ProcessGroup
from darknet_builder.support.files import write_text, writing

_RECALL_THRESHOLD = 0.001  # detector.c:864
_COCO, _VOC = "coco", "voc"


def run_map(request: Request, out: TextIO) -> int:
    """Print Darknet's table of average precision."""
    data = DataFile.read(request.words[0])
    data.file("names")  # Darknet refuses a .data file without names
    detector = _make_detector(request, out, MAP_THRESHOLD, MAP_NMS)
    evaluation = Evaluation.plan(data, detector)
    metrics = Metrics(
        request.value("-iou_thresh", 0.5),
        request.value("-points", 0),
        request.value("-thresh", 0.25),
    )
    announce(detector.network, out)
    out.write(f"\n calculation mAP (mean average precision)...\n{head_lines(detector.network)}")
    out.flush()
    group = ProcessGroup(device=str(detector.device))
    report = evaluation.run(detector.network.optimized(), metrics, group, _nothing)
    assert report is not None, "there is one process"
    out.write(map_table(report.darknet))
    return 0


def run_valid(request: Request, out: TextIO) -> int:
    """Write the boxes of a list into ``results``, as COCO's or VOC's evaluation reads them."""
    data = DataFile.read(request.words[0])
    kind = data.options.get("eval", _VOC)
    if kind not in (_COCO, _VOC):
        raise data.error(f"is not supported; expected {_COCO} or {_VOC}", "eval")
    data.file("names")
    images = read_image_list(data.file("valid"))
    dialect = get_dialect(None)
    detector = _make_detector(request, out, dialect.valid_threshold, dialect.valid_nms)
    names = agreed_names(data, detector.network)
    announce(detector.network, out)
    out.write(head_lines(detector.network))
    out.flush()
    # An iterator, because the scores of all classes of all boxes would fill the memory.
    listed = _list_boxes(detector, images, names)
    texts = _result_files(kind, request.value("-out"), listed, names)
    folder = Path(data.options.get("results", "results"))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with writing(folder / name):
            write_text(folder / name, text)
    return 0


def _list_boxes(
    detector: Detector, images: Sequence[Path], names: Sequence[str]
) -> Iterator[tuple[str, ListedBoxes]]:
    """Yield path and boxes of each image, which are read ahead in threads."""
    with closing(read_ahead(detector.prepare, images, batch=1)) as ahead:
        for path, prepared in zip(images, ahead, strict=True):
            detector.network.reset_state()  # photographs are independent of each other
            raw_maps = detector.raw_maps(prepared.x[None])  # (C, H, W) -> (1, C, H, W)
            yield (
                str(path),
                list_boxes(detector, raw_maps, prepared.placement, names=names, in_pixels=True),
            )


def _result_files(
    kind: str, name: str | None, listed: Iterable[tuple[str, ListedBoxes]], names: Sequence[str]
) -> dict[str, str]:
    """Return the text of each file by its name.

    Args:
        kind: format of the files, ``coco`` or ``voc``.
        name: value of ``-out``: the file name without suffix for COCO, the prefix for VOC.
        listed: path and boxes of each image.
        names: names of all classes.
    """
    if kind == _COCO:
        return {f"{name or 'coco_results'}.json": coco_results(listed)}
    files = {}
    for class_name, text in zip(names, voc_lists(listed, len(names)), strict=True):
        files[f"{name or 'comp4_det_test_'}{class_name}.txt"] = text
    return files


def run_recall(request: Request, out: TextIO) -> int:
    """Print the recall so far on standard error, a line after each image."""
    data = DataFile.read(request.words[0])
    detector = _make_detector(request, out, _RECALL_THRESHOLD, MAP_NMS, resize="stretch")
    images = data.load("valid", classes=detector.network.heads[-1].classes)
    announce(detector.network, out)
    out.flush()
    for recall in count_recall(detector, images):
        sys.stderr.write(recall.line() + "\n")
    return 0


def _make_detector(
    request: Request, out: TextIO, threshold: float, nms: float, *, resize: str | None = None
) -> Detector:
    for flag in ("-iou_thresh", "-thresh"):
        if not 0 <= request.value(flag, 0) < 1:
            raise InputError(f"{flag} {request.value(flag):g}: expected a number from 0 to below 1")
    cfg, weights = request.words[1:3]
    device = choose_device(request, out)
    return Detector(cfg, weights, threshold=threshold, nms=nms, resize=resize, device=device)


def _nothing() -> None:
    """Show no progress."""
