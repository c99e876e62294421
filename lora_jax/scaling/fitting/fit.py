"""Fit a law to runs: many starts, Newton's method until the gradient vanishes, and a certificate."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.bounds import Ends
from lora_jax.scaling.fitting.certificate import Certificate, certify
from lora_jax.scaling.fitting.digits import half_units
from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.problem import Answer, Problem, pose
from lora_jax.scaling.fitting.widening import widen
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.laws.power_sum import best_starts
from lora_jax.scaling.progress import begin_step
from lora_jax.scaling.tables.table import RunTable

PLACES = 5  # between moved bounds
MOST_RUNS = 5000  # on which starts are tried
KEPT, MOST = 4, 16  # starts that are tried at every place, and those that are kept
SAME = 1e-11  # of the objective: less apart, two minima are one to rounding


@dataclass(frozen=True)
class Fit(Answer):
    """An answer with the certificate that says whether to believe it."""

    certificate: Certificate


def fit(
    law: Law,
    table: RunTable,
    objective: str = "huber",
    weights: Array | None = None,
    *,
    fixed: Mapping[str, float] | None = None,
    delta: float | None = None,
    moved: Mapping[str, Ends] | None = None,
) -> Fit:
    """Fit a law to the runs of a table, in float64.

    Args:
        law: The law.
        table: The runs.
        objective: What is minimised. "huber" is the sum of Huber_1e-3 of the log residuals (Hoffmann et al.
            2203.15556). "l1" is the sum of their sizes (what Besiroglu et al. 2404.10102 print). "squared" is
            the sum of their squares. "least-squares" is the sum of squared residuals of the response itself.
            "quantile(0.1)" fits the curve with a tenth of the runs below it.
        weights: Importance of each run (n,), scaled to a mean of 1.
        fixed: Published parameters to hold at a value.
        delta: Width of the Huber objective.
        moved: Bounds of published parameters, in place of our usual ones.

    Returns:
        The best of the minima that were found, with its certificate.

    Raises:
        LoraJaxError: The table lacks a variable, has fewer runs than the law has free parameters, or the law
            is not defined for its runs.
    """
    problem = pose(law, table, objective, weights, fixed=fixed, delta=delta, moved=moved)
    if problem.degrees_of_freedom < 0:
        raise LoraJaxError(
            f"{law.key} has {problem.n_free} parameters and {table.source} offers {len(table)} runs: give at"
            " least as many runs as parameters."
        )
    d, goal = problem.data, problem.goal
    starts = starting_points(problem)
    done = begin_step(f"fitting {law.key} from {len(starts)} starts", len(starts))
    answers = solve(d, goal.rougher(), starts, problem.bounds, done=done)
    defined = np.isfinite(answers.value)
    if not defined.any():
        raise LoraJaxError(
            f"{law.key} is not defined for the runs of {table.source} at any start: choose another law."
        )
    best = _first_best(np.where(defined, answers.value, np.inf))
    theta = answers.theta[best]
    if goal.rougher() != goal:
        from_delta = goal.rougher().delta
        theta = solve(d, goal, theta[None], problem.bounds, from_delta=from_delta).theta[0]
    minima = (answers.theta[defined], answers.value[defined])
    certificate = certify(problem, theta, start=starts[best], minima=minima)
    return Fit(problem, theta, problem.value(theta), certificate)


def _first_best(values: Array) -> int:
    """Return the first of the least values (S,): which of equal minima is the lowest, rounding decides."""
    least = values.min()
    return int(np.argmax(values <= least + SAME * abs(least)))


def starting_points(problem: Problem) -> Array:
    """Return the points from which a fit starts, (S, P).

    A law starts where published parameters lie. If bounds were moved away from there, its best starts are
    also tried at places between the moved bounds.
    """
    usual = problem.usual or problem
    held = {n: usual.bounds_of(usual.law.names.index(n))[0] for n in usual.fixed}
    d = _thinned(usual.data)
    starts = usual.law.starts(d.features, d.log_loss, lambda theta: d.value(theta, usual.goal), held)
    if problem.usual is None:
        return starts
    moved = np.clip(usual.translate(starts, problem), *problem.bounds)
    low, high = problem.bounds
    tried = [moved]
    for i in np.flatnonzero((high - low < np.inf) & problem.is_free):
        if _is_moved(problem, usual, int(i)):
            places = np.linspace(low[i], high[i], PLACES + 2)[1:-1]
            for start, place in itertools.product(moved[:KEPT], places):
                other = start.copy()
                other[i] = place
                tried.append(other[None])
    thetas = np.concatenate(tried)
    return best_starts(thetas, lambda theta: problem.data.value(theta, problem.goal), MOST)


def _thinned(data: Data) -> Data:
    """Return every so many runs of a large table: on them hundreds of starts are tried."""
    step = -(-len(data.log_loss) // MOST_RUNS)
    if step == 1:
        return data
    return Data(data.law, data.features[::step], data.log_loss[::step], data.weights[::step])


def _is_moved(problem: Problem, usual: Problem, i: int) -> bool:
    """Return whether an exponent or a plain number has bounds other than our usual ones."""
    p = problem.law.parameters[i]
    return p.kind in ("exponent", "number") and problem.bounds_of(i) != usual.bounds_of(i)


def evaluate_given(
    law: Law,
    table: RunTable,
    params: Mapping[str, float],
    *,
    objective: str = "huber",
    weights: Array | None = None,
    fixed: Mapping[str, float] | None = None,
    delta: float | None = None,
    start: Mapping[str, float] | None = None,
    halves: Mapping[str, float] | None = None,
    moved: Mapping[str, Ends] | None = None,
) -> Fit:
    """Return published parameters as a Fit, with the certificate that says whether to believe them.

    Args:
        law: The law.
        table: The runs.
        params: The parameters. Those in `fixed` may be left out.
        objective: As in `fit`. The parameters are an answer to this problem.
        weights: As in `fit`.
        fixed: As in `fit`.
        delta: As in `fit`.
        start: Where their optimiser began.
        halves: Half a unit in the last digit that each was given with. By default it is that of its shortest
            decimal number.
        moved: As in `fit`. Our other bounds are widened if the parameters lie outside; a note of the
            problem's table says so.

    Raises:
        LoraJaxError: A parameter is missing, or is fixed at another value than the given one.
    """
    fixed = dict(fixed or {})
    law.check_given(params)
    for name, value in fixed.items():
        if params.get(name, value) != value:
            raise LoraJaxError(
                f"{name} is fixed at {value:g} and {params[name]:g} is to be judged: give one of them."
            )
    problem = pose(law, table, objective, weights, fixed=fixed, delta=delta, moved=moved)
    params = {**fixed, **params}
    theta = problem.law.to_theta(params, problem.centre)
    problem = widen(problem, theta, moved or {})
    begun = None if start is None else problem.law.to_theta(start, problem.centre)
    certificate = certify(problem, theta, start=begun, halves=half_units(params) | dict(halves or {}))
    return Fit(problem, theta, problem.value(theta), certificate)
