"""What each section says about itself, and how its layer is made without a cfg."""

from __future__ import annotations

import inspect
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
import torch

from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.layers.base import AugmentOptions, CommonOptions, Graph, WeightsHeader
from darknet_builder.layers.heads.anchor_head import AnchorOptions, YoloLossOptions
from darknet_builder.layers.heads.detection import DetectionLossOptions
from darknet_builder.layers.heads.gaussian_yolo import GaussianYolo
from darknet_builder.layers.heads.region import RegionLossOptions
from darknet_builder.layers.recurrent.image import _Kernel
from darknet_builder.layers.registry import registered_sections
from darknet_builder.layers.tree import Tree
from darknet_builder.shapes import Shape

HEADS = {"Gaussian_yolo", "detection", "region", "yolo"}
RECURRENT = {"conv_lstm", "crnn", "gru", "lstm", "rnn"}


LAYERS = {
    layer.section: layer
    for layer in registered_sections().values()
    if layer.__module__.startswith("darknet_builder.")
}


@pytest.mark.parametrize(
    ("fact", "value", "sections"),
    [
        ("is_head", True, HEADS),
        ("has_loss", True, HEADS | {"cost", "softmax"}),
        ("is_cost", True, {"contrastive", "cost"}),
        ("is_recurrent", True, RECURRENT),
        ("shares_buffer", True, {"dropout"}),
        ("decays", False, {"shortcut"}),
        ("averaged", True, {"convolutional"}),
        ("is_convolution", True, {"convolutional"}),
        ("is_view", True, {"route"}),
        ("can_overwrite", True, {"activation", "dropout", "empty", "shortcut"}),
        ("box_values", 5, {"region", "yolo"}),
        ("box_values", 9, {"Gaussian_yolo"}),
        ("box_values", 0, {"detection"}),
        ("anchor_unit", "pixel", {"Gaussian_yolo", "yolo"}),
        ("anchor_unit", "cell", {"region"}),
        ("source_option", "output", {"detection"}),
        ("takes_raw", False, {"detection"}),
        ("beta_nms", 0.6, HEADS),
        ("hierarchy_threshold", 0.5, HEADS),
        ("type_number", 27, {"region"}),
        ("type_number", 28, {"yolo"}),
        ("type_number", 29, {"Gaussian_yolo"}),
        ("file_options", ("tree", "map"), {"region"}),
        ("file_options", ("tree",), {"softmax"}),
    ],
)
def test_facts(fact: str, value: object, sections: set[str]) -> None:
    """No other section has this value."""
    found = {name for name, layer in LAYERS.items() if getattr(layer, fact, None) == value}
    assert found == sections


DEFAULTS: dict[str, dict[str, Any]] = {
    "connected": {"batch_normalize": False, "activation": "logistic"},
    "contrastive": {"classes": 1000, "temperature": 1.0, "yolo_layer": 0},
    "conv_lstm": {
        "peephole": False,
        "bottleneck": False,
        "shortcut": False,
        "activation": "tanh",
        "state_constrain": 32.0,
        "time_steps": 1,
    },
    "convolutional": {
        "size": 1,
        "stride": (1, 1),
        "padding": 0,
        "dilation": 1,
        "groups": 1,
        "batch_normalize": False,
        "activation": "logistic",
        "antialiasing": 0,
        "flipped": False,
        "xnor": False,
        "binary": False,
        "share": None,
    },
    "cost": {"kind": "sse", "scale": 1.0},
    "crnn": {"shortcut": False, "time_steps": 1},
    "crop": {"flip": False, "adjust": True},
    "deconvolutional": {
        "size": 1,
        "stride": 1,
        "padding": 0,
        "batch_normalize": False,
        "activation": "logistic",
    },
    "detection": {"side": 7, "num": 1, "classes": 1, "softmax": False, "square_root": False},
    "dropout": {"probability": 0.5},
    "gru": {"batch_normalize": False, "tanh": False, "input_first": True, "time_steps": 1},
    "history": {"size": 4, "time_steps": 1},
    "implicit": {"filters": 128, "atoms": 1, "mean": 0.0, "std": 0.2},
    "iseg": {"classes": 20, "ids": 32},
    "local": {"size": 1, "stride": 1, "padding": 0, "activation": "logistic"},
    "lstm": {"batch_normalize": False, "gate_order": "figo", "time_steps": 1},
    "maxpool": {"antialiasing": 0},
    "normalization": {"size": 5, "alpha": 0.0001, "beta": 0.75, "kappa": 1.0},
    "region": {"softmax": False, "hierarchy_threshold": 0.5},
    "rnn": {
        "activation": "logistic",
        "self_activation": None,
        "batch_normalize": False,
        "shortcut": False,
        "time_steps": 1,
    },
    "reorg": {"reverse": False},
    "route": {"groups": 1, "group_id": 0},
    "sam": {"activation": "linear"},
    "scale_channels": {"scale_wh": False, "activation": "linear"},
    "shortcut": {"activation": "linear", "weights_type": "none", "normalization": "none"},
    "softmax": {"groups": 1, "temperature": 1.0, "spatial": False, "tree": None},
    "upsample": {"scale": 1.0},
    "yolo": {"new_coords": False},
}


def test_defaults_without_a_cfg() -> None:
    """Those of Darknet's options where it has one."""
    for section, expected in DEFAULTS.items():
        parameters = inspect.signature(LAYERS[section]).parameters.values()
        found = {item.name: item.default for item in parameters}
        assert {name: found[name] for name in expected} == expected, section


@pytest.mark.parametrize(
    "options",
    [
        YoloLossOptions(),
        RegionLossOptions(),
        DetectionLossOptions(),
        AnchorOptions([(1.0, 2.0)], [0], 1),
        AugmentOptions(),
        CommonOptions(),
        WeightsHeader(),
        Tree(("a",), (-1,)),
        _Kernel(),
    ],
)
def test_options_are_fixed(options: Any) -> None:
    """Layers share their defaults."""
    with pytest.raises(FrozenInstanceError):
        setattr(options, fields(options)[0].name, None)


def test_frames_of_a_graph() -> None:
    """One at a time, unless [net] has ``time_steps=``."""
    assert Graph(Shape(3, 8, 8), get_dialect("alexeyab")).time_steps == 1


def test_sizes_of_gaussian_boxes() -> None:
    """Darknet takes e to the power of the value, times the anchor (gaussian_yolo_layer.c)."""
    head = GaussianYolo(Shape(10, 1, 1), AnchorOptions([(8.0, 16.0)], [0], 1))
    raw = torch.zeros(1, 10, 1, 1)
    raw[0, 4], raw[0, 6] = math.log(2), math.log(0.5)
    box = head.decode(raw, (32, 32)).boxes_cxcywh[0, 0]
    assert box.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.25])
