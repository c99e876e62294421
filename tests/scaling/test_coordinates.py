"""Slopes of a coordinate check: right on powers, honest about curves, with intervals that cover."""

import math

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.coordinates import (
    Coordinate,
    Judgement,
    Quantity,
    fit_slopes,
    judge,
    judge_all,
    slope_of,
)

WIDTHS = (32, 64, 128, 256)


def coordinates(
    power: float, quantity: Quantity = "change", seeds: int = 3, step: int = 5
) -> list[Coordinate]:
    return [
        Coordinate(width, 2, seed, step, "logits", quantity, 0.3 * width**power * (1 + 0.01 * seed))
        for width in WIDTHS
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("power", [-0.5, 0.0, 0.37, 1.0])
def test_the_slope_of_a_power_is_its_exponent(power: float) -> None:
    [slope] = fit_slopes(coordinates(power), "width")
    assert slope.slope.value == pytest.approx(power, abs=1e-9)
    assert slope.slope.low < power < slope.slope.high


def test_growth_is_a_logarithm_already() -> None:
    rows = [
        Coordinate(width, 2, seed, 9, "matrices", "growth", 0.4 * math.log(width) - 1 + 0.01 * seed)
        for width in WIDTHS
        for seed in range(3)
    ]
    assert fit_slopes(rows, "width")[0].slope.value == pytest.approx(0.4)


def test_depth_is_an_axis_too() -> None:
    rows = [
        Coordinate(64, 2 * 2**i, seed, 3, "logits", "size", 2.0**i + seed)
        for i in range(4)
        for seed in range(3)
    ]
    assert fit_slopes(rows, "depth")[0].slope.value > 0
    with pytest.raises(LoraJaxError, match="1 sizes"):
        fit_slopes(rows, "width")


def test_intervals_cover_the_slope_as_often_as_they_say() -> None:
    rng, x, covered, n = np.random.default_rng(0), np.log(WIDTHS), 0, 600
    for _ in range(n):
        found = slope_of(x, [0.2 * at + 0.05 * rng.standard_normal(3) for at in x])
        covered += found.low <= 0.2 <= found.high
    assert covered / n > 0.94  # the wider of two intervals covers more, never less


def test_a_curve_is_no_sure_slope() -> None:
    x = np.log(WIDTHS)
    straight = slope_of(x, [0.1 * at + np.array([-1e-4, 0, 1e-4]) for at in x])
    curved = slope_of(x, [0.1 * at + 0.2 * (at - x.mean()) ** 2 + np.array([-1e-4, 0, 1e-4]) for at in x])
    assert curved.high - curved.low > 100 * (straight.high - straight.low)


@pytest.mark.parametrize(
    ("low", "high", "quantity", "judgement"),
    [
        (-0.05, 0.05, "change", Judgement.PASS),
        (0.2, 0.3, "change", Judgement.FAIL),
        (-0.4, -0.2, "change", Judgement.FAIL),
        (-0.4, -0.2, "size", Judgement.PASS),  # at the start logits may shrink
        (0.05, 0.2, "change", Judgement.NOT_TOLD),
        (-0.3, 0.3, "change", Judgement.NOT_TOLD),
    ],
)
def test_judgements(low: float, high: float, quantity: Quantity, judgement: Judgement) -> None:
    assert judge(Estimate((low + high) / 2, None, (low, high)), quantity) is judgement


def test_one_failure_fails_the_whole_but_not_before_step_three() -> None:
    early, late = (fit_slopes(coordinates(1.0, step=step), "width") for step in (1, 3))
    level = fit_slopes(coordinates(0.0), "width")
    assert judge_all(level + late) is Judgement.FAIL
    assert judge_all(level + early) is Judgement.PASS


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (coordinates(0.0, seeds=2), "2 seeds"),
        ([row for row in coordinates(0.0) if row.width > 32], "3 sizes"),
        (
            [Coordinate(w, 2, s, 3, "logits", "change", 0.0) for w in WIDTHS for s in range(3)],
            "raise the rate",
        ),
    ],
)
def test_what_gives_no_slope_is_refused_in_a_sentence(rows: list[Coordinate], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        fit_slopes(rows, "width")
