"""A percentage keeps its sign and the digits that were asked for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_jax.percent import percent

SHARES = st.floats(-1e6, 1e6, allow_subnormal=False)


def number_of(text: str) -> float:
    assert text.endswith(" %")
    return float(text.removesuffix(" %"))


@given(SHARES, st.integers(0, 6))
def test_it_reads_back_within_half_of_its_last_decimal(share: float, decimals: int) -> None:
    text = percent(share, decimals)
    assert abs(number_of(text) - 100 * share) <= 0.5 * 10.0**-decimals * (1 + 1e-9) + 1e-9 * abs(share)
    assert len(text.removesuffix(" %").partition(".")[2]) == decimals


@given(SHARES, st.integers(1, 6))
def test_it_reads_back_within_half_of_its_last_digit(share: float, digits: int) -> None:
    number = 100 * share
    off = abs(number_of(percent(share, digits=digits)) - number)
    all_before_the_point = abs(number) >= 10**digits
    assert off <= (0.5 if all_before_the_point else 5 * 10.0**-digits * abs(number)) * (1 + 1e-9)


@given(SHARES, st.integers(0, 4))
def test_the_sign_is_that_of_the_share_and_a_plus_changes_nothing_else(share: float, decimals: int) -> None:
    plain, signed = percent(share, decimals), percent(share, decimals, signed=True)
    assert plain.startswith("-") == (math.copysign(1.0, share) < 0)
    assert signed == (plain if plain.startswith("-") else f"+{plain}")
    assert percent(share, digits=3, signed=True).removeprefix("+") == percent(share, digits=3)


@pytest.mark.parametrize(
    ("text", "share", "decimals", "digits", "signed"),
    [
        ("0 %", 0.0, 0, None, False),
        ("+0.00 %", 0.0, 2, None, True),
        ("50 %", 0.5, 0, None, False),
        ("-0.52 %", -0.0052, 2, None, True),
        ("0.00 %", 1e-9, 2, None, False),
        ("1e-07 %", 1e-9, 0, 2, False),  # what is small is not taken for zero where digits are asked for
        ("0.034 %", 0.00034, 0, 2, False),
        ("0.25 %", 0.0025, 0, 3, False),
        ("100 %", 0.996, 0, 2, False),
        ("1234 %", 12.34, 0, 2, False),  # no power of ten for what is read at a glance
        ("+250 %", 2.5, 0, 2, True),
    ],
)
def test_examples(text: str, share: float, decimals: int, digits: int | None, signed: bool) -> None:
    assert percent(share, decimals, digits=digits, signed=signed) == text
    assert percent(float(np.float64(share)), decimals, digits=digits, signed=signed) == text


@pytest.mark.parametrize("digits", [None, 2])
def test_what_is_no_number_is_seen(digits: int | None) -> None:
    assert percent(math.nan, digits=digits) == "nan %"
    assert percent(math.inf, digits=digits) == "inf %"
    assert percent(-math.inf, digits=digits) == "-inf %"
