"""The solver where it is hard: minima on a bound, flat valleys, and batches."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import least_squares

from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.objectives import objective
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.tables.table import RunTable, make_table


def test_minima_on_a_bound_are_scipys() -> None:
    """Three points, three parameters, and noise that often wants no floor at all."""
    n_tokens = np.array([5e5, 1.26e6, 3.17e6])
    table = make_table(
        "three", n_params=np.full(3, 1e6), n_tokens=n_tokens, loss=1.2 + (4e4 / n_tokens) ** 0.3
    )
    problem = pose(power_law("D", floor=True), table, "squared")
    d = problem.data
    measured = d.log_loss + 0.01 * np.random.default_rng(0).standard_normal((60, 3))
    start = np.tile([0.0, -0.7, 0.3], (60, 1))
    ours = solve(Data(d.law, d.features, measured, d.weights), problem.goal, start, problem.bounds)
    low, high = problem.bounds
    on_bound = ((ours.theta <= low) | (ours.theta >= high)).any(-1)
    assert 5 < on_bound.sum() < 55
    assert ours.grad_norm.max() < 1e-9
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 3000}
    for y, begin, value in list(zip(measured, start, ours.value, strict=True))[:20]:

        def residuals(theta: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            return d.law.log_loss(theta, d.features) - y

        theirs = least_squares(residuals, begin, bounds=problem.bounds, **tight)
        assert value <= 2 * theirs.cost + 1e-12


@pytest.mark.parametrize("name", ["huber", "l1", "squared"])
def test_a_batch_is_its_members_one_by_one(name: str, sweep: Callable[..., RunTable]) -> None:
    problem = pose(CHINCHILLA, sweep(), name)
    d, rng = problem.data, np.random.default_rng(0)
    measured = d.log_loss + 0.003 * rng.standard_normal((5, len(d.log_loss)))
    weights = rng.uniform(0.5, 2, measured.shape)
    start = np.tile([0.2, -0.5, 0.3, -0.5, 0.3], (5, 1))
    together = solve(Data(d.law, d.features, measured, weights), problem.goal, start, problem.bounds)
    assert together.grad_norm.max() < 1e-7
    for i in range(5):
        alone = solve(
            Data(d.law, d.features, measured[i], weights[i]), problem.goal, start[:1], problem.bounds
        )
        assert together.value[i] == pytest.approx(alone.value[0], rel=1e-9)
        np.testing.assert_allclose(together.theta[i], alone.theta[0], atol=1e-5)


@pytest.mark.parametrize("name", ["huber", "l1", "squared"])
def test_the_touching_parabola_lies_above_and_touches(name: str) -> None:
    goal = objective(name).widened(1e4)
    at, everywhere = np.linspace(-20, 20, 41), np.linspace(-30, 30, 301)
    rho, slope, _ = goal.terms(at)
    curve = goal.touching(at)
    np.testing.assert_allclose(curve * at, slope, atol=1e-12)
    bowl = rho[:, None] + 0.5 * curve[:, None] * (everywhere**2 - at[:, None] ** 2)
    assert (bowl >= goal.terms(everywhere)[0] - 1e-9).all()
