"""The options of [net]: Darknet's defaults (parser.c:1145), limits, and the shape of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.net_options import Augmentation, NetOptions, Schedule, check_burn_in
from darknet_builder.errors import CfgError
from darknet_builder.shapes import Shape, flat

SIZE = {"width": "40", "height": "24", "channels": "3"}
SCHEDULE: dict[str, Any] = {
    "learning_rate": 0.001, "learning_rate_min": 0.00001, "policy": "constant", "burn_in": 0,
    "power": 4, "max_batches": 0, "step": 1, "scale": 1, "gamma": 1, "steps": (), "scales": (),
    "sgdr_cycle": 0, "sgdr_mult": 2,
}  # fmt: skip
AUGMENTATION: dict[str, Any] = {
    "angle": 0, "aspect": 1, "saturation": 1, "exposure": 1, "hue": 0, "flip": True, "blur": 0,
    "gaussian_noise": 0, "mixup": False, "cutmix": False, "mosaic": False, "mosaic_bound": False,
    "min_crop": 40, "max_crop": 80, "label_smooth_eps": 0, "resize_step": 32,
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "width": 40, "height": 24, "channels": 3, "inputs": 2880, "batch": 1, "subdivisions": 1,
    "time_steps": 1, "momentum": 0.9, "decay": 0.0001, "letter_box": False, "adam": False,
    "B1": 0.9, "B2": 0.999, "eps": 0.000001, "ema_alpha": 0, "loss_scale": 1,
    **SCHEDULE, **AUGMENTATION,
}  # fmt: skip


def read(options: Mapping[str, str]) -> NetOptions:
    """Read [net] with these options."""
    return NetOptions.from_block(Block("net", options))


def flattened(options: NetOptions) -> dict[str, Any]:
    """All attributes by the names of the options."""
    values = asdict(options)
    values |= values.pop("schedule") | values.pop("augmentation")
    names = {"beta1": "B1", "beta2": "B2", "epsilon": "eps"}
    return {names.get(name, name): value for name, value in values.items()}


def test_defaults() -> None:
    """Of every option, as Darknet's ``parse_net_options`` has them."""
    assert flattened(read(SIZE)) == DEFAULTS
    assert asdict(Schedule()) == SCHEDULE
    assert asdict(Augmentation()) == {**AUGMENTATION, "min_crop": 0, "max_crop": 0}


def test_each_option_sets_its_own_value() -> None:
    """And no other, but ``max_batches=`` is the length of a cosine, too."""
    for number, (key, default) in enumerate(DEFAULTS.items(), 3):
        if key in SIZE:
            continue
        text: str = str(number)
        value: Any = number
        if isinstance(default, bool):
            text, value = str(int(not default)), not default
        elif isinstance(default, str):
            text = value = "sgdr"
        elif isinstance(default, tuple):
            text, value = f"{number},1", (number, 1)
        wanted = DEFAULTS | {key: value}
        if key == "max_batches":
            wanted["sgdr_cycle"] = value
        assert flattened(read({**SIZE, key: text})) == wanted, key


LIMITS: list[tuple[str, int]] = [
    ("max_batches", 0),
    ("batch", 1),
    ("subdivisions", 1),
    ("time_steps", 1),
    ("width", 0),
]


def test_limits() -> None:
    """The smallest value, and one less."""
    for key, smallest in LIMITS:
        options = {**SIZE, "inputs": "7"}
        assert flattened(read({**options, key: str(smallest)}))[key] == smallest
        with pytest.raises(CfgError, match=f"{key}={smallest - 1}: expected {smallest} or more$"):
            read({**options, key: str(smallest - 1)})


def test_sizes() -> None:
    """An image has all three; without one of them, the input is a vector."""
    assert read(SIZE).input_shape == Shape(3, 24, 40)
    for missing in SIZE:
        some = {key: value for key, value in SIZE.items() if key != missing}
        vector = read({**some, "inputs": "7"}).input_shape
        assert vector == flat(7) and vector.formless
        with pytest.raises(CfgError, match="needs width=, height= and channels= above 0"):
            read(some)
    with pytest.raises(CfgError, match="inputs=-1: expected 0 or more$"):
        read({**SIZE, "inputs": "-1"})


MISSPELT: list[tuple[dict[str, str], str]] = [
    ({"widht": "8", "height": "8", "channels": "3"}, "; is 'widht' meant for it?"),
    ({"width": "8", "heigth": "8", "channels": "3"}, "; is 'heigth' meant for it?"),
    ({"width": "8", "height": "8", "channel": "3"}, "; is 'channel' meant for it?"),
    ({"width": "8", "widht": "8", "channels": "3"}, ""),
]


def test_misspelt_sizes() -> None:
    """Only for a size that is missing."""
    for options, hint in MISSPELT:
        with pytest.raises(CfgError) as raised:
            read(options)
        assert str(raised.value).partition("inputs=")[2] == hint


BURN_IN: list[tuple[dict[str, Any], str]] = [
    ({"burn_in": 0}, ""),
    ({"burn_in": 100}, ""),
    ({"burn_in": 101}, "max_batches=100"),
    ({"burn_in": 0, "policy": "steps", "steps": (50,)}, ""),
    ({"burn_in": 49, "policy": "steps", "steps": (50, 90)}, ""),
    ({"burn_in": 50, "policy": "steps", "steps": (90, 50)}, "steps=50"),
    ({"burn_in": 51, "policy": "steps", "steps": (90, 50)}, "steps=50"),
    ({"burn_in": 60, "policy": "sgdr", "steps": (50,)}, ""),
    ({"burn_in": 60, "policy": "steps", "steps": (0, -5, 61)}, ""),
    ({"burn_in": 60, "policy": "steps", "steps": (0, -5, 60)}, "steps=60"),
    ({"burn_in": 60, "policy": "steps", "steps": (0,)}, ""),
    ({"burn_in": 1, "policy": "steps", "steps": (1,)}, "steps=1"),
    ({"burn_in": 101, "policy": "steps", "steps": (50,)}, "max_batches=100"),
    ({"burn_in": 101, "max_batches": 0}, ""),
    ({"burn_in": 60, "max_batches": 0, "policy": "steps", "steps": (50,)}, ""),
]


def test_burn_in() -> None:
    """It must end before the first step, and at the last iteration at the latest; a step at 0 is
    none, and a network that is not trained has no iterations."""
    for changes, end in BURN_IN:
        net = Block("net", {"burn_in": str(changes["burn_in"])}, line=1)
        warning = check_burn_in(net, Schedule(**{"max_batches": 100, **changes}))
        place = f"<text>:1: [net] burn_in={changes['burn_in']}: "
        said = f"{place}does not end before {end}: the rate never reaches learning_rate="
        assert (str(warning) if warning else "") == (said if end else "")


def test_options_are_frozen() -> None:
    """They may be shared."""
    options: Any = read(SIZE)
    for one, name in (
        (options, "batch"),
        (options.schedule, "step"),
        (options.augmentation, "hue"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(one, name, 5)
