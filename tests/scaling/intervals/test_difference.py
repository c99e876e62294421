"""Does a fit differ from published constants: published verdicts, size under the null, and errors."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.difference import PUBLISHED_FITS, difference
from lora_jax.scaling.intervals.uncertainty import Bootstrap, bootstrap
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.scaling.near import fit_near


def test_published_verdicts(chinchilla_240: RunTable) -> None:
    """Besiroglu et al. fitted these runs; Hoffmann et al.'s constants do not fit them (2404.10102)."""
    replicates = bootstrap(fit(CHINCHILLA, chinchilla_240), 400)
    same, other = difference(replicates, "besiroglu"), difference(replicates, "hoffmann")
    assert not same.differs
    assert same.p > 0.5
    assert all(row.inside for row in same.params.values())
    assert same.objective_ratio == pytest.approx(1, abs=0.01)
    assert "does not differ from Besiroglu et al. 2404.10102" in same.words
    assert other.differs
    assert other.p == pytest.approx(1 / 401)
    assert (other.objective_ratio or 0) > 2
    outside = {name for name, row in other.params.items() if not row.inside}
    assert {"E", "beta"} <= outside
    for name in outside:
        assert name in other.words


def _line(seed: int, n: int = 12) -> RunTable:
    n_params = np.geomspace(1e4, 1e6, n)
    loss = (1e10 / n_params) ** 0.08 * np.exp(0.01 * np.random.default_rng(seed).standard_normal(n))
    return make_table("line", n_params=n_params, loss=loss)


def _replicates(seed: int, n: int = 199) -> Bootstrap:
    return bootstrap(fit(power_law("N"), _line(seed), "squared"), n, seed=seed)


def test_the_truth_is_rejected_in_one_of_twenty_tables() -> None:
    """300 tables from a law: its own constants have p < .05 in 5% of them (sd 1.3%), p < .5 in half."""
    p = np.array([difference(_replicates(seed), {"N_c": 1e10, "alpha_N": 0.08}).p for seed in range(300)])
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.41 <= (p < 0.5).mean() <= 0.59


@pytest.mark.slow
def test_the_truth_is_rejected_in_one_of_twenty_joint_fits() -> None:
    """100 tables of 60 runs from Hoffmann's constants, fitted with five parameters: p < .05 in 1 to 12."""
    rng = np.random.default_rng(7)
    truth = PUBLISHED_FITS["hoffmann"].params
    n_params, n_tokens = (
        np.exp(rng.uniform(np.log(5e7), np.log(5e9), 60)),
        np.exp(rng.uniform(np.log(2e9), np.log(6e10), 60)),
    )
    mean = truth["E"] + truth["A"] * n_params ** -truth["alpha"] + truth["B"] * n_tokens ** -truth["beta"]
    rejected = 0
    for seed in range(100):
        loss = mean * np.exp(0.005 * np.random.default_rng(seed).standard_normal(60))
        table = make_table("simulated", n_params=n_params, n_tokens=n_tokens, loss=loss)
        rejected += difference(
            bootstrap(fit_near(CHINCHILLA, table, truth), 199, seed=seed), "hoffmann"
        ).differs
    assert 1 <= rejected <= 12


def test_distance_is_mahalanobis_of_scipy(sweep: Callable[..., RunTable]) -> None:
    replicates = bootstrap(fit(CHINCHILLA, sweep()), 400)
    published = {"E": 1.2, "A": 3e3**0.35, "alpha": 0.35, "B": 4e4**0.4, "beta": 0.4}
    there = CHINCHILLA.to_theta(published, replicates.fit.problem.centre)
    inverse = np.linalg.inv(np.cov(replicates.theta.T))
    far = mahalanobis(there, replicates.fit.theta, inverse)
    got = difference(replicates, published)
    assert got.distance == pytest.approx(far, rel=1e-6)
    farther = sum(mahalanobis(theta, replicates.fit.theta, inverse) >= far for theta in replicates.theta)
    assert got.p == pytest.approx((1 + farther) / 401)


def test_each_parameter_may_lie_inside_and_the_set_outside(sweep: Callable[..., RunTable]) -> None:
    """A larger floor goes with steeper terms: a larger floor with flatter terms is another curve."""
    replicates = bootstrap(fit(CHINCHILLA, sweep(8, 6)), 400)
    rows = replicates.intervals()
    params = {**replicates.fit.params, "E": rows["E"].high * 0.999}
    got = difference(replicates, params)
    assert all(row.inside for row in got.params.values())
    assert got.differs
    assert "every parameter lies inside" in got.words


def test_units_do_not_matter() -> None:
    """N in thousands: the same distance and the same p."""
    table = _line(3)
    thousands = make_table("line", n_params=table["n_params"] / 1e3, loss=table["loss"])
    one = difference(bootstrap(fit(power_law("N"), table, "squared"), 200), {"N_c": 1.2e10, "alpha_N": 0.081})
    other = difference(
        bootstrap(fit(power_law("N"), thousands, "squared"), 200), {"N_c": 1.2e7, "alpha_N": 0.081}
    )
    assert one.p == other.p
    assert one.distance == pytest.approx(other.distance, rel=1e-5)


def test_the_fit_itself_is_no_difference(sweep: Callable[..., RunTable]) -> None:
    replicates = bootstrap(fit(CHINCHILLA, sweep()), 200)
    got = difference(replicates, replicates.fit.params)
    assert got.p == 1
    assert got.objective_ratio == pytest.approx(1)


def test_only_free_parameters_are_compared(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep(), fixed={"E": 1.2})
    replicates = bootstrap(found, 200)
    assert difference(replicates, found.params).p == 1
    with pytest.raises(LoraJaxError, match=r"E is 1.3 in the published constants and was fixed at 1.2"):
        difference(replicates, {**found.params, "E": 1.3})


def test_mistakes_are_named(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    replicates = bootstrap(found, 200)
    with pytest.raises(LoraJaxError, match="nearest: 'hoffmann'"):
        difference(replicates, "hofmann")
    with pytest.raises(LoraJaxError, match="are of the law"):
        difference(replicates, "kaplan")
    with pytest.raises(LoraJaxError, match="lacks B, beta"):
        difference(replicates, {"E": 1.0, "A": 1.0, "alpha": 0.3})
    with pytest.raises(LoraJaxError, match="50 replicates are too few"):
        difference(bootstrap(found, 50), found.params)
