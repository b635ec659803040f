"""Evaluate a detector on labelled images, in one process or in several.

The images are those of a ``.data`` file's list or of COCO's annotations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_set import ImageSet
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import DataError
from darknet_builder.evaluation.coco.annotations import CocoSet, load_annotations
from darknet_builder.evaluation.coco.measure import (
    CocoResult,
    annotated_average_precision,
    coco_average_precision,
)
from darknet_builder.evaluation.darknet_map import ImageBoxes, mean_average_precision
from darknet_builder.evaluation.predictions import Runner, find_boxes
from darknet_builder.evaluation.report import EvaluationReport
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.network.network import Network
from darknet_builder.network.task import class_names, known_names, num_classes
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.distributed import ProcessGroup


@dataclass(frozen=True)
class Metrics:
    """The numbers to compute.

    Attributes:
        iou: IoU above which a box matches its object, 0 to below 1.
        points: number of recalls at which a precision-recall curve is read; 0 for the area under
            it.
        confidence: score above which boxes count for precision, recall and F1.
        coco: whether to compute COCO's numbers as well, which needs pycocotools.
    """

    iou: float = 0.5
    points: int = 0
    confidence: float = 0.25
    coco: bool = False


@dataclass(frozen=True)
class Evaluation:
    """A detector and the labelled images to evaluate it on.

    ``plan`` and ``plan_annotated`` make one and check that both fit.

    Attributes:
        detector: its thresholds, resize mode, batch and tiling are used.
        names: names of the classes that the detector reports.
        images: the images with their labels.
        difficult: the same images, labelled with objects that need not be found; None without
            ``difficult=``.
        annotated: COCO's annotations of the images; None for label files.
    """

    detector: Detector
    names: tuple[str, ...]
    images: ImageSet
    difficult: ImageSet | None
    annotated: CocoSet | None = None

    @classmethod
    def plan(
        cls,
        data: DataFile,
        detector: Detector,
        split: str = "valid",
        *,
        skip_bad_labels: bool = False,
        strict: bool = False,
        limit: int | None = None,
    ) -> Evaluation:
        """Read the labels, and check that classes and names agree.

        Args:
            data: the ``.data`` file that names the lists.
            detector: a detector, whose weights need not be loaded yet.
            split: key of the list in ``data``.
            skip_bad_labels: count wrong lines of label files and leave them out; otherwise they
                raise an error.
            strict: labels that Darknet's training changes or leaves out are wrong lines too. They
                are used unchanged otherwise, as in ``detector map`` (detector.c:1085).
            limit: number of images, counted from the first; None for all.

        Raises:
            DataError: with file and line, if something is missing or wrong.
        """
        names = agreed_names(data, detector.network)

        def load(key: str) -> ImageSet:
            return data.load(
                key,
                classes=len(names),
                skip_bad_labels=skip_bad_labels,
                strict=strict,
                limit=limit,
            )

        try:
            images = load(split)
        except DataError as error:
            raise _with_other_list(error, data, split) from None
        return cls(detector, names, images, load("difficult") if data.has("difficult") else None)

    @classmethod
    def plan_annotated(
        cls,
        path: str | Path,
        folder: str | Path,
        detector: Detector,
        *,
        names: str | Path | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Evaluation:
        """Read COCO's annotations, and find a category for each class of the network.

        Args:
            path: the annotation file, such as ``instances_val2017.json``.
            folder: the folder with its images.
            detector: a detector, whose weights need not be loaded yet.
            names: class names of the network, as a ``.names`` file or a list; None for its own.
                Without any, its classes are the categories in the order of their ids.
            limit: number of images, counted from the first; None for all.

        Raises:
            DataError: if something is missing or wrong, or if a class has no category.
        """
        network = detector.network
        known = known_names(network, names)
        annotated = load_annotations(
            path, folder, names=known, classes=num_classes(network), limit=limit
        )
        return cls(detector, known or annotated.names, annotated.images, None, annotated)

    def run(
        self,
        runner: Runner,
        metrics: Metrics,
        group: ProcessGroup,
        advance: Callable[[], None],
    ) -> EvaluationReport | None:
        """Find the boxes in this process's share of the images, and report on all images.

        Args:
            runner: computes the raw maps, such as an optimised copy of the detector's network.
            metrics: the numbers to compute.
            group: the processes that share the work.
            advance: called after each image.

        Returns:
            The report in the main process; None in the others.
        """
        started = time.perf_counter()
        with noting_truncated() as truncated:
            boxes = group.gather(self._find(runner, group, advance))
        num_truncated = sum(group.gather([len(truncated)]))
        seconds = time.perf_counter() - started
        if not group.is_main:
            return None
        result = mean_average_precision(
            boxes, self.names, iou=metrics.iou, points=metrics.points, confidence=metrics.confidence
        )
        coco = self._coco_numbers(boxes) if metrics.coco else None
        if self.annotated is not None:
            self.annotated.warn_of_sizes(boxes)
        return EvaluationReport(
            self.images, result, coco, seconds, num_truncated, self.annotated, boxes
        )

    def warm_up(self, runner: OptimizedNetwork, group: ProcessGroup) -> None:
        """Run an engine's first calls, whose results differ from later ones in the last digits.

        Args:
            runner: optimised copy of the detector's network.
            group: the processes that share the work.
        """
        # With fewer images than processes, some have no share.
        if share := group.shard(self.images):
            runner.warm_up(min(self.detector.batch, len(share)))

    def _coco_numbers(self, boxes: Sequence[ImageBoxes]) -> CocoResult | None:
        if self.annotated is None:
            return coco_average_precision(boxes, self.names)
        if self.annotated.annotations is None:
            return None
        return annotated_average_precision(boxes, self.annotated)

    def _find(
        self, runner: Runner, group: ProcessGroup, advance: Callable[[], None]
    ) -> list[ImageBoxes]:
        detector, images = self.detector, []
        difficult = None if self.difficult is None else group.shard(self.difficult)
        for boxes in find_boxes(
            detector.network,
            group.shard(self.images),
            difficult=difficult,
            nms=detector.nms,
            threshold=detector.threshold,
            resize=detector.resize,
            batch=detector.batch,
            runner=runner,
            tiling=detector.tiling,
            in_pixels=self.annotated is not None,  # as detector valid
        ):
            images.append(boxes)
            advance()
        return images


def agreed_names(data: DataFile, network: Network) -> tuple[str, ...]:
    """Return a name for each class that the network reports.

    With ``map=`` in the ``.data`` file, the heads' ``report_map`` is set to it.

    Args:
        data: a file with ``classes=`` or ``names=``.
        network: a detector, with or without its weights.

    Raises:
        DataError: with file and line, if data, names and network disagree.
    """
    head, names, class_map = network.heads[-1], data.names, data.class_map
    if class_map is not None:
        _report_by_map(data, network, class_map)
        # The names may be those of all classes or of the reported ones.
        if names is not None and len(names) == head.classes:
            names = tuple(names[number] for number in class_map)
        elif names is not None and len(names) != len(class_map):
            raise data.error(
                f"{len(names)} names, but the network has {head.classes} classes, of which map="
                f" selects {len(class_map)}",
                "names",
            )
    elif data.classes != head.classes:
        key, count = "classes", ""
        if "classes" not in data.options:
            key, count = "names", f"{data.classes} names, "
        raise data.error(
            f"{count}but the network has {head.classes} classes (classes= in the cfg)", key
        )
    return names or class_names(network)


def _with_other_list(error: DataError, data: DataFile, split: str) -> DataError:
    """Return the error; where the list of ``split`` is missing, name the one of ``test=``."""
    if error.key != split or split in data.options or "test" not in data.options:
        return error
    return DataError(
        error.message,
        path=error.path,
        line=error.line,
        key=error.key,
        hint="test= names a list that can be evaluated instead",
        argument="split",
    )


def _report_by_map(data: DataFile, network: Network, class_map: Sequence[int]) -> None:
    for head in network.heads:
        if head.tree is None:
            raise data.error(
                "needs a network whose [region] has tree=; this network has none", "map"
            )
        if max(class_map) >= head.classes:
            raise data.error(
                f"has class {max(class_map)}, but the network has {head.classes} classes", "map"
            )
        head.report_map = list(class_map)
