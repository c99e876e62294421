"""Numbers are shown with the digits their interval supports, and read back as the same number."""

import numpy as np
import pytest

from lora_jax.estimate import Estimate
from lora_jax.report.kit.numbers import (
    format_count,
    format_interval,
    format_loss,
    format_percent,
    format_power,
    format_seconds,
)


@pytest.mark.parametrize("power", range(-8, 20))
def test_an_interval_reads_back_within_its_own_width(power):
    rng = np.random.default_rng(power + 8)
    for _ in range(20):
        value = float(rng.uniform(1, 10) * 10.0**power)
        half = value * float(10 ** rng.uniform(-4, -0.1))
        number = Estimate(value, half / 2, (value - half, value + half))
        shown, interval = format_interval(number)
        low, high = (float(x) for x in interval.split(" to "))
        # Powers of ten keep three digits, whatever the interval.
        slack = max(0.1 * half, 0.006 * value if "e" in shown or "e" in interval else 0)
        assert abs(float(shown) - value) <= slack
        assert abs(low - (value - half)) <= slack
        assert abs(high - (value + half)) <= slack
        assert len(shown) <= 10


def test_a_lopsided_interval_keeps_the_digits_of_its_nearer_end():
    assert format_interval(Estimate(0.0838, 0.5, (0.0449, 3.6))) == ("0.084", "0.045 to 3.600")


def test_what_is_missing_is_a_dash_never_a_number():
    assert format_interval(None) == ("\u2013", "\u2013")
    assert format_loss(None) == "\u2013"
    assert format_interval(Estimate(0.25, None, None)) == ("0.250", "no interval")


def test_a_bound_near_zero_is_not_rounded_to_zero():
    assert format_interval(Estimate(1.0, 0.5, (9e-5, 2.0)))[1] == "9.00e-5 to 2.00"


@pytest.mark.parametrize(
    ("x", "text"),
    [(999, "999"), (999.9, "1k"), (65_536, "65.5k"), (1.3e6, "1.3M"), (7e9, "7B"), (2e12, "2T")],
)
def test_counts(x, text):
    assert format_count(x) == text


@pytest.mark.parametrize(
    ("x", "text"), [(0, "0"), (0.0123, "0.0123"), (50_062, "50062"), (1.23456e15, "1.23e15")]
)
def test_powers(x, text):
    assert format_power(x) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [(0.42, "0.42 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_seconds(x, text):
    assert format_seconds(x) == text


BEYOND = [float("inf"), float("-inf"), float("nan"), 4.6e299, 2e-300, None, 0.0, 1e-12, 2.5, 1e120]


@pytest.mark.parametrize("x", BEYOND)
def test_no_number_is_too_large_or_too_little_of_one_to_be_shown(x):
    for show in (format_count, format_power, format_loss, format_percent):
        text = show(x)
        assert "inf" not in text
        assert "nan" not in text
        assert len(text) <= 12
    for low in BEYOND[:-6] + BEYOND[-4:]:
        for high in BEYOND[:5]:
            value, interval = format_interval(Estimate(x, None, (low, high)))
            assert "inf" not in value + interval
            assert len(interval) <= 26


def test_what_a_float_cannot_hold_is_beyond_and_what_is_undefined_is_a_dash():
    assert format_power(float("inf")) == format_count(4.6e299) == "> 1e299"
    assert format_power(float("-inf")) == "< -1e299"
    assert format_power(2e-300) == "< 1e-299"
    assert format_power(float("nan")) == format_count(None) == "\u2013"
