"""The best rate of a grid: exact without noise, covered by its interval with it, refused where none is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.scaling.rates.bowls import RateLosses, find_all
from lora_jax.scaling.rates.results import BestRate, Refusal
from lora_jax.scaling.rates.transfer import analyse
from tests.scaling.rates.make_runs import WIDTHS, bowl, full_size, given, rates


def losses(ys: list[float], xs: list[float] | None = None, diverged: tuple[float, ...] = ()) -> RateLosses:
    xs = rates(len(ys)) if xs is None else xs
    return RateLosses(np.log(xs), np.log(ys), np.zeros(len(xs), dtype=np.int64), diverged)


def only(data: RateLosses) -> BestRate | Refusal:
    return find_all({0: data})[0][0]


@pytest.mark.parametrize("best", [0.006, 0.01, 0.0171])
@pytest.mark.parametrize("tried", [rates(5), rates(9, step=1.5), [0.001, 0.004, 0.009, 0.02, 0.03, 0.1]])
def test_without_noise_the_vertex_is_the_best_rate(best: float, tried: list[float]) -> None:
    found = only(losses([math.exp(1 + 0.02 * math.log(r / best) ** 2) for r in tried], tried))
    assert isinstance(found, BestRate)
    for rate in (found.rate.value, found.rate.low, found.rate.high):
        assert rate == pytest.approx(best, rel=1e-3)


def cover(n_times: int, noise: float, skew: float = 0.0, n_seeds: int = 1) -> tuple[float, float]:
    """Return the shares of intervals of the best rate, and of its drift, that hold the truth."""
    rng = np.random.default_rng(1)
    held, slopes = [], []
    for _ in range(n_times):
        first = 0.02 * math.exp(rng.uniform(-0.3, 0.3))
        truth = {w: first * (w / 16) ** -0.5 for w in WIDTHS}
        runs = [
            run
            for w, best in truth.items()
            for seed in range(n_seeds)
            for run in bowl(best, full_size(width=w), rng, noise, skew, seed, rates(10))
        ]
        [series] = analyse(given(runs), "").series
        for b in series.bowls:
            if b.best is not None:
                held.append(b.best.rate.low <= truth[int(b.sizes["width"])] <= b.best.rate.high)
        if (slope := series.drifts[0].slope) is not None:
            slopes.append(slope.low <= -0.5 <= slope.high)
    return float(np.mean(held)), float(np.mean(slopes))


@pytest.mark.parametrize(("noise", "n_seeds"), [(0.002, 1), (0.005, 1), (0.005, 3)])
def test_intervals_hold_the_truth_in_95_of_100(noise: float, n_seeds: int) -> None:
    of_rates, of_slopes = cover(80, noise, n_seeds=n_seeds)
    assert of_rates >= 0.92
    assert of_slopes >= 0.92


def test_a_skewed_curve_has_a_wider_interval() -> None:
    """Its vertex is biased: the interval says so for most, and the drift, where the bias cancels, holds."""
    best = []
    for skew in (0.0, 0.004):
        runs = bowl(0.01, full_size(), np.random.default_rng(0), noise=5e-4, skew=skew)
        best.append(analyse(given(runs), "").series[0].bowls[0].best)
    plain, skewed = best
    assert plain is not None
    assert skewed is not None
    assert plain.rate.se is not None
    assert skewed.rate.se is not None
    assert skewed.rate.se > 2 * skewed.se_of_noise
    assert plain.rate.se < skewed.rate.se / 5
    assert skewed.rate.low < 0.01 < skewed.rate.high
    of_rates, of_slopes = cover(40, 0.002, skew=0.004)
    assert of_rates > 0.7
    assert of_slopes > 0.95


def test_a_seed_without_a_rate_tilts_nothing() -> None:
    """Two seeds lie far apart, and one lacks the highest rate, which a plain mean would tilt."""
    rng = np.random.default_rng(3)
    runs = bowl(0.01, full_size(), rng, noise=1e-6)
    other = [replace(run, seed=1, loss=1.2 * run.loss) for run in runs[:-1] if run.loss is not None]
    [b] = analyse(given(runs + other), "").series[0].bowls
    assert b.best is not None
    assert b.best.rate.value == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("ys", "diverged", "kind", "words"),
    [
        ([3.0, 2.9, 3.0], (), "too few rates", "at least 4"),
        ([3.0, 2.9, 2.8, 2.7, 2.6], (), "at the edge", "largest of those tried: add 0.08 and 0.16"),
        ([2.6, 2.7, 2.8, 2.9, 3.0], (), "at the edge", "smallest of those tried: add 0.00125 and 0.000625"),
        ([3.0, 2.9, 2.8, 2.7, 2.6], (0.08,), "beside divergence", "diverged, 0.08"),
        ([3.0, 2.81, 2.95, 2.83, 2.91, 2.85, 2.9], (), "lost in noise", "add seeds"),
    ],
)
def test_what_has_no_best_rate_is_refused_by_kind(
    ys: list[float], diverged: tuple[float, ...], kind: str, words: str
) -> None:
    found = only(losses(ys, diverged=diverged))
    assert isinstance(found, Refusal)
    assert found.kind == kind
    assert words in found.words


def test_a_rate_at_which_training_broke_down_does_not_bend_the_curve() -> None:
    ys = [math.exp(1 + 0.02 * math.log(r / 0.01) ** 2) for r in rates(7)]
    whole, broken = only(losses(ys)), only(losses([*ys[:-1], 9.0]))
    assert isinstance(whole, BestRate)
    assert isinstance(broken, BestRate)
    assert broken.rate.value == pytest.approx(whole.rate.value, rel=1e-6)


def test_a_size_that_scatters_more_keeps_its_own_noise() -> None:
    rng = np.random.default_rng(0)
    runs = [r for w in WIDTHS for r in bowl(0.01, full_size(width=w), rng, noise=1e-4)]
    quiet = analyse(given(runs), "").series[0]
    loud = analyse(given(runs + bowl(0.01, full_size(width=256), rng, noise=0.01)), "").series[0]
    assert loud.noise == quiet.noise
    assert loud.bowls[0].best == quiet.bowls[0].best


def test_diverged_runs_are_counted_and_have_no_number() -> None:
    runs = bowl(0.01, full_size(), np.random.default_rng(0))
    lost = replace(runs[0], name="gone", rate=0.16, loss=None, diverged=True)
    [b] = analyse(given([*runs, lost]), "").series[0].bowls
    assert (b.rates[-1], b.losses[-1], b.n_diverged) == (0.16, None, 1)
    assert b.best == analyse(given(runs), "").series[0].bowls[0].best
