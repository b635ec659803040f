"""Measure how good a network is: Darknet's mAP, COCO's AP, accuracy.

Measuring how fast it is belongs in ``benchmark``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.evaluation.accuracy import accuracies as accuracies
    from darknet_builder.evaluation.coco import CocoResult as CocoResult
    from darknet_builder.evaluation.coco import coco_average_precision as coco_average_precision
    from darknet_builder.evaluation.darknet_map import ClassResult as ClassResult
    from darknet_builder.evaluation.darknet_map import ImageBoxes as ImageBoxes
    from darknet_builder.evaluation.darknet_map import MapResult as MapResult
    from darknet_builder.evaluation.darknet_map import (
        mean_average_precision as mean_average_precision,
    )
    from darknet_builder.evaluation.plot import plot_curves as plot_curves
    from darknet_builder.evaluation.predictions import find_boxes as find_boxes
    from darknet_builder.evaluation.predictions import image_boxes as image_boxes
    from darknet_builder.evaluation.score import Score as Score
    from darknet_builder.evaluation.validators import ClassValidator as ClassValidator
    from darknet_builder.evaluation.validators import Validator as Validator
else:
    __getattr__, __all__ = lazy_names(__name__)
