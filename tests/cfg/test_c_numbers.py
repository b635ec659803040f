"""Numbers as C reads them, at the limits of 32 bits."""

from __future__ import annotations

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.c_numbers import LARGEST_INT, read_float, read_int
from darknet_builder.errors import CfgError


@pytest.mark.parametrize(
    ("text", "number", "rest"),
    [
        ("2147483647", 2147483647, ""),
        ("-2147483648x", -2147483648, "x"),
        ("9999999999", 9999999999, ""),  # the most digits that are counted
        ("0" * 5000 + "7", 7, ""),
        ("+0", 0, ""),
        ("-012 3", -12, " 3"),
    ],
)
def test_whole_numbers(text: str, number: int, rest: str) -> None:
    assert read_int(text) == (number, rest)


@pytest.mark.parametrize("digits", ["12345678901", "9" * 5000])
def test_whole_numbers_of_too_many_digits(digits: str) -> None:
    """Python would refuse to convert thousands of digits; any number beyond 32 bits will do."""
    found, negative = read_int(digits), read_int(f"-{digits}")
    assert found is not None and found[0] > 2147483647 == LARGEST_INT
    assert negative is not None and negative[0] < -2147483648


@pytest.mark.parametrize(
    ("text", "number", "rest"),
    [("1.5e2x", 150, "x"), (".5", 0.5, ""), ("5.", 5, ""), ("-1e-1", -0.1, ""), ("1e", 1, "e")],
)
def test_real_numbers(text: str, number: float, rest: str) -> None:
    assert read_float(text) == (number, rest)


@pytest.mark.parametrize("text", ["", "+", "-x", ".", "e5", "\uff13\uff12"])
def test_what_is_not_a_number(text: str) -> None:
    assert read_int(text) is None and read_float(text) is None


@pytest.mark.parametrize(
    ("text", "fits"),
    [("2147483647", True), ("2147483648", False), ("-2147483648", True), ("-2147483649", False)],
)
def test_whole_numbers_of_an_option(text: str, fits: bool) -> None:
    block = Block("net", {"batch": text})
    if fits:
        assert block.get_int("batch") == int(text)
        return
    with pytest.raises(CfgError, match="whole number of 32 bits, -2147483648 to 2147483647"):
        block.get_int("batch")
