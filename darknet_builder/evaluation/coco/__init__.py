"""COCO's own measure: its average precision, its annotations and its results file.

What is computed by Darknet's rules belongs in ``evaluation/darknet_map.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.evaluation.coco.annotations import CocoSet as CocoSet
    from darknet_builder.evaluation.coco.annotations import load_annotations as load_annotations
    from darknet_builder.evaluation.coco.measure import MAX_BOXES as MAX_BOXES
    from darknet_builder.evaluation.coco.measure import CocoResult as CocoResult
    from darknet_builder.evaluation.coco.measure import (
        annotated_average_precision as annotated_average_precision,
    )
    from darknet_builder.evaluation.coco.measure import (
        coco_average_precision as coco_average_precision,
    )
    from darknet_builder.evaluation.coco.measure import load_pycocotools as load_pycocotools
    from darknet_builder.evaluation.coco.results import COCO_IDS as COCO_IDS
    from darknet_builder.evaluation.coco.results import result_rows as result_rows
    from darknet_builder.evaluation.coco.results import results_text as results_text
else:
    __getattr__, __all__ = lazy_names(__name__)
