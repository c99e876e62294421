"""Quantile fits: a linear programme, a share of the runs below, l1 in the middle, intervals as in theory."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import norm

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.appraisal import appraise
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.fitting.objectives import objective
from lora_jax.scaling.fitting.profile import profile
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.laws.any_power import any_power
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.as_documents import fit_law


def _line(n: int = 200, seed: int = 0) -> RunTable:
    """Loss (1e10 / N)^.08 times e^(noise of .05)."""
    rng = np.random.default_rng(seed)
    n_params = np.exp(rng.uniform(10, 14, n))
    return make_table(
        "line", n_params=n_params, loss=(1e10 / n_params) ** 0.08 * np.exp(0.05 * rng.standard_normal(n))
    )


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.5, 0.9])
def test_it_is_the_linear_programme(tau: float) -> None:
    """min tau u + (1 - tau) v with y = X b + u - v; SciPy knows its optimum exactly."""
    table = _line(61)
    x, y, n = np.log(table["n_params"]) - 12, np.log(table["loss"]), 61
    equal = np.concatenate([np.ones((n, 1)), -x[:, None], np.eye(n), -np.eye(n)], axis=1)
    cost = np.concatenate([np.zeros(2), np.full(n, tau), np.full(n, 1 - tau)])
    theirs = linprog(cost, A_eq=equal, b_eq=y, bounds=[(None, None)] * 2 + [(0, None)] * (2 * n))
    ours = fit(power_law("N"), table, f"quantile({tau})")
    assert ours.certificate.converged
    assert ours.objective == pytest.approx(theirs.fun, rel=1e-6)
    assert ours.params["alpha_N"] == pytest.approx(theirs.x[1], rel=1e-5)


def test_the_middle_is_l1_and_counts_half(sweep: Callable[..., RunTable]) -> None:
    table = sweep(6, 5)
    one, other = fit(CHINCHILLA, table, "l1"), fit(CHINCHILLA, table, "quantile(0.5)")
    assert other.params == pytest.approx(one.params, rel=1e-4)
    assert other.objective == pytest.approx(one.objective / 2, rel=1e-6)
    assert other.certificate.converged


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.8])
def test_the_share_lies_below_and_curves_do_not_cross(tau: float) -> None:
    table = _line()
    found = fit(power_law("N"), table, f"quantile({tau})")
    below = (found.residuals < -1e-6).sum()
    assert abs(below - tau * len(table)) <= 2
    middle = fit(power_law("N"), table, "l1")
    at = {"N": np.array([1e5])}
    apart = float(np.log(found.predict(**at) / middle.predict(**at))[0])
    assert apart == pytest.approx(0.05 * norm.ppf(tau), abs=0.02)


def test_derivatives_are_the_finite_differences() -> None:
    goal = objective("quantile(0.2)").widened(1e5)
    r = np.array([-0.3, -0.004, 0.002, 0.2])
    h = 1e-7
    rho, slope, curve = goal.terms(r)
    plus, minus = goal.terms(r + h), goal.terms(r - h)
    np.testing.assert_allclose(slope, (plus[0] - minus[0]) / (2 * h), atol=1e-7)
    np.testing.assert_allclose(curve, (plus[1] - minus[1]) / (2 * h), atol=1e-5)
    assert (np.abs(rho - goal.value(np.diag(r), np.ones(4))) < goal.delta).all()


def test_intervals_are_as_wide_as_the_theory_says() -> None:
    """A slope's sd is sqrt(tau (1 - tau)) / f over that of x (Koenker and Bassett 1978)."""
    table, tau = _line(600), 0.2
    found = fit(power_law("N"), table, f"quantile({tau})")
    x = np.log(table["n_params"])
    density = norm.pdf(norm.ppf(tau)) / 0.05
    theory = np.sqrt(tau * (1 - tau)) / density / (x.std() * np.sqrt(len(x)))
    drawn = bootstrap(found, 400)
    assert drawn.kind == "case"
    assert drawn.intervals()["alpha_N"].se == pytest.approx(theory, rel=0.2)
    one = profile(found.problem, found.theta, found.objective, "alpha_N")
    assert one.low is not None
    assert one.high is not None
    assert (one.high - one.low) / (2 * 1.96) == pytest.approx(theory, rel=0.25)


def test_a_good_quantile_is_believed_and_tests_of_a_mean_are_left_out() -> None:
    said = appraise(fit(power_law("N"), _line(), "quantile(0.1)"), n_bootstrap=300)
    assert said.verdict.is_believed
    document = fit_law(
        _line(), power_law("N"), Questions("quantile(0.1)", n_bootstrap=200, predict=[{"N": 1e5}])
    )
    assert [row["quantity"] for row in document["predictions"]] == ["0.1-quantile of loss"]
    assert "0.1 of the runs below the curve" in document["objective"]["words"]


def test_too_few_runs_beyond_are_named() -> None:
    said = appraise(fit(power_law("N"), _line(30), "quantile(0.02)"), n_bootstrap=200)
    assert "only 0.6 of 30 runs lie beyond the quantile 0.02" in said.verdict.words


def test_mistakes_get_one_sentence() -> None:
    table = _line(30)
    for name in ("quantile", "quantile(1)", "quantile(x)", "quantile(0.1"):
        with pytest.raises(LoraJaxError, match=r"say quantile\(0.1\)"):
            fit(power_law("N"), table, name)
    with pytest.raises(LoraJaxError, match="nearest: 'quantile'"):
        fit(power_law("N"), table, "quantil(0.1)")
    with pytest.raises(LoraJaxError, match="lies off by design"):
        compare(table, objective="quantile(0.1)")
    with pytest.raises(LoraJaxError, match="has no delta"):
        fit(any_power("loss", ["N"]), table, "quantile(0.1)", delta=0.1)
