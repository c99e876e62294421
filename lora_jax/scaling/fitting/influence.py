"""Influence: how far the number that people quote moves if runs are left out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.progress import begin_step

OUTLIER_SDS = 6.0
MOST_OUTLIERS = 0.2  # of the runs: what lies off in more of them is not an outlier
MOST_REFITS = 40


@dataclass(frozen=True)
class Influence:
    """How far the leading number moves if runs are left out.

    Attributes:
        exponent: Name of the leading number.
        shift: Its value without the runs less its value with them.
        run_ids: The runs.
    """

    exponent: str
    shift: float
    run_ids: tuple[str, ...]


def shifts_without(problem: Problem, theta: Array, rows: np.ndarray) -> Array:
    """Refit without each of the rows (m,), one at a time. Return the shifts of the leading number, (m,)."""
    weights = np.tile(problem.data.weights, (len(rows), 1))
    weights[np.arange(len(rows)), rows] = 0.0
    return _refit(problem, theta, weights)


def worst_runs(problem: Problem, theta: Array) -> dict[int, float]:
    """Refit without each run that matters to first order, the most important ones.

    Returns:
        How far the leading number moves without a row, by the row's number. Empty where no degree of freedom
        is left.
    """
    if problem.degrees_of_freedom < 1:
        return {}
    free = problem.is_free
    slope = problem.data.weights * problem.goal.terms(problem.errors(theta))[1]
    pull = slope[:, None] * problem.law.jacobian(theta, problem.data.features)[:, free]
    hessian = problem.data.derivatives(theta[None], problem.goal).hessian[0][np.ix_(free, free)]
    first_order = pull @ np.linalg.pinv(hessian, rcond=1e-12, hermitian=True)
    matters = problem.law.is_exponent[free]
    size = np.abs(first_order[:, matters if matters.any() else slice(None)]).sum(-1)
    rows = np.argsort(-size, kind="stable")[:MOST_REFITS]
    return dict(zip(rows.tolist(), shifts_without(problem, theta, rows).tolist(), strict=True))


def worst_run(problem: Problem, theta: Array, shifts: Mapping[int, float]) -> Influence | None:
    """Return the run without which the leading number moves most; None where there are no shifts."""
    if not shifts:
        return None
    row = max(shifts, key=lambda row: abs(shifts[row]))
    return Influence(problem.law.leading(theta)[0], shifts[row], (problem.table.run_ids[row],))


def outlying_runs(problem: Problem, theta: Array) -> Influence | None:
    """Return what leaving out all outliers does. An outlier's residual is six robust standard deviations off.

    The answer is None if there are no outliers, or too many to be exceptions.
    """
    r = problem.residuals(theta)
    r = r - np.median(r) if problem.goal.shape == "quantile" else r  # which lies off the middle by design
    far = np.abs(r) > OUTLIER_SDS * 1.4826 * np.median(np.abs(r)) + 1e-8
    if not far.any() or len(r) - far.sum() <= problem.n_free or far.mean() > MOST_OUTLIERS:
        return None
    shift = float(_refit(problem, theta, (problem.data.weights * ~far)[None])[0])
    ids = tuple(problem.table.run_ids[i] for i in np.flatnonzero(far))
    return Influence(problem.law.leading(theta)[0], shift, ids)


def _refit(problem: Problem, theta: Array, weights: Array) -> Array:
    """Return the leading number's shift (B,) under other weights (B, n), started at theta."""
    d = problem.data
    start = np.repeat(theta[None], len(weights), axis=0)
    data = Data(d.law, d.features, d.log_loss, weights)
    done = begin_step(f"{len(weights)} refits of {d.law.key} without some runs", len(weights))
    answer = solve(data, problem.goal.rougher(), start, problem.bounds, done=done)
    return problem.law.leading(answer.theta)[1] - problem.law.leading(theta)[1]
