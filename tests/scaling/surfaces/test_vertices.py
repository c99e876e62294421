"""The best pair of rate and batch: exact without noise, covered with it, refused where there is none."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.rates.transfer import analyse as analyse_rates
from lora_jax.scaling.surfaces.results import BestPair, Surface, SurfaceSeries
from lora_jax.scaling.surfaces.surface import analyse
from tests.scaling.surfaces.make_surfaces import (
    AT,
    RIDGE,
    batches,
    best_at,
    given,
    rates,
    surface,
    table,
)

SIZE = {"N": 4e7, "tokens": 4e9}
RNG = np.random.default_rng(0)


def series_of(runs: Sequence[RateRun]) -> SurfaceSeries:
    [series] = analyse(given(list(runs)), "").series
    return series


def only(runs: Sequence[RateRun]) -> Surface:
    [found] = series_of(runs).surfaces
    return found


def best_of(runs: Sequence[RateRun]) -> BestPair:
    best = only(runs).best
    assert best is not None
    return best


@pytest.mark.parametrize("best", [(3e-3, 64.0), (2.2e-3, 90.0), (5e-3, 40.0)])
@pytest.mark.parametrize("grid", [(rates(4), batches(4)), (rates(7, step=1.5), [16, 40, 64, 100, 256])])
def test_without_noise_the_vertex_is_the_best_pair(best: tuple[float, float], grid) -> None:
    found = best_of(surface(best, SIZE, RNG, noise=0, grid=grid))
    for estimate, truth in zip((found.rate, found.batch), best, strict=True):
        assert [estimate.value, estimate.low, estimate.high] == pytest.approx([truth] * 3, rel=1e-6)
    assert found.loss == pytest.approx(math.e, rel=1e-9)
    assert found.ridge.value == pytest.approx(RIDGE, rel=1e-6)


def test_units_of_rate_and_batch_do_not_matter() -> None:
    runs = surface((3e-3, 64.0), SIZE, np.random.default_rng(1))
    other = [
        replace(run, rate=1e3 * run.rate, sizes={**run.sizes, "batch": 2048 * run.sizes["batch"]})
        for run in runs
    ]
    one, two = best_of(runs), best_of(other)
    assert np.array([two.rate.value, *two.rate.interval]) / 1e3 == pytest.approx(
        [one.rate.value, *one.rate.interval], rel=1e-9
    )
    assert np.array([two.batch.value, *two.batch.interval]) / 2048 == pytest.approx(
        [one.batch.value, *one.batch.interval], rel=1e-9
    )
    assert (two.ridge.value, two.correlation) == pytest.approx((one.ridge.value, one.correlation), rel=1e-6)


def test_at_each_batch_the_curve_of_transfer_has_its_best_rate_on_the_ridge() -> None:
    """Parabolas in the rate alone, fitted by other code to the runs of one batch each."""
    runs = surface((3e-3, 64.0), SIZE, RNG, noise=0, grid=(rates(7), batches(4)))
    found = best_of(runs)
    [curves] = analyse_rates(given(runs), "").series
    assert len(curves.bowls) == 4
    for bowl in curves.bowls:
        assert bowl.best is not None
        ridge = found.rate.value * (bowl.sizes["batch"] / found.batch.value) ** found.ridge.value
        assert bowl.best.rate.value == pytest.approx(ridge, rel=1e-6)


def test_the_flat_range_is_where_the_surface_is_half_a_percent_up() -> None:
    found = best_of(surface((3e-3, 64.0), SIZE, RNG, noise=0))
    xx, xy, yy = 0.04, -0.012, 0.025
    x = math.log(found.flat_rate.alone[1] / 3e-3)
    assert math.exp(xx * x * x / 2) == pytest.approx(1.005, rel=1e-6)
    y = math.log(found.flat_batch.together[0] / 64)
    x = -xy * y / xx  # the best rate there
    assert math.exp(xx * x * x / 2 + xy * x * y + yy * y * y / 2) == pytest.approx(1.005, rel=1e-6)


@pytest.mark.parametrize(
    ("best", "words"),
    [
        ((3e-3, 400.0), ("above the largest batch size", "batch sizes 512 and 1024")),
        ((3e-3, 8.0), ("below the smallest batch size", "batch sizes 8 and 4")),
        ((0.02, 64.0), ("above the largest rate", "rates 0.024 and 0.048")),
        ((4e-4, 64.0), ("below the smallest rate",)),
    ],
)
def test_a_vertex_outside_the_runs_is_refused_with_the_edge(best, words) -> None:
    found = only(surface(best, SIZE, np.random.default_rng(0), noise=1e-4, grid=(rates(5), batches(5))))
    assert found.best is None
    assert found.refusal is not None
    assert found.refusal.kind == "outside the runs"
    for word in words:
        assert word in found.refusal.words


def test_a_corner_without_runs_is_outside() -> None:
    runs = surface((5e-3, 100.0), SIZE, RNG, noise=0, grid=(rates(6), batches(6)))
    whole = [run for run in runs if math.log(run.rate / 3e-3) + math.log(run.sizes["batch"] / 64) < 0.4]
    found = only(whole)
    assert found.refusal is not None
    assert found.refusal.kind == "outside the runs"
    assert "in a corner of the grid" in found.refusal.words


@pytest.mark.parametrize("hessian", [(0.04, 0.0, -0.02), (0.04, 0.06, 0.04), (-0.02, 0.0, -0.02)])
def test_what_is_no_bowl_is_refused(hessian: tuple[float, float, float]) -> None:
    found = only(surface((3e-3, 64.0), SIZE, np.random.default_rng(0), noise=1e-4, hessian=hessian))
    assert found.best is None
    assert found.refusal is not None
    assert found.refusal.kind == "no bowl"


def test_a_bowl_that_noise_hides_is_refused() -> None:
    found = only(surface((3e-3, 64.0), SIZE, np.random.default_rng(0), noise=0.05))
    assert found.refusal is not None
    assert found.refusal.kind in ("lost in noise", "no bowl")
    flat = only(surface((3e-3, 64.0), SIZE, np.random.default_rng(0), hessian=(0.04, 0.0, 1e-4)))
    assert flat.refusal is not None
    assert "batch size" in flat.refusal.words


@pytest.mark.parametrize("grid", [(rates(3), batches(2)), (rates(7), batches(2)), (rates(2), batches(4))])
def test_too_few_runs_are_refused(grid) -> None:
    found = only(surface((3e-3, 64.0), SIZE, RNG, grid=grid))
    assert found.refusal is not None
    assert found.refusal.kind == "too few runs"


def test_pairs_on_a_line_are_no_surface() -> None:
    runs = surface((3e-3, 64.0), SIZE, RNG, grid=(rates(9), batches(9)))
    line = [run for run in runs if abs(math.log(run.rate / 3e-3) - math.log(run.sizes["batch"] / 64)) < 0.1]
    found = only(line)
    assert found.refusal is not None
    assert "on a line" in found.refusal.words


def test_diverged_and_broken_runs_bend_nothing() -> None:
    runs = surface((3e-3, 64.0), SIZE, RNG, noise=0)
    whole = best_of(runs)
    highest = max(run.rate for run in runs)
    gone = [replace(r, loss=None, diverged=True) if r.rate == highest else r for r in runs]
    broken = [replace(r, loss=9.0) if r.rate == highest else r for r in runs]
    for changed in (gone, broken):
        found = best_of(changed)
        assert (found.rate.value, found.batch.value) == pytest.approx((whole.rate.value, whole.batch.value))
    assert only(gone).n_diverged == 6
    beside = only(
        [r for r in surface((0.02, 64.0), SIZE, RNG, noise=0) if not r.diverged]
        + [replace(runs[-1], rate=0.05, loss=None, diverged=True)]
    )
    assert beside.refusal is not None
    assert beside.refusal.kind == "beside divergence"


def test_seeds_have_an_offset_each() -> None:
    """A seed that lies 20 % higher and lacks some runs moves nothing."""
    runs = surface((3e-3, 64.0), SIZE, RNG, noise=0)
    other = [replace(run, seed=1, loss=1.2 * run.loss) for run in runs[:-9] if run.loss is not None]
    found = best_of([*runs, *other])
    assert (found.rate.value, found.batch.value) == pytest.approx((3e-3, 64.0), rel=1e-6)


def test_a_surface_that_is_no_quadratic_says_so_and_widens() -> None:
    """A cubic term in the rate biases every vertex; the nearest runs show it over all sizes together."""
    straight, skewed = (series_of(table(np.random.default_rng(4), skew=skew)) for skew in (0.0, 0.004))
    assert not straight.is_skewed
    assert skewed.is_skewed
    held = [
        s.best.rate.low <= best_at(s.n_params or 0, s.n_tokens or 0)[0] <= s.best.rate.high
        for s in skewed.surfaces
        if s.best is not None
    ]
    assert np.mean(held) > 0.7


def cover(times: int, noise: float, scatter: float = 0.0, seeds: Sequence[int] = (0,)) -> dict[str, float]:
    """Return the shares of intervals that hold the truth, over tables of nine sizes."""
    rng = np.random.default_rng(1)
    held: dict[str, list[bool]] = {}
    for _ in range(times):
        series = series_of(table(rng, noise, scatter, seeds=seeds))
        for s in series.surfaces:
            if s.best is None:
                continue
            truth = best_at(s.n_params or 0, s.n_tokens or 0)
            pairs = {"rate": (s.best.rate, truth[0]), "batch": (s.best.batch, truth[1])}
            for name, (found, true) in pairs.items():
                held.setdefault(name, []).append(found.low <= true <= found.high)
            held.setdefault("ridge", []).append(s.best.ridge.low <= RIDGE <= s.best.ridge.high)
        assert series.laws is not None
        for name in ("rate", "batch"):
            law = series.laws.rate if name == "rate" else series.laws.batch
            for letter, true in zip("ND", AT[name], strict=True):
                found = law.exponents[letter]
                held.setdefault("exponents", []).append(found.low <= true <= found.high)
    return {name: float(np.mean(yes)) for name, yes in held.items()}


def test_intervals_hold_the_truth() -> None:
    """20 tables: 180 vertices and 80 exponents, give or take 0.02."""
    for name, share in cover(20, 0.003).items():
        assert share >= 0.9, (name, share)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.002, 0.005])
def test_intervals_hold_the_truth_in_93_to_97_of_100(noise: float) -> None:
    """250 tables of 9 sizes: 2,250 vertices, give or take 0.006 by chance; 1,000 exponents, 0.008."""
    for name, share in cover(250, noise).items():
        assert 0.93 - 0.01 <= share <= 0.97 + 0.015, (name, share)


@pytest.mark.slow
def test_exponents_hold_the_truth_where_sizes_scatter_of_their_own() -> None:
    assert 0.91 <= cover(150, 0.002, scatter=0.2)["exponents"] <= 0.99


@pytest.mark.slow
def test_the_standard_error_is_that_of_repeated_experiments() -> None:
    """A parametric bootstrap: the spread of vertices of one size over 300 draws of the noise."""
    rng, found, told = np.random.default_rng(2), [], []
    for _ in range(300):
        best = best_of(surface((3e-3, 64.0), SIZE, rng, noise=0.003))
        found.append(np.log([best.rate.value, best.batch.value]))
        told.append(np.array(best.se_of_noise) ** 2)
    spread, middle = np.std(found, axis=0), np.sqrt(np.mean(told, axis=0))
    assert middle == pytest.approx(spread, rel=0.15)
