"""Run networks on photographs: ``Detector``, ``Classifier``, pipeline, tiles, heat maps.

``BatchDetector`` does so inside an engine for data sets that one machine cannot process.
``Tracker`` gives the objects of a video identities. Measuring how good the results are belongs in
``evaluation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.prediction.batch_detector import BatchDetector as BatchDetector
    from darknet_builder.prediction.batch_detector import arrow_table as arrow_table
    from darknet_builder.prediction.classifier import Classifier as Classifier
    from darknet_builder.prediction.classifier import ClassScore as ClassScore
    from darknet_builder.prediction.detector import Detector as Detector
    from darknet_builder.prediction.heatmap import draw_heatmap as draw_heatmap
    from darknet_builder.prediction.heatmap import explain as explain
    from darknet_builder.prediction.loading import load_network as load_network
    from darknet_builder.prediction.pipeline import stream as stream
    from darknet_builder.prediction.postprocessing import nms_rule as nms_rule
    from darknet_builder.prediction.postprocessing import postprocess as postprocess
    from darknet_builder.prediction.tracking import Tracker as Tracker
else:
    __getattr__, __all__ = lazy_names(__name__)
