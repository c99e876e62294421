"""Certificate: whether an answer is a minimum, and whether the runs could tell it from other answers.

Published fits went wrong in three ways: they stopped early, their design could not separate exponents, or a
few rows carried the result. Each has a check here, which needs only the problem and the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lora_jax.percent import percent
from lora_jax.scaling.fitting.digits import explain
from lora_jax.scaling.fitting.direction import direction_warnings
from lora_jax.scaling.fitting.influence import Influence, outlying_runs, worst_run, worst_runs
from lora_jax.scaling.fitting.newton import projected_gradient, solve
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.fitting.profile import allowed_rise, weakly_identified
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.batches import batch_doubt
from lora_jax.scaling.tables.mixtures import repeated_data_doubt
from lora_jax.scaling.verdict import NOT_CONVERGED, UNDETERMINED, Verdict, verdict_of

POLISH_TOLERANCE = 1e-9
LARGEST_CONDITION = 1e4
COLLINEAR = 0.995  # correlation of ln N and ln D from which their exponents are one number
MOVED = 0.10  # share of the leading exponent by which one run may move it


@dataclass(frozen=True)
class Certificate:
    """What was checked of a fit.

    Attributes:
        converged: Whether the fit is a minimum.
        grad_norm: Largest entry of the projected gradient.
        polish_gain: How far the objective lies above the minimum that a Newton polish reaches, as a share of
            that minimum.
        n_minima: Number of different minima that were found.
        condition_number: Condition number of the Jacobian with columns of unit length.
        at_bound: Parameters at a bound.
        weakly_identified: Parameters that the runs hardly determine.
        start_equals_answer: Whether the optimiser did not move from its start.
        influence: The run that moves the leading number most. None if no run matters.
        shifts: How far the leading number moves without a row, for the rows that matter most, by number.
        outliers: What leaving out all outlying runs does. None if there are none.
        warnings: What else a reader must know.
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
    shifts: Mapping[int, float]
    outliers: Influence | None
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.warnings, self.converged)


def certify(
    problem: Problem,
    theta: Array,
    *,
    start: Array | None = None,
    minima: tuple[Array, Array] | None = None,
    halves: Mapping[str, float] | None = None,
) -> Certificate:
    """Judge parameters, wherever they come from.

    Args:
        problem: The law and the table.
        theta: The parameters (P,).
        start: Where the optimisation began.
        minima: Thetas (S, P) and objectives (S,) that other starts reached.
        halves: For printed parameters, half a unit in the last digit. None if theta is exact.
    """
    low, high = problem.bounds
    grad_norm = float(projected_gradient(problem.data, problem.goal, theta[None], problem.bounds)[0])
    polish_gain, polished = _polish(problem, theta)
    tolerance = problem.goal.tolerance(problem.errors(theta), len(theta))
    converged = grad_norm < tolerance and polish_gain < POLISH_TOLERANCE
    rounded_far = False
    if not converged and halves is not None:
        converged, rounded_far = _converged_to_digits(problem, theta, halves)
    same_as_start = start is not None and not converged and _stayed(problem, start, theta, polished)
    names = np.array(problem.law.names)
    touching = ((theta <= low + 1e-9) | (theta >= high - 1e-9)) & problem.is_free
    at_bound = tuple(str(n) for n in names[touching])
    condition = _condition(problem, theta)
    weak = weakly_identified(problem, polished, problem.value(polished))
    n_minima = _distinct(*minima) if minima is not None else 1
    shifts = worst_runs(problem, polished)
    influence, outliers = worst_run(problem, polished, shifts), outlying_runs(problem, polished)
    warnings = [*problem.table.doubts, *direction_warnings(problem)]
    above = f"the objective is {_excess(polish_gain)} above the minimum"
    if not converged:
        warnings.append(f"{NOT_CONVERGED}: gradient {grad_norm:.1e}, {above}")
    elif rounded_far:
        warnings.append(f"rounded too far: {above} that the printed digits round")
    if same_as_start:
        warnings.append("the answer is where the optimisation started")
    if n_minima > 1:
        warnings.append(f"{n_minima} different minima lie within 1 % of the best objective")
    if at_bound:
        warnings.append(f"at a bound: {', '.join(at_bound)}")
    if weak:
        warnings.append(f"weakly identified: {', '.join(weak)}")
    if condition > LARGEST_CONDITION:
        warnings.append(f"condition number {condition:.1e}: the runs hardly separate the parameters")
    repeated = repeated_data_doubt(problem.table, problem.law.variables)
    warnings += [repeated] if repeated is not None and problem.law.response == "loss" else []
    disagreement = batch_doubt(problem.table, problem.law.variables)
    warnings += [] if disagreement is None else [disagreement]
    warnings += _design(problem)
    warnings += _moved(problem, polished, influence, outliers)
    return Certificate(
        converged,
        grad_norm,
        polish_gain,
        n_minima,
        condition,
        at_bound,
        weak,
        same_as_start,
        influence,
        shifts,
        outliers,
        tuple(warnings),
    )


def _converged_to_digits(problem: Problem, theta: Array, halves: Mapping[str, float]) -> tuple[bool, bool]:
    """Return whether theta is a minimum to its digits, and whether these are too few to use it.

    Too few are digits with which the objective leaves the range of a 95 % interval.
    """
    answer = solve(problem.data, problem.goal, theta[None], problem.bounds)
    minimum, least = answer.theta[0], float(answer.value[0])
    excess = problem.value(theta) - least
    tolerance = problem.goal.tolerance(problem.errors(minimum), len(theta))
    if answer.grad_norm[0] >= tolerance or excess < -POLISH_TOLERANCE * least:
        return False, False
    rise = allowed_rise(problem, minimum)
    return explain(problem, theta, minimum, halves), rise is not None and excess > rise


def _excess(share: float) -> str:
    """Return by how much of a minimum an objective lies above it, such as "105 %"."""
    return percent(share) if share >= 1 else percent(share, 2) if share >= 1e-4 else f"{share:.1e} of it"


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
    # of either sign: an exponent, and what has no logarithm, in units of its end
    plain = [
        values / (abs(values[2]) or 1.0) if values.min() <= 0 else np.log(values) for values in path.values()
    ]
    begun, stopped, end = np.stack(plain, axis=1)
    return bool(np.linalg.norm(stopped - begun) < 0.1 * np.linalg.norm(end - begun))


def _condition(problem: Problem, theta: Array) -> float:
    if problem.usual is not None:  # moved bounds may have taken units in which parameters lie closer
        theta, problem = problem.translate(theta, problem.usual), problem.usual
    jacobian = problem.law.jacobian(theta, problem.data.features)[:, problem.is_free]
    jacobian = np.sqrt(problem.data.weights)[:, None] * jacobian
    length = np.linalg.norm(jacobian, axis=0)
    if not length.all():
        return 1e300
    return float(min(np.linalg.cond(jacobian / length), 1e300))


def _distinct(thetas: Array, values: Array) -> int:
    best = values.min()
    close = thetas[values <= best + 0.01 * abs(best)]
    found: list[Array] = []
    for theta in close:
        if all(np.abs(theta - other).max() > 1e-2 for other in found):
            found.append(theta)
    return len(found)


def _design(problem: Problem) -> list[str]:
    """What the choice of runs rules out, whatever their losses."""
    warnings = []
    logs = {v: np.log(problem.table.variable(v)) for v in problem.law.variables}
    for v, x in logs.items():
        if np.ptp(x) < 1e-9:
            warnings.append(f"{UNDETERMINED}: all runs have the same {v}, so its exponent cannot be known")
    varied = [
        (v, x) for v, x in logs.items() if np.ptp(x) >= 1e-9 and problem.law.same_unit.get(v, "1") == "1"
    ]
    for (v, x), (w, y) in combinations(varied, 2):
        if np.ptp(x - y) < 0.01:
            warnings.append(
                f"{UNDETERMINED}: {w} = k {v} in every run, so their exponents cannot be separated, and a"
                " single power law fits as well"
            )
        elif abs(np.corrcoef(x, y)[0, 1]) > COLLINEAR:
            warnings.append(f"{v} and {w} move together over the runs, which hardly separate their exponents")
    if problem.degrees_of_freedom < 1:
        n, p = len(problem.table), problem.n_free
        warnings.append(f"{n} points for {p} parameters leave nothing to judge the fit by")
    cooled = problem.table.columns.get("cooled")
    if cooled is not None and 0 < cooled.sum() < len(cooled):
        hot = len(cooled) - int(cooled.sum())
        warnings.append(
            f"{hot} of {len(cooled)} runs were not cooled down: do not mix cooled and uncooled runs"
        )
    return warnings


def _moved(
    problem: Problem, theta: Array, influence: Influence | None, outliers: Influence | None
) -> list[str]:
    name, value = problem.law.leading(theta)
    moves = f"{name} = {value:.3f} moves by"
    warnings = []
    if influence is not None and abs(influence.shift) > MOVED * abs(value):
        warnings.append(f"without run {influence.run_ids[0]}, {moves} {influence.shift:+.3f}")
    n = 0 if outliers is None else len(outliers.run_ids)
    if outliers is not None and abs(outliers.shift) > 0.5 * MOVED * abs(value):
        warnings.append(f"without {n} outlying run{'s' if n > 1 else ''}, {moves} {outliers.shift:+.3f}")
    return warnings
