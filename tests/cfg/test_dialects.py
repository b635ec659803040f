"""The differences between the two variants of Darknet, as their sources have them."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from darknet_builder.cfg.dialects import DIALECTS, get_dialect
from darknet_builder.errors import InputError

DIFFERENCES = {
    "resize": ("stretch", "letterbox"),
    "valid_threshold": (0.001, 0.005),
    "valid_nms": (0.6, 0.45),
    "region_by_cell": (True, False),
    "region_logistic_classes": (False, True),
    "region_objectness": (False, True),
    "strided_shortcut": (False, True),
    "reorg_extra": (False, True),
    "lstm_order": ("figo", "ifog"),
    "gru_input_first": (True, False),
    "gru_tanh": (False, True),
    "rnn_hidden": (True, False),
    "crnn_keeps_size": (False, True),
    "classify_resize": ("crop", "letterbox"),
    "classify_leaves": (False, True),
    "large_version_is_short": (False, True),
}
"""AlexeyAB's and pjreddie's; ``Dialect`` names the lines of C."""


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects(name: str) -> None:
    column = list(DIALECTS).index(name)
    expected = {key: values[column] for key, values in DIFFERENCES.items()}
    assert asdict(get_dialect(name)) == {"name": name, **expected}


def test_which_dialect() -> None:
    """AlexeyAB's, unless another one is named."""
    assert get_dialect(None) is DIALECTS["alexeyab"]
    with pytest.raises(InputError) as raised:
        get_dialect("pjredie")
    assert str(raised.value) == (
        "dialect 'pjredie' is unknown; expected one of alexeyab, pjreddie; did you mean 'pjreddie'?"
    )
