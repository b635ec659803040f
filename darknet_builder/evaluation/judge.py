"""Judge a quantized network by the accuracy of its raw maps on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from darknet_builder.data.data_file import DataFile
from darknet_builder.errors import InputError, MissingExtraError
from darknet_builder.evaluation.coco.measure import load_pycocotools
from darknet_builder.evaluation.map_rules import MAP_NMS, MAP_THRESHOLD
from darknet_builder.evaluation.run import Evaluation, Metrics
from darknet_builder.export.quantized.settings import Accuracy, RunRaw
from darknet_builder.network.network import Network
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.distributed import ProcessGroup


class AccuracyJudge:
    """Measure mAP@0.5, and COCO's AP if pycocotools is installed, of a network's raw maps.

    Args:
        network: a detector; its heads decode the raw maps.
        data: path of a ``.data`` file, whose ``valid=`` list is evaluated.
        resize: how images are fitted; None for the network's default.
        advance: called after each image.

    Raises:
        InputError: if the network is not a detector.
        DataError: if the labels cannot be read, or do not fit the network.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data.scenes import write_scenes
        >>> from darknet_builder.prediction.loading import load_network, resolve_model
        >>> cfg, weights, _ = resolve_model("shapes", None, None)
        >>> network = load_network(cfg, weights)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = write_scenes(folder, {"train": 1, "valid": 2})
        ...     judge = AccuracyJudge(network, data)
        ...     judge(network.outputs).map50 > 0.3
        True
    """

    def __init__(
        self,
        network: Network,
        data: str | Path,
        resize: str | None = None,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        if not network.heads:
            raise InputError(
                "mAP is measured for detectors, and this network has no detection head"
            )
        detector = Detector(network, threshold=MAP_THRESHOLD, nms=MAP_NMS, resize=resize)
        self._evaluation = Evaluation.plan(DataFile.read(data), detector)
        self._advance = advance

    def __call__(self, run: RunRaw) -> Accuracy:
        """Return the accuracy of the raw maps that a function computes.

        The mean is over the classes that occur: classes without objects would hide a loss.

        Args:
            run: (B, C, H, W) -> the raw map of every head.
        """
        metrics = Metrics(coco=_has_pycocotools())
        report = self._evaluation.run(run, metrics, ProcessGroup(), self._advance)
        assert report is not None  # there is only the main process
        coco = None if report.coco is None else report.coco.ap
        return Accuracy(report.darknet.mean_over_present, coco)


def _has_pycocotools() -> bool:
    try:
        load_pycocotools()
    except MissingExtraError:
        return False
    return True
