"""Darknet networks in PyTorch, from a ``.cfg`` and a ``.weights`` file, with Darknet's numbers.

Every public name is listed here and imported when it is first used, so that ``parse_cfg`` needs no
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names
from darknet_builder.support.moved import install
from darknet_builder.support.version import VERSION

__version__ = VERSION
install()

if TYPE_CHECKING:
    from darknet_builder.boxes.candidates import Candidates as Candidates
    from darknet_builder.boxes.detections import Detection as Detection
    from darknet_builder.boxes.detections import Detections as Detections
    from darknet_builder.boxes.drawing import draw_detections as draw_detections
    from darknet_builder.boxes.drawing import draw_line as draw_line
    from darknet_builder.boxes.drawing import draw_trails as draw_trails
    from darknet_builder.boxes.regions import blur_objects as blur_objects
    from darknet_builder.boxes.regions import cut_objects as cut_objects
    from darknet_builder.boxes.regions import pixelate_objects as pixelate_objects
    from darknet_builder.boxes.tracks import LineCounter as LineCounter
    from darknet_builder.boxes.tracks import Trails as Trails
    from darknet_builder.cfg.block import Block as Block
    from darknet_builder.cfg.dialects import DIALECTS as DIALECTS
    from darknet_builder.cfg.dialects import Dialect as Dialect
    from darknet_builder.cfg.names import read_names as read_names
    from darknet_builder.cfg.net_options import Schedule as Schedule
    from darknet_builder.cfg.parser import format_cfg as format_cfg
    from darknet_builder.cfg.parser import parse_cfg as parse_cfg
    from darknet_builder.data.data_file import DataFile as DataFile
    from darknet_builder.data.formats.convert import convert_dataset as convert_dataset
    from darknet_builder.data.formats.finding import open_dataset as open_dataset
    from darknet_builder.data.image_set import ImageSet as ImageSet
    from darknet_builder.data.scenes import draw_scene as draw_scene
    from darknet_builder.data.sets.check import check_data as check_data
    from darknet_builder.engines.optimized import OptimizedNetwork as OptimizedNetwork
    from darknet_builder.engines.optimized import optimize as optimize
    from darknet_builder.errors import CfgError as CfgError
    from darknet_builder.errors import CfgWarning as CfgWarning
    from darknet_builder.errors import DarknetError as DarknetError
    from darknet_builder.errors import DataError as DataError
    from darknet_builder.errors import DataWarning as DataWarning
    from darknet_builder.errors import DownloadError as DownloadError
    from darknet_builder.errors import ExportError as ExportError
    from darknet_builder.errors import ImageError as ImageError
    from darknet_builder.errors import InputError as InputError
    from darknet_builder.errors import LabelWarning as LabelWarning
    from darknet_builder.errors import MissingExtraError as MissingExtraError
    from darknet_builder.errors import ShapeError as ShapeError
    from darknet_builder.errors import TruncatedImageWarning as TruncatedImageWarning
    from darknet_builder.errors import WeightsError as WeightsError
    from darknet_builder.evaluation.darknet_map import MapResult as MapResult
    from darknet_builder.evaluation.darknet_map import (
        mean_average_precision as mean_average_precision,
    )
    from darknet_builder.evaluation.judge import AccuracyJudge as AccuracyJudge
    from darknet_builder.evaluation.predictions import find_boxes as find_boxes
    from darknet_builder.export.export import export_network as export_network
    from darknet_builder.export.quantized.calibration import find_photographs as find_photographs
    from darknet_builder.export.quantized.settings import Int8Settings as Int8Settings
    from darknet_builder.export.settings import ExportReport as ExportReport
    from darknet_builder.export.settings import ExportSettings as ExportSettings
    from darknet_builder.export.settings import Suppression as Suppression
    from darknet_builder.images.files import read_image as read_image
    from darknet_builder.images.files import write_image as write_image
    from darknet_builder.images.resize import Placement as Placement
    from darknet_builder.images.resize import to_input as to_input
    from darknet_builder.images.sources.live import LiveSource as LiveSource
    from darknet_builder.images.video import write_video as write_video
    from darknet_builder.inspection.adapt import Adaptation as Adaptation
    from darknet_builder.inspection.adapt import adapt_cfg as adapt_cfg
    from darknet_builder.inspection.summary import Summary as Summary
    from darknet_builder.inspection.summary import summarize as summarize
    from darknet_builder.layers.base import Graph as Graph
    from darknet_builder.layers.base import Head as Head
    from darknet_builder.layers.base import Layer as Layer
    from darknet_builder.layers.plugins import load_plugin as load_plugin
    from darknet_builder.layers.registry import register as register
    from darknet_builder.layers.registry import registered_sections as registered_sections
    from darknet_builder.layers.weight_layout import WeightLayout as WeightLayout
    from darknet_builder.layers.weight_layout import WeightsHeader as WeightsHeader
    from darknet_builder.lessons.unregistered import Unregistered as Unregistered
    from darknet_builder.lessons.unregistered import explain_unregistered as explain_unregistered
    from darknet_builder.lessons.unregistered import find_unregistered as find_unregistered
    from darknet_builder.losses.base import Targets as Targets
    from darknet_builder.losses.whole_network import loss_inputs as loss_inputs
    from darknet_builder.losses.whole_network import network_loss as network_loss
    from darknet_builder.network.build import build_network as build_network
    from darknet_builder.network.network import Network as Network
    from darknet_builder.pages.network_page import save_network_picture as save_network_picture
    from darknet_builder.prediction.batch_detector import BatchDetector as BatchDetector
    from darknet_builder.prediction.batch_detector import arrow_table as arrow_table
    from darknet_builder.prediction.classifier import Classifier as Classifier
    from darknet_builder.prediction.classifier import ClassScore as ClassScore
    from darknet_builder.prediction.detector import Detector as Detector
    from darknet_builder.prediction.heatmap import draw_heatmap as draw_heatmap
    from darknet_builder.prediction.heatmap import explain as explain
    from darknet_builder.prediction.postprocessing import nms_rule as nms_rule
    from darknet_builder.prediction.postprocessing import postprocess as postprocess
    from darknet_builder.prediction.tracking import Tracker as Tracker
    from darknet_builder.shapes import Shape as Shape
    from darknet_builder.training.datasets import load_training_lists as load_training_lists
    from darknet_builder.training.initialization import InitRule as InitRule
    from darknet_builder.training.initialization import initialize as initialize
    from darknet_builder.training.optimizer import RatePattern as RatePattern
    from darknet_builder.training.optimizer import make_optimizer as make_optimizer
    from darknet_builder.training.optimizer import parameter_groups as parameter_groups
    from darknet_builder.training.schedules import make_scheduler as make_scheduler
    from darknet_builder.training.schedules import rate_at as rate_at
    from darknet_builder.training.settings import TrainSettings as TrainSettings
    from darknet_builder.training.trainer import Trainer as Trainer
    from darknet_builder.weights.entries import weight_entries as weight_entries
    from darknet_builder.weights.loader import load_weights as load_weights
    from darknet_builder.weights.loader import save_weights as save_weights
else:
    __getattr__, __all__ = lazy_names(__name__)
