"""The solver where it is hard: minima on a bound, flat valleys, and batches."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import least_squares

from lora_jax.scaling.fitting import newton, steps
from lora_jax.scaling.fitting.descent import Limits
from lora_jax.scaling.fitting.newton import Data, Local, solve
from lora_jax.scaling.fitting.objectives import Objective, objective
from lora_jax.scaling.fitting.problem import Problem, pose
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.tables.table import RunTable, make_table


def test_minima_on_a_bound_are_scipys() -> None:
    """Three points, three parameters, and noise that often wants no floor at all."""
    n_tokens = np.array([5e5, 1.26e6, 3.17e6])
    table = make_table(
        "three", n_params=np.full(3, 1e6), n_tokens=n_tokens, loss=1.2 + (4e4 / n_tokens) ** 0.3
    )
    problem = pose(power_law("D", irreducible=True), table, "squared")
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


def ridge(size: int, seed: int = 0) -> tuple[Data, Problem, np.ndarray]:
    """Data of D = 20 N, where exponents are hardly told apart: some descents take hundreds of steps.

    Returned with the problem and the starts (size, 5) of as many noisy copies of the runs.
    """
    n_params = np.geomspace(1e7, 1e10, 8)
    n_tokens = 20 * n_params
    loss = 1.8 + 480 * n_params**-0.35 + 2100 * n_tokens**-0.37
    problem = pose(CHINCHILLA, make_table("ridge", n_params=n_params, n_tokens=n_tokens, loss=loss), "huber")
    d = problem.data
    measured = d.log_loss + 0.005 * np.random.default_rng(seed).standard_normal((size, len(n_params)))
    return (
        Data(d.law, d.features, measured, d.weights),
        problem,
        np.tile([0.6, -2.0, 0.3, -0.2, 0.4], (size, 1)),
    )


def test_an_answer_does_not_depend_on_who_else_is_in_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members wait for a place in the window, and come and go: none may take another's place.

    To the last bit: batches are dealt out to as many processes as there are cores.
    """
    data, problem, start = ridge(60)
    together = solve(data, problem.goal, start, problem.bounds, limits=Limits(100))
    some = np.random.default_rng(1).permutation(60)[:20]
    monkeypatch.setattr(newton, "WIDEST", 7)
    few = solve(data.rows(some), problem.goal, start[some], problem.bounds, limits=Limits(100))
    np.testing.assert_array_equal(few.theta, together.theta[some])
    np.testing.assert_array_equal(few.value, together.value[some])
    alone = solve(data.rows(some[:1]), problem.goal, start[:1], problem.bounds, limits=Limits(100))
    np.testing.assert_array_equal(alone.theta, few.theta[:1])


def test_a_large_table_is_summed_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data, problem, start = ridge(3)
    whole = data.derivatives(start, problem.goal)
    monkeypatch.setattr(newton, "MOST_RUNS", 3)
    for ours, theirs in zip(data.derivatives(start, problem.goal), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-16)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data, problem, start = ridge(40)
    alone = solve(data, problem.goal, start, problem.bounds, limits=Limits(100))
    monkeypatch.setattr(newton, "may_fork", lambda: False)
    monkeypatch.setattr(newton, "LANE_RUNS", 0)
    monkeypatch.setattr(newton, "WIDEST", 10)
    lanes = solve(data, problem.goal, start, problem.bounds, limits=Limits(100))
    np.testing.assert_array_equal(lanes.theta, alone.theta)
    assert len(np.unique(lanes.value)) == 40


def test_the_slowest_members_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were once in each chunk of 128, which made 2,000 refits of eight runs take 20 s."""
    data, problem, start = ridge(20)
    calls, derivatives = 0, Data.derivatives

    def count(self: Data, theta: np.ndarray, goal: Objective) -> Local:
        nonlocal calls
        calls += 1
        return derivatives(self, theta, goal)

    monkeypatch.setattr(Data, "derivatives", count)
    solve(data, problem.goal, start, problem.bounds)
    once, calls = calls, 0
    many = np.tile(np.arange(20), 50)
    solve(data.rows(many), problem.goal, start[many], problem.bounds)
    assert once > 200
    assert calls < 1.5 * once


@pytest.mark.parametrize("start", [[0.6, -2.0, 0.3, -0.2, 0.4], [0.5, -1.0, 0.2, -1.0, 0.5]])
def test_a_curved_valley_is_followed_to_its_minimum(start: list[float]) -> None:
    """Losses of four decimals and D = 20 N: 8 rows on which short steps alone need 3,000 and more."""
    n_params = np.geomspace(1e6, 3.1623e9, 8)
    loss = np.round(1.69 + 406.4 * n_params**-0.34 + 410.7 * (20 * n_params) ** -0.28, 4)
    table = make_table("eight", n_params=n_params, n_tokens=20 * n_params, loss=loss)
    problem = pose(CHINCHILLA, table, "squared")
    d = problem.data
    ours = solve(d, problem.goal, np.array([start]), problem.bounds, limits=Limits(700))
    assert ours.grad_norm[0] < problem.goal.stop

    def residuals(theta: np.ndarray) -> np.ndarray:
        return d.law.log_loss(theta, d.features) - d.log_loss

    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 20_000}
    given = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    truth = problem.law.to_theta(given, problem.centre)
    for begin in (ours.theta[0], truth):
        theirs = least_squares(residuals, begin, bounds=problem.bounds, x_scale="jac", **tight)
        assert ours.value[0] <= 1.0001 * 2 * theirs.cost  # theirs is half the sum of squares


def test_elimination_and_eigenvalues_give_one_step() -> None:
    """|H| is H where it is positive definite; elsewhere elimination says so."""
    rng = np.random.default_rng(0)
    root, other = rng.standard_normal((2, 50, 4, 4))
    hessian, metric = root @ np.swapaxes(root, 1, 2), other @ np.swapaxes(other, 1, 2) + np.eye(4)
    gradient, damping = rng.standard_normal((50, 4)), rng.uniform(0, 1, 50)
    hessian[::5] -= 3 * np.eye(4)
    held = np.zeros((50, 4), dtype=bool)
    ours, positive = steps.by_elimination(hessian, metric, gradient, held, damping)
    theirs = steps.by_eigenvalues(hessian, metric, gradient, damping)
    np.testing.assert_array_equal(positive, np.linalg.eigvalsh(hessian)[:, 0] > 0)
    np.testing.assert_allclose(ours[positive], theirs[positive], rtol=1e-6, atol=1e-9)
    step = steps.damped_step(Local(np.zeros(50), gradient, hessian, metric), held, damping)
    short = np.linalg.norm(theirs, axis=1) < steps.LONGEST
    np.testing.assert_allclose(step[short], theirs[short], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["huber", "l1", "squared"])
def test_the_touching_parabola_lies_above_and_touches(name: str) -> None:
    goal = objective(name).widened(1e4)
    at, everywhere = np.linspace(-20, 20, 41), np.linspace(-30, 30, 301)
    rho, slope, _ = goal.terms(at)
    curve = goal.touching(at)
    np.testing.assert_allclose(curve * at, slope, atol=1e-12)
    bowl = rho[:, None] + 0.5 * curve[:, None] * (everywhere**2 - at[:, None] ** 2)
    assert (bowl >= goal.terms(everywhere)[0] - 1e-9).all()
