"""Boxes without any network: formats, overlap, suppression, candidates, ``Detections``, drawing.

Heads, which make boxes, belong in ``layers``; decoding whole images belongs in ``prediction``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.boxes.candidates import Candidates as Candidates
    from darknet_builder.boxes.candidates import ScoredBoxes as ScoredBoxes
    from darknet_builder.boxes.detections import Detection as Detection
    from darknet_builder.boxes.detections import Detections as Detections
    from darknet_builder.boxes.drawing import class_color as class_color
    from darknet_builder.boxes.drawing import draw_detections as draw_detections
    from darknet_builder.boxes.drawing import draw_line as draw_line
    from darknet_builder.boxes.drawing import draw_trails as draw_trails
    from darknet_builder.boxes.formats import cxcywh_to_xyxy as cxcywh_to_xyxy
    from darknet_builder.boxes.nms import NMS_KINDS as NMS_KINDS
    from darknet_builder.boxes.nms import best_of_groups as best_of_groups
    from darknet_builder.boxes.nms import nms_by_class as nms_by_class
    from darknet_builder.boxes.overlap import ciou as ciou
    from darknet_builder.boxes.overlap import diou as diou
    from darknet_builder.boxes.overlap import giou as giou
    from darknet_builder.boxes.overlap import iou as iou
    from darknet_builder.boxes.overlap import pairwise_iou as pairwise_iou
    from darknet_builder.boxes.records import Record as Record
    from darknet_builder.boxes.records import coco_document as coco_document
    from darknet_builder.boxes.records import counts_csv as counts_csv
    from darknet_builder.boxes.records import csv_text as csv_text
    from darknet_builder.boxes.records import lines_csv as lines_csv
    from darknet_builder.boxes.regions import blur_objects as blur_objects
    from darknet_builder.boxes.regions import cut_objects as cut_objects
    from darknet_builder.boxes.regions import pixelate_objects as pixelate_objects
    from darknet_builder.boxes.tracks import LineCounter as LineCounter
    from darknet_builder.boxes.tracks import Trails as Trails
else:
    __getattr__, __all__ = lazy_names(__name__)
