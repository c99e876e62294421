"""Profiles: SciPy's refits, the exact interval of a straight line, and units that do not matter."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import linregress, t

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.fitting.profile import allowed_rise, profile, profiles
from lora_jax.scaling.laws import CHINCHILLA, LAWS, Law, power_law
from lora_jax.scaling.tables.table import RunTable, make_table


def _line(n: int = 12, seed: int = 0) -> RunTable:
    n_params = np.geomspace(1e4, 1e6, n)
    loss = (1e10 / n_params) ** 0.08 * np.exp(0.01 * np.random.default_rng(seed).standard_normal(n))
    return make_table("line", n_params=n_params, loss=loss)


def test_the_interval_of_a_straight_line_is_students() -> None:
    table = _line()
    found = fit(power_law("N"), table, "squared")
    line: Any = linregress(np.log(table["n_params"]), np.log(table["loss"]))
    half = t.ppf(0.975, 10) * line.stderr
    alpha = profile(found.problem, found.theta, found.objective, "alpha_N")
    assert [alpha.low, alpha.high] == pytest.approx([-line.slope - half, -line.slope + half], rel=2e-3)


@pytest.mark.parametrize("name", ["E", "A", "alpha"])
def test_each_point_is_scipys_refit_of_the_others(name: str, sweep: Callable[..., RunTable]) -> None:
    """Over the published parameter, A included, whose centred form depends on alpha."""
    table = sweep()
    found = fit(CHINCHILLA, table, "squared")
    curve = profile(found.problem, found.theta, found.objective, name)
    ln_n, ln_d, ln_l = (np.log(table[c]) for c in ("n_params", "n_tokens", "loss"))
    order = ["E", "A", "alpha", "B", "beta"]
    best = np.array([found.params[k] if k in ("alpha", "beta") else np.log(found.params[k]) for k in order])
    held = order.index(name)
    others = [i for i in range(5) if i != held]
    for k in (8, 30):
        value = curve.value[k] if name == "alpha" else np.log(curve.value[k])

        def squares(rest: np.ndarray, value: float = value) -> float:
            p = np.insert(rest, held, value)
            fitted = np.logaddexp(np.logaddexp(p[0], p[1] - p[2] * ln_n), p[3] - p[4] * ln_d)
            return 1e6 * float(((fitted - ln_l) ** 2).sum())

        options = {"maxiter": 40_000, "maxfev": 40_000, "xatol": 1e-10, "fatol": 1e-12}
        theirs = minimize(squares, best[others], method="Nelder-Mead", options=options)
        theirs = minimize(squares, theirs.x, method="Nelder-Mead", options=options)
        assert curve.objective[k] <= theirs.fun / 1e6 * (1 + 1e-6)
        assert curve.objective[k] == pytest.approx(theirs.fun / 1e6, rel=1e-2)


def test_refits_that_stop_in_a_valley_have_come_down_to_its_floor(
    chinchilla: RunTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With A at its bound beta gamma alone is told by the runs: the refit would walk 2,000 steps along it."""
    found = fit(LAWS["shared-exponent"], chinchilla, "huber")
    given = found.problem, found.theta, found.objective, ["alpha", "E"]
    short = profiles(*given)
    monkeypatch.setattr("lora_jax.scaling.fitting.profile.SMALL", 0.0)
    for curve, whole in zip(short, profiles(*given), strict=True):
        assert curve.value == pytest.approx(whole.value)
        assert np.abs(curve.objective - whole.objective).max() < 1e-3 * whole.rise
        assert [curve.low, curve.high] == pytest.approx([whole.low, whole.high], rel=1e-4)


@pytest.mark.parametrize("name", ["N_c", "alpha_N", "E"])
def test_units_do_not_matter(name: str) -> None:
    n = np.geomspace(1e4, 1e7, 14)
    noise = np.exp(0.002 * np.random.default_rng(2).standard_normal(14))
    table = make_table("floor", n_params=n, loss=noise * (1.5 + (1e4 / n) ** 0.4))
    law = power_law("N", irreducible=True)
    ends = []
    for unit in (1.0, 1e6):
        other = replace(table, columns={**table.columns, "n_params": table["n_params"] / unit})
        found = fit(law, other, "squared")
        curve = profile(found.problem, found.theta, found.objective, name)
        assert curve.low is not None
        assert curve.high is not None
        scale = unit if name == "N_c" else 1.0
        ends.append([curve.low * scale, curve.high * scale])
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


@pytest.mark.parametrize("objective", ["squared", "huber"])
def test_the_interval_covers(objective: str) -> None:
    """Of 100 lines of 30 runs with normal noise the interval of alpha holds the truth in 88 to 99."""
    covered = 0
    for seed in range(100):
        found = fit(power_law("N"), _line(30, seed), objective)
        rise = allowed_rise(found.problem, found.theta)
        assert rise is not None
        there = found.problem.law.to_theta({"N_c": 1e10, "alpha_N": 0.08}, found.problem.centre)
        curve = profile(found.problem, found.theta, found.objective, "alpha_N")
        assert there[1] == 0.08
        assert curve.low is not None
        assert curve.high is not None
        covered += curve.low <= 0.08 <= curve.high
    assert 88 <= covered <= 99


@pytest.mark.parametrize("law", [CHINCHILLA, LAWS["kaplan"], LAWS["power-n-floor"]], ids=lambda law: law.key)
def test_profiles_of_all_parameters_are_those_of_each(law: Law, sweep: Callable[..., RunTable]) -> None:
    """They are one batch, in which each has units of its own."""
    found = fit(law, sweep())
    together = profiles(found.problem, found.theta, found.objective, law.names)
    for name, ours in zip(law.names, together, strict=True):
        alone = profile(found.problem, found.theta, found.objective, name)
        assert ours.name == name
        np.testing.assert_allclose(ours.value, alone.value, rtol=1e-12)
        np.testing.assert_allclose(ours.objective, alone.objective, rtol=1e-9)
        for mine, theirs in ((ours.low, alone.low), (ours.high, alone.high)):
            assert mine == (None if theirs is None else pytest.approx(theirs, rel=1e-7))


def test_a_parameter_that_nothing_bounds_is_open() -> None:
    """A floor that the runs do not show may as well be zero: the profile has no lower end."""
    n = np.geomspace(1e5, 1e6, 8)
    noise = np.exp(0.003 * np.random.default_rng(1).standard_normal(8))
    table = make_table("flat", n_params=n, loss=noise * (1e10 / n) ** 0.08)
    found = fit(power_law("N", irreducible=True), table, "squared")
    assert profile(found.problem, found.theta, found.objective, "E").low is None


def test_a_wrong_name_gets_the_right_ones(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep(), fixed={"beta": 0.4})
    with pytest.raises(LoraJaxError, match="no free parameter 'beta': choose of E, A, alpha, B"):
        profile(found.problem, found.theta, found.objective, "beta")
