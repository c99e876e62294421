"""Intervals: coverage by simulation, agreement with Student's t, and the same bits from the same seed."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import linregress, t

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.interval_check import interval_warning
from lora_jax.scaling.intervals.uncertainty import bootstrap, interval
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.scaling.near import fit_near


def _line(n: int, seed: int, noise: float = 0.01) -> RunTable:
    n_params = np.geomspace(1e4, 1e6, n)
    loss = (1e10 / n_params) ** 0.08 * np.exp(noise * np.random.default_rng(seed).standard_normal(n))
    return make_table("line", n_params=n_params, loss=loss)


def test_small_sample_interval_covers() -> None:
    """200 tables of five runs: the 95% interval of alpha holds the truth in 90 to 99% of them."""
    covered, predicted = 0, 0
    for seed in range(200):
        replicates = bootstrap(fit(power_law("N"), _line(5, seed), "squared"), 400, seed=seed)
        low, high = replicates.intervals()["alpha_N"].interval
        covered += low <= 0.08 <= high
        new = (1e10 / 1e5) ** 0.08 * np.exp(0.01 * np.random.default_rng((seed, 9)).standard_normal())
        low, high = np.quantile(replicates.single_runs(N=1e5)[:, 0], [0.025, 0.975])
        predicted += low <= new <= high
    assert 180 <= covered <= 198
    assert 180 <= predicted <= 198


def test_interval_is_students() -> None:
    table = _line(5, 0)
    line: Any = linregress(np.log(table["n_params"]), np.log(table["loss"]))
    half = t.ppf(0.975, 3) * line.stderr
    low, high = bootstrap(fit(power_law("N"), table, "squared"), 20_000).intervals()["alpha_N"].interval
    assert [low, high] == pytest.approx([-line.slope - half, -line.slope + half], rel=0.02)


@pytest.mark.slow
def test_joint_interval_covers(sweep: Callable[..., RunTable]) -> None:
    """100 sweeps of 22 runs: the interval of a loss beyond the runs holds the truth in at least 88."""
    params = {"E": 1.2, "A": 3e3**0.35, "alpha": 0.35, "B": 4e4**0.4, "beta": 0.4}
    truth = 1.2 + (3e3 / 3e6) ** 0.35 + (4e4 / 24e6) ** 0.4
    covered = 0
    for seed in range(100):
        replicates = bootstrap(fit_near(CHINCHILLA, sweep(seed=seed), params), 400, seed=seed)
        low, high = np.quantile(replicates.losses(N=3e6, D=24e6)[:, 0], [0.025, 0.975])
        covered += low <= truth <= high
    assert covered >= 88


def test_runs_and_residuals_choose_the_kind(sweep: Callable[..., RunTable]) -> None:
    few = bootstrap(fit(CHINCHILLA, sweep()), 20)
    assert (few.kind, few.reason) == ("parametric", "22 runs are fewer than 25")
    plain = sweep(6, 5)
    assert bootstrap(fit(CHINCHILLA, plain), 20).kind == "parametric"
    outlying = plain["loss"] * np.exp(np.where(np.arange(len(plain)) % 15 == 3, 0.1, 0))
    far = bootstrap(fit(CHINCHILLA, replace(plain, columns={**plain.columns, "loss": outlying})), 20)
    assert far.kind == "case"
    assert "not normal" in far.reason
    curves = replace(plain, clusters=tuple(str(i // 2) for i in range(len(plain))))
    drawn = bootstrap(fit(CHINCHILLA, curves), 20)
    assert (drawn.kind, drawn.reason) == ("case", "several rows come from one training run")
    assert drawn.n_clusters == 16


def test_noise_that_grows_with_the_loss_draws_cases() -> None:
    """The small models' runs are ten times as noisy as the large ones'."""
    line = _line(80, 0, 0)
    spread = np.geomspace(0.02, 0.002, 80) * np.random.default_rng(0).uniform(-1, 1, 80)
    table = make_table("line", n_params=line["n_params"], loss=line["loss"] * np.exp(spread))
    drawn = bootstrap(fit(power_law("N"), table, "squared"), 20)
    assert drawn.kind == "case"
    assert drawn.reason.startswith("the residuals are")


def test_clusters_of_the_table_are_drawn_together(sweep: Callable[..., RunTable]) -> None:
    """Every run twice, 1% apart in tokens and with one error: the table's clusters know, cells do not."""
    once = sweep(8, 5, noise=0.01)
    both = {name: np.tile(values, 2) for name, values in once.columns.items()}
    both["n_tokens"] = both["n_tokens"] * np.repeat([1, 1.01], len(once))
    labels = once.run_ids * 2
    twice = make_table(
        "curves", labels, n_params=both["n_params"], n_tokens=both["n_tokens"], loss=both["loss"]
    )
    widths = []
    for clusters in (None, labels):
        replicates = bootstrap(
            fit(CHINCHILLA, replace(twice, clusters=clusters), "squared"), 800, kind="case"
        )
        low, high = replicates.intervals()["alpha"].interval
        widths.append(high - low)
    assert widths[0] < 0.8 * widths[1]
    with pytest.raises(LoraJaxError, match="3 cluster labels were given for 84 runs"):
        bootstrap(fit(CHINCHILLA, twice), 20, clusters=np.arange(3))


def test_seeds_of_a_cell_are_drawn_together(sweep: Callable[..., RunTable]) -> None:
    """Every run three times over is no more evidence: a bootstrap of cells knows, one of rows does not."""
    once = sweep(6, 5)
    thrice = once.take(np.tile(np.arange(len(once)), 3))
    widths = []
    for table in (once, thrice):
        low, high = bootstrap(fit(CHINCHILLA, table), 800).intervals()["alpha"].interval
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    row = bootstrap(fit(CHINCHILLA, thrice), 800, clusters=np.arange(len(thrice))).intervals()["alpha"]
    assert row.high - row.low < 0.75 * widths[0]


def test_same_seed_same_bits(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    one, same, other = (bootstrap(found, 50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.theta, same.theta)
    np.testing.assert_array_equal(one.single_runs(N=1e6, D=1e7), same.single_runs(N=1e6, D=1e7))
    assert not np.array_equal(one.theta, other.theta)


def test_more_noise_is_a_wider_interval(sweep: Callable[..., RunTable]) -> None:
    def width(noise: float) -> float:
        low, high = (
            bootstrap(fit(CHINCHILLA, sweep(noise=noise), "squared"), 200).intervals()["alpha"].interval
        )
        return high - low

    assert width(0.008) > 2 * width(0.002)


def test_no_degree_of_freedom_needs_the_seed_noise() -> None:
    found = fit(power_law("N"), _line(2, 0), "squared")
    with pytest.raises(LoraJaxError, match="seeds of one cell"):
        bootstrap(found)
    with pytest.raises(LoraJaxError, match="number of bootstrap replicates is 0"):
        bootstrap(found, 0)
    low, high = bootstrap(found, noise_sd=0.01).intervals()["alpha_N"].interval
    # two points 100-fold apart: sd of the slope is sqrt(2) 0.01 / ln 100
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(2) * 0.01 / np.log(100), rel=0.15)


def test_percentiles_are_by_rank() -> None:
    """Of 39 samples the interval is exactly from the least to the largest: 1 and 39 of 40 ranks."""
    got = interval(0.0, np.random.default_rng(0).permutation(np.arange(39.0)))
    assert got.ci95 == pytest.approx([0, 38])


def test_replicates_at_a_bound_are_counted() -> None:
    """No floor in the runs: many replicates put it at its lower bound, and the warning says so."""
    replicates = bootstrap(fit(power_law("N", irreducible=True), _line(30, 1), "squared"), 200)
    assert replicates.at_bound["E"] > 0.025
    warning = interval_warning(replicates)
    assert warning is not None
    assert "end at a bound (E in" in warning
    assert bootstrap(fit(power_law("N"), _line(30, 1), "squared"), 200).at_bound == {}


def test_a_fixed_parameter_is_not_at_a_bound(sweep: Callable[..., RunTable]) -> None:
    replicates = bootstrap(fit(CHINCHILLA, sweep(), fixed={"E": 1.2}), 100)
    assert "E" not in replicates.at_bound
    assert np.ptp(replicates.params["E"]) == 0


def test_functions_of_the_parameters_have_intervals(sweep: Callable[..., RunTable]) -> None:
    replicates = bootstrap(fit(CHINCHILLA, sweep()), 200)
    got = replicates.interval_of(lambda p: p["beta"] / (p["alpha"] + p["beta"]))
    assert got.low < got.value < got.high
    assert 0 < (got.se or 0) < 0.2


def test_four_hundred_replicates_of_the_joint_fit_are_fast(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep(8, 5))
    begin = time.process_time()
    for kind in ("parametric", "case"):
        assert bootstrap(found, 400, kind=kind).n_failed == 0
    assert time.process_time() - begin < 10


def test_two_thousand_refits_of_240_runs_are_fast(chinchilla_240: RunTable) -> None:
    """Under 5 s on one core; seconds of processor, which other work on the machine does not stretch."""
    found = fit(CHINCHILLA, chinchilla_240)
    begin = time.process_time()
    replicates = bootstrap(found, 2000)
    assert time.process_time() - begin < 5
    assert replicates.n_failed == 0
