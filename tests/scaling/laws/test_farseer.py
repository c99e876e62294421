"""Farseer's law on the range of its paper: its own constants, one minimum, and what Chinchilla misses."""

import numpy as np
import pytest

from lora_jax.scaling.fitting.fit import evaluate_given, fit
from lora_jax.scaling.fitting.profile import profile
from lora_jax.scaling.intervals.difference import PUBLISHED_FITS
from lora_jax.scaling.laws import CHINCHILLA, LAWS
from lora_jax.scaling.tables.table import RunTable, make_table

LAW, CONSTANTS = LAWS["farseer"], dict(PUBLISHED_FITS["farseer"].params)


def _published_loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The formula as it is printed."""
    p = CONSTANTS
    rest = np.exp(p["a3"] * n ** p["gamma"] + p["b3"])
    return rest + np.exp(p["a2"] * n ** p["beta"] + p["b2"]) * d ** -np.exp(
        p["a1"] * n ** p["alpha"] + p["b1"]
    )


def _runs(noise: float = 0.0) -> RunTable:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 6e9, 8), np.geomspace(1e9, 5e11, 9)))
    loss = _published_loss(n, d) * np.exp(noise * np.random.default_rng(0).standard_normal(len(n)))
    return make_table("farseer", n_params=n, n_tokens=d, loss=loss)


def test_exact_runs_give_the_published_constants_and_losses_far_beyond() -> None:
    found = fit(LAW, _runs(), "squared")
    assert found.certificate.converged
    assert found.params == pytest.approx(CONSTANTS, rel=1e-3)
    beyond = (np.array([2.51e10]), np.array([1e12]))
    assert found.predict(N=beyond[0], D=beyond[1]) == pytest.approx(_published_loss(*beyond), rel=1e-6)


def test_noisy_runs_have_one_minimum_below_the_truth_and_chinchilla_misses_them() -> None:
    table = _runs(0.002)
    found, truth = fit(LAW, table, "squared"), evaluate_given(LAW, table, CONSTANTS, objective="squared")
    assert found.certificate.converged
    assert found.certificate.n_minima == 1
    assert found.objective < truth.objective
    assert found.objective > 0.7 * truth.objective
    assert fit(CHINCHILLA, table, "squared").objective > 4 * found.objective


def test_the_profile_of_a_signed_parameter_is_a_refit_with_it_fixed() -> None:
    table = _runs(0.002)
    found = fit(LAW, table, "squared")
    for name in ("b1", "b3"):
        drawn = profile(found.problem, found.theta, found.objective, name)
        at = len(drawn.value) // 4
        held = fit(LAW, table, "squared", fixed={name: float(drawn.value[at])})
        assert held.params[name] == pytest.approx(drawn.value[at], rel=1e-9)
        assert held.objective == pytest.approx(drawn.objective[at], rel=1e-4)
