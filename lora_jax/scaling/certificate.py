"""Certificate: whether an answer is a minimum, and whether the runs could tell it from others.

Published fits went wrong by stopping early, by a design that cannot separate exponents, and by a few rows
that carry the result; each has a check here that needs nothing but the problem and the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lora_jax.scaling.laws import Array
from lora_jax.scaling.newton import GRADIENT_TOLERANCE, Data, projected_gradient, solve
from lora_jax.scaling.problem import Problem

L1_GRADIENT_TOLERANCE = 1e-7  # residuals known to 1e-16, over the smoothing width of 1e-7, summed over runs
POLISH_TOLERANCE = 1e-9
LARGEST_CONDITION = 1e4
COLLINEAR = 0.995  # correlation of ln N and ln D from which their exponents are one number
MOVED = 0.10  # share of the leading exponent by which one run may move it
OUTLIER_SDS = 6.0
MOST_REFITS = 40


@dataclass(frozen=True)
class Influence:
    """How far the leading exponent moves when `run_ids` are dropped."""

    exponent: str
    shift: float
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Certificate:
    """grad_norm: largest entry of the projected gradient. polish_gain: share of the objective that a Newton
    polish from the answer still takes off. condition_number: of the Jacobian with columns of unit length.
    warnings: what else a reader must know; verdict: "believe it", or the reasons not to.
    """

    converged: bool
    grad_norm: float
    polish_gain: float
    n_minima: int
    condition_number: float
    at_bound: tuple[str, ...]
    weakly_identified: tuple[str, ...]
    start_equals_answer: bool
    influence: Influence | None
    outliers: Influence | None
    warnings: tuple[str, ...]
    verdict: str


def certify(
    problem: Problem, theta: Array, *, start: Array | None = None, minima: tuple[Array, Array] | None = None
) -> Certificate:
    """Judge theta (P,), wherever it came from.

    start: where the optimisation began. minima: thetas (S, P) and objectives (S,) that other starts reached.
    """
    low, high = problem.bounds
    grad_norm = float(projected_gradient(problem.data, problem.goal, theta[None], problem.bounds)[0])
    polish_gain, polished = _polish(problem, theta)
    tolerance = L1_GRADIENT_TOLERANCE if problem.goal.name == "l1" else GRADIENT_TOLERANCE
    converged = grad_norm < tolerance and polish_gain < POLISH_TOLERANCE
    same_as_start = start is not None and not converged and _stayed(problem, start, theta, polished)
    names = np.array(problem.law.names)
    at_bound = tuple(str(n) for n in names[(theta <= low + 1e-9) | (theta >= high - 1e-9)])
    condition = _condition(problem, theta)
    weak = _weakly_identified(problem, theta)
    n_minima = _distinct(*minima) if minima is not None else 1
    influence, outliers = _influence(problem, polished), _outliers(problem, polished)
    warnings: list[str] = []
    if not converged:
        warnings.append(
            f"not converged: gradient {grad_norm:.1e}, polishing lowers the objective by {polish_gain:.2%}"
        )
    if same_as_start:
        warnings.append("the answer is where the optimisation started")
    if n_minima > 1:
        warnings.append(f"{n_minima} different minima lie within 1% of the best objective")
    if at_bound:
        warnings.append(f"at a bound: {', '.join(at_bound)}")
    if weak:
        warnings.append(f"weakly identified: {', '.join(weak)}")
    if condition > LARGEST_CONDITION:
        warnings.append(f"condition number {condition:.1e}: the runs hardly separate the parameters")
    warnings += _design(problem)
    warnings += _moved(problem, polished, influence, outliers)
    return Certificate(
        converged, grad_norm, polish_gain, n_minima, condition, at_bound, weak, same_as_start, influence,
        outliers, tuple(warnings), verdict_of(warnings),
    )  # fmt: skip


def verdict_of(warnings: Sequence[str]) -> str:
    return "believe it" if not warnings else "be careful: " + "; ".join(warnings)


def _polish(problem: Problem, theta: Array) -> tuple[float, Array]:
    answer = solve(problem.data, problem.goal, theta[None], problem.bounds)
    before, after = problem.value(theta), float(answer.value[0])
    if after >= before:
        return 0.0, theta
    # residuals of 1e-8 are an exact fit: what a polish does to them is rounding
    rounding = float(problem.goal.value(np.full_like(problem.data.log_loss, 1e-8), problem.data.weights))
    return (before - after) / (after + rounding), answer.theta[0]


def _stayed(problem: Problem, start: Array, theta: Array, polished: Array) -> bool:
    """Whether the parameters, in ln as they are published, went less than a tenth of the way to the minimum.

    theta itself would not show it: an optimiser soon corrects the level, and the exponents stay.
    """
    path = problem.law.to_params(np.stack([start, theta, polished]), problem.centre)
    begun, stopped, end = np.log(np.stack(list(path.values()), axis=1))
    return bool(np.linalg.norm(stopped - begun) < 0.1 * np.linalg.norm(end - begun))


def _jacobian(problem: Problem, theta: Array) -> Array:
    jacobian = problem.law.jacobian(theta, problem.data.features)
    return np.sqrt(problem.data.weights)[:, None] * jacobian


def _condition(problem: Problem, theta: Array) -> float:
    jacobian = _jacobian(problem, theta)
    length = np.linalg.norm(jacobian, axis=0)
    if not length.all():
        return 1e300
    return float(min(np.linalg.cond(jacobian / length), 1e300))


def _linear_covariance(problem: Problem, theta: Array) -> Array | None:
    """Return the covariance (P, P) of theta to first order; None where no degree of freedom is left."""
    dof = problem.degrees_of_freedom
    if dof < 1:
        return None
    r = problem.residuals(theta)
    if problem.goal.name == "squared":
        variance = float((problem.data.weights * r * r).sum() / dof)
    else:  # outliers that the objective forgives must not make everything look unidentified
        variance = float((1.4826 * np.median(np.abs(r))) ** 2 * len(r) / dof)
    jacobian = _jacobian(problem, theta)
    return np.asarray(
        variance * np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-14, hermitian=True), np.float64
    )


def _weakly_identified(problem: Problem, theta: Array) -> tuple[str, ...]:
    """An exponent within two standard errors of zero, or a term known to no better than a factor e."""
    covariance = _linear_covariance(problem, theta)
    if covariance is None:
        return ()
    se = np.sqrt(np.maximum(np.diag(covariance), 0))
    weak = np.where(problem.law.is_exponent, np.abs(theta) < 2 * se, se > 0.5)
    return tuple(n for n, w in zip(problem.law.names, weak, strict=True) if w)


def _distinct(thetas: Array, values: Array) -> int:
    best = values.min()
    close = thetas[values <= best + 0.01 * abs(best)]
    found: list[Array] = []
    for theta in close:
        if all(np.abs(theta - other).max() > 1e-2 for other in found):
            found.append(theta)
    return len(found)


def _influence(problem: Problem, theta: Array) -> Influence | None:
    """Refit without each run that matters to first order; return the one that moves the exponent most."""
    if problem.degrees_of_freedom < 1:
        return None
    slope = problem.data.weights * problem.goal.terms(problem.residuals(theta))[1]
    pull = slope[:, None] * problem.law.jacobian(theta, problem.data.features)
    hessian = problem.data.derivatives(theta[None], problem.goal).hessian[0]
    first_order = pull @ np.linalg.pinv(hessian, rcond=1e-12, hermitian=True)
    exponents = np.abs(first_order[:, problem.law.is_exponent]).sum(-1)
    rows = np.argsort(-exponents, kind="stable")[:MOST_REFITS]
    keep = 1.0 - np.eye(len(slope))[rows]
    shifts = _refit(problem, theta, keep * problem.data.weights)
    worst = int(np.abs(shifts).argmax())
    name = problem.law.leading(theta)[0]
    return Influence(name, float(shifts[worst]), (problem.table.run_ids[rows[worst]],))


def _outliers(problem: Problem, theta: Array) -> Influence | None:
    r = problem.residuals(theta)
    far = np.abs(r) > OUTLIER_SDS * 1.4826 * np.median(np.abs(r)) + 1e-8
    if not far.any() or len(r) - far.sum() <= len(theta) or far.mean() > 0.2:
        return None
    shift = float(_refit(problem, theta, (problem.data.weights * ~far)[None])[0])
    ids = tuple(problem.table.run_ids[i] for i in np.flatnonzero(far))
    return Influence(problem.law.leading(theta)[0], shift, ids)


def _refit(problem: Problem, theta: Array, weights: Array) -> Array:
    """Return the leading exponent's shift (B,) under other weights (B, n), started at theta."""
    d = problem.data
    start = np.repeat(theta[None], len(weights), axis=0)
    answer = solve(Data(d.law, d.features, d.log_loss, weights), problem.goal, start, problem.bounds)
    return problem.law.leading(answer.theta)[1] - problem.law.leading(theta)[1]


def _design(problem: Problem) -> list[str]:
    """What the choice of runs rules out, whatever their losses."""
    warnings = []
    logs = {v: np.log(problem.table.variable(v)) for v in problem.law.variables}
    for v, x in logs.items():
        if np.ptp(x) < 1e-9:
            warnings.append(f"all runs have the same {v}: its exponent cannot be known")
    for (v, x), (w, y) in combinations([pair for pair in logs.items() if np.ptp(pair[1]) >= 1e-9], 2):
        if np.ptp(x - y) < 0.01:
            warnings.append(f"{w} = k {v} in every run: their exponents cannot be separated")
        elif abs(np.corrcoef(x, y)[0, 1]) > COLLINEAR:
            warnings.append(f"{v} and {w} move together over the runs: their exponents are hardly separated")
    if problem.degrees_of_freedom < 1:
        n, p = len(problem.table), len(problem.law.names)
        warnings.append(f"{n} points for {p} parameters: nothing is left to judge the fit by")
    cooled = problem.table.columns.get("cooled")
    if cooled is not None and 0 < cooled.sum() < len(cooled):
        hot = len(cooled) - int(cooled.sum())
        warnings.append(f"{hot} of {len(cooled)} runs were not cooled down: the two kinds do not mix")
    return warnings


def _moved(
    problem: Problem, theta: Array, influence: Influence | None, outliers: Influence | None
) -> list[str]:
    name, value = problem.law.leading(theta)
    moves = f"{name} = {value:.3f} moves by"
    warnings = []
    if influence is not None and abs(influence.shift) > MOVED * abs(value):
        warnings.append(f"without run {influence.run_ids[0]} {moves} {influence.shift:+.3f}")
    if outliers is not None and abs(outliers.shift) > 0.5 * MOVED * abs(value):
        warnings.append(f"without {len(outliers.run_ids)} outlying runs {moves} {outliers.shift:+.3f}")
    return warnings
