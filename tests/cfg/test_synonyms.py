"""Names that other programs use: the hint says Darknet's own."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from darknet_builder import build_network
from darknet_builder.cfg.synonyms import SYNONYMS, suggest
from darknet_builder.errors import CfgError, CfgWarning
from darknet_builder.layers.activations import ACTIVATIONS
from darknet_builder.layers.base import registered_sections

DATA = Path(__file__).parents[1] / "data"
NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"


def test_silu() -> None:
    """13 of 271 cfgs have it; by spelling, it would be selu."""
    with pytest.raises(
        CfgError,
        match=r"silu\.cfg:18: \[convolutional\] activation=silu: unknown activation 'silu'; "
        r"Darknet calls it 'swish'$",
    ):
        build_network(DATA / "silu.cfg")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("SiLU", "; Darknet calls it 'swish'"),
        ("sigmoid", "; Darknet calls it 'logistic'"),
        ("leaky_relu", "; Darknet calls it 'leaky'"),
        ("identity", "; Darknet calls it 'linear'"),
        ("hardswish", "; Darknet has nothing like it"),
        ("hard_swish", "; Darknet has nothing like it"),
        ("swich", "; did you mean 'swish'?"),
        ("xyz", ""),
    ],
)
def test_activations(word: str, hint: str) -> None:
    """Another program's name, none at all, or a slip."""
    assert suggest(word, ACTIVATIONS) == hint


@pytest.mark.parametrize(
    ("section", "own"),
    [
        ("upsampling", "upsample"),
        ("conv2d", "convolutional"),
        ("Conv2d", "convolutional"),
        ("bn", "batchnorm"),
        ("fc", "connected"),
        ("linear", "connected"),
        ("concat", "route"),
        ("add", "shortcut"),
        ("gap", "avgpool"),
    ],
)
def test_sections(section: str, own: str) -> None:
    """In the error of an unknown section."""
    with pytest.raises(
        CfgError, match=rf":5: \[{section}\]: unknown section; Darknet calls it '{own}'$"
    ):
        build_network(f"{NET}[{section}]\n")


@pytest.mark.parametrize(
    ("option", "own"),
    [
        ("bn=1", "batch_normalize"),
        ("kernel_size=3", "size"),
        ("out_channels=4", "filters"),
        ("act=relu", "activation"),
    ],
)
def test_options(option: str, own: str) -> None:
    """In the warning of an option that changes nothing."""
    with pytest.warns(
        CfgWarning, match=rf"unknown option, it has no effect; Darknet calls it '{own}'$"
    ):
        build_network(f"{NET}[convolutional]\n{option}\n")


def test_what_is_missing_under_its_own_name() -> None:
    """``sources=`` of a [route]."""
    with pytest.raises(
        CfgError, match=r"needs layers=, which is missing; is 'sources' meant for it\?"
    ):
        build_network(f"{NET}[maxpool]\n[route]\nsources=-1\n")


def test_values() -> None:
    """One of a few words."""
    with (
        warnings.catch_warnings(),
        pytest.raises(CfgError, match="expected one of .*; Darknet calls it 'sgdr'"),
    ):
        build_network(f"{NET}policy=cosine\n[maxpool]\n")


def test_the_table_is_sound() -> None:
    """No name of Darknet's own means another thing where both could stand."""
    for word, own in SYNONYMS.items():
        assert word == word.lower() and own
        for names in (ACTIVATIONS, registered_sections()):
            assert not (word in names and any(name in names for name in own)), word
