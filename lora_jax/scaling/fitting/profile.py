"""Profile: how far the objective rises if one parameter is held elsewhere and the others are fitted again.

The threshold of a 95 % profile interval is that of a likelihood-ratio test for an M-estimator. With psi the
slope of rho, 2 (S(p) - S) E[psi'] / E[psi^2] is chi-squared with one degree of freedom (Huber and Ronchetti,
Robust Statistics, section 13.4). We use an F quantile in place of that of chi-squared, because the noise is
estimated. For squared residuals this is the F test of nested models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.bounds import SHIFTING, recentred_bounds
from lora_jax.scaling.fitting.descent import Limits
from lora_jax.scaling.fitting.newton import Bounds, Data, solve
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import LARGEST_LN, Array
from lora_jax.scaling.progress import begin_step

LEVEL = 0.95
FACTOR = 1.0  # of ln: a parameter that may as well be e times larger or smaller is not known
POINTS = 21  # of a profile, on either side of the answer
FIRST, DOUBLINGS = 0.01, 12  # how far from the answer to look for the end: .01 to 20, of ln or of an exponent
SMALL = 1e-4  # of the allowed rise: a refit that gains less in many steps has its place in the picture
MARGIN = 1.5  # of the allowed rise, to draw a little more than the interval
EXACT = 1e-8  # residuals of this size are rounding


@dataclass(frozen=True)
class Profile:
    """The profile of one parameter: the least objective with it held at each of m values.

    Attributes:
        name: The parameter.
        value: The values (m,), rising.
        objective: The least objective at each value (m,).
        best: The objective at its minimum.
        rise: How far the objective is above `best` at the ends of the interval.
        low: Lower end of the 95 % interval. None if it is open.
        high: Upper end of the 95 % interval. None if it is open.
    """

    name: str
    value: Array
    objective: Array
    best: float
    rise: float
    low: float | None
    high: float | None


def allowed_rise(problem: Problem, theta: Array) -> float | None:
    """Return how far the objective may rise within a 95 % interval. None without a degree of freedom."""
    dof = problem.degrees_of_freedom
    if dof < 1:
        return None
    goal, weights = problem.goal, problem.data.weights
    r = problem.errors(theta)
    if goal.shape == "squared":
        return float(fdtri(1, dof, LEVEL) * (weights * r * r).sum() / dof)
    cap = {"huber": goal.delta, "quantile": 0.5}.get(goal.shape, 1.0)
    # psi' lives in the few residuals within delta: the share within the median says it with less noise, once
    # the runs are left out that an l1 meets exactly, one for each parameter
    sizes = np.sort(np.abs(r))[problem.n_free :]
    share = min(0.5, 2 * min(goal.tau, 1 - goal.tau))  # of a quantile in a tail fewer runs lie near
    within = max(goal.delta, float(np.quantile(sizes, share)), EXACT)
    bend = float(np.mean(sizes <= within)) * cap / within
    square = float((weights * goal.terms(r)[1] ** 2).sum() / dof)
    return float(0.5 * fdtri(1, dof, LEVEL) * square / bend)


def hold(problem: Problem, theta: Array, index: np.ndarray, values: Array) -> tuple[Array, Array]:
    """Refit with one parameter held in each refit.

    Args:
        problem: The problem.
        theta: Where each refit starts, (P,).
        index: Which parameter is held, (B,).
        values: The value of theta at which it is held, (B,).

    Returns:
        The answers (B, P) and their objectives (B,).
    """
    held = np.arange(len(theta)) == index[:, None]
    low, high = (np.where(held, values[:, None], b) for b in problem.bounds)
    start = np.clip(np.tile(theta, (len(values), 1)), low, high)
    answer = solve(problem.data, problem.goal.rougher(), start, (low, high))
    return answer.theta, answer.value


def weakly_identified(problem: Problem, theta: Array, best: float) -> tuple[str, ...]:
    """Return the free parameters that the runs hardly determine.

    By its profile, such a parameter could as well be elsewhere. An exponent could be at its lower bound (for
    most next to zero), or at zero if it may have either sign. Any other parameter could be a factor e larger
    or smaller.

    Args:
        problem: The problem.
        theta: The answer, (P,).
        best: The objective there.
    """
    rise = allowed_rise(problem, theta)
    if rise is None:
        return ()
    low, high = problem.bounds
    index, values = [], []
    for i in np.flatnonzero(problem.is_free):
        if problem.law.is_exponent[i]:
            away = [max(float(low[i]), 0.0)]
        else:
            factor = FACTOR * _unit_of(problem, theta, int(i))
            away = [max(float(low[i]), theta[i] - factor), min(float(high[i]), theta[i] + factor)]
        index += [i] * len(away)
        values += away
    if not index:
        return ()
    _, objective = hold(problem, theta, np.array(index), np.array(values))
    weak = {index[k] for k in np.flatnonzero(objective - best < rise)}
    return tuple(problem.law.names[i] for i in sorted(weak))


def profile(problem: Problem, theta: Array, best: float, name: str) -> Profile:
    """Compute the profile of one parameter: how well the law fits with that parameter held at each value.

    Args:
        problem: The law and the table.
        theta: The fitted parameters, as the fit holds them (P,).
        best: The objective at `theta`.
        name: A parameter by its published name. It must be free.

    Returns:
        The values, their objectives, and the interval. The values reach a little beyond the interval.

    Raises:
        LoraJaxError: The parameter is unknown or fixed, or the law has as many parameters as runs.
    """
    return profiles(problem, theta, best, [name])[0]


def profiles(problem: Problem, theta: Array, best: float, names: Sequence[str]) -> list[Profile]:
    """Compute the profiles of several parameters at once. The arguments are as for `profile`.

    All refits run in two batches. The first sees how far each profile reaches, the second computes its
    points.
    """
    law = problem.law
    rise = allowed_rise(problem, theta)
    for name in names:
        if name not in law.names or name in problem.fixed:
            free = [n for n in law.names if n not in problem.fixed]
            raise LoraJaxError(f"{law.key} has no free parameter {name!r}: choose of {', '.join(free)}.")
        if rise is None:
            raise LoraJaxError(
                f"{law.key} has as many parameters as runs, so nothing bounds {name}: add runs."
            )
    if rise is None or not names:
        return []
    indices = [law.names.index(name) for name in names]
    done = begin_step(f"profiles of {law.key}", 2)
    looks = [(i, _distances(problem, theta, i, way)) for i in indices for way in (-1, 1)]
    limits = Limits(fall=SMALL * rise / problem.goal.unit**2)
    found = _least(problem, [_line(problem, theta, i, away) for i, away in looks], limits)
    ends = [_reach(away, objective - best, rise) for (_, away), objective in zip(looks, found, strict=True)]
    done(1)
    grids: list[Array] = [
        np.unique(np.concatenate([np.linspace(0.0, end, POINTS) for end in ends[2 * k : 2 * k + 2]]))
        for k in range(len(indices))
    ]
    found = _least(
        problem, [_line(problem, theta, i, g) for i, g in zip(indices, grids, strict=True)], limits
    )
    return [
        _publish(problem, theta, i, grid, objective, best, rise)
        for i, grid, objective in zip(indices, grids, found, strict=True)
    ]


def _publish(
    problem: Problem, theta: Array, i: int, grid: Array, objective: Array, best: float, rise: float
) -> Profile:
    """Return the profile of parameter i, published, given the least objective (m,) on a grid (m,)."""
    law, name = problem.law, problem.law.names[i]
    # the answer was started from many places, the points of the grid from the answer
    at_answer = int(np.searchsorted(grid, 0.0))
    objective[at_answer] = min(best, float(objective[at_answer]))
    best = min(best, float(objective.min()))
    low, high = _crossings(grid, objective - best, rise)
    value = float(law.to_params(theta, problem.centre)[name])

    def publish(away: Array) -> Array:
        if law.parameters[i].kind == "signed":
            return value + away * (abs(value) or 1.0)
        return value + away if law.is_exponent[i] else _times(value, away)

    ends = [None if x is None else float(publish(np.array([x]))[0]) for x in (low, high)]
    return Profile(name, publish(grid), objective, best, rise, ends[0], ends[1])


def _unit_of(problem: Problem, theta: Array, i: int) -> float:
    """Return in what theta moves: 1, or its own size for a parameter of either sign."""
    return float(abs(theta[i])) or 1.0 if problem.law.parameters[i].kind == "signed" else 1.0


def _times(value: Array | float, away: Array) -> Array:
    """Return value e^away (m,), of a logarithm cut as those of published parameters are."""
    return np.exp(np.clip(np.log(value) + away, -LARGEST_LN, LARGEST_LN))


class _Line(NamedTuple):
    """Refits along one parameter.

    rows: where each begins, its lower and upper bounds, (m, P) each, and the shift of its features (m, V).
    """

    data: Data
    rows: tuple[Array, Array, Array, Array]


def _least(problem: Problem, lines: Sequence[_Line], limits: Limits) -> list[Array]:
    """Return the least objectives along each line, (m,) each: those in the same coordinates are one batch."""
    found: dict[int, Array] = {}
    for law in {id(line.data.law): line.data.law for line in lines}.values():
        these = [k for k, line in enumerate(lines) if line.data.law is law]
        start, low, high, shift = _joined([lines[k] for k in these])
        data = replace(lines[these[0]].data, shift=shift)
        value = solve(data, problem.goal.rougher(), start, (low, high), limits=limits).value
        ends = np.cumsum([len(lines[k].rows[0]) for k in these])[:-1]
        found |= dict(zip(these, np.split(value, ends), strict=True))
    return [found[k] for k in range(len(lines))]


def _joined(lines: Sequence[_Line]) -> tuple[Array, Array, Array, Array]:
    start, low, high, shift = (np.concatenate(part) for part in zip(*(x.rows for x in lines), strict=True))
    return start, low, high, shift


def _line(problem: Problem, theta: Array, i: int, away: Array) -> _Line:
    """Return the refits with published parameter i moved by `away` (m,), ln of it or itself.

    One of either sign moves in units of its own size.

    A coefficient is theta itself where its variables are counted from 1. A scale X_c is where they are
    counted from X_c: its theta, alpha ln(X_c / x0), is then 0 whatever alpha is.
    """
    parameter = problem.law.parameters[i]
    if parameter.kind == "scale":
        ((variable, _),) = parameter.over
        scale = problem.law.to_params(theta, problem.centre)[parameter.name]
        low, high = problem.bounds_of(i)  # 0 where the scale is bounded, in units of that bound
        least = problem.centre[variable] if low == 0 else 0.0
        most = problem.centre[variable] if high == 0 else np.inf
        units = [{variable: float(unit)} for unit in np.clip(_times(scale, away), least, most)]
        each = [_hold(problem.data, *_recentred(problem, theta, unit), i, np.zeros(1)) for unit in units]
        return _Line(problem.data, _joined(each))
    if parameter.kind == "signed":
        problem, theta = _holding(problem, theta, parameter.name)
    bounds, shift = problem.bounds, np.zeros(len(problem.law.variables))
    if parameter.kind in ("coefficient", "signed"):
        theta, bounds, shift = _recentred(problem, theta, {v: 1.0 for v, _ in parameter.over})
    values = np.clip(theta[i] + away * _unit_of(problem, theta, i), bounds[0][i], bounds[1][i])
    return _hold(problem.data, theta, bounds, shift, i, values)


def _hold(data: Data, theta: Array, bounds: Bounds, shift: Array, i: int, values: Array) -> _Line:
    """Return refits from theta (P,) with parameter i held at the values (m,)."""
    held = np.arange(len(theta)) == i
    low, high = (np.where(held, values[:, None], b) for b in bounds)
    start = np.clip(np.tile(theta, (len(values), 1)), low, high)
    return _Line(data, (start, low, high, np.tile(shift, (len(values), 1))))


def _holding(problem: Problem, theta: Array, name: str) -> tuple[Problem, Array]:
    """Return the same problem and theta in coordinates of which the named parameter is one."""
    law = problem.law.holding([name])
    if law is problem.law:
        return problem, theta
    params = {k: float(v) for k, v in problem.law.to_params(theta, problem.centre).items()}
    d = problem.data
    start, (low, high) = law.to_theta(params, problem.centre), law.bounds(d.log_loss)
    for k in np.flatnonzero([p.name in problem.fixed for p in law.parameters]):
        low[k] = high[k] = start[k]
    data = Data(law, d.features, d.log_loss, d.weights)
    return replace(problem, law=law, data=data, bounds=(low, high)), start


def _recentred(problem: Problem, theta: Array, centre: Mapping[str, float]) -> tuple[Array, Bounds, Array]:
    """Return theta (P,), its bounds and the shift of the features (V,) with some variables in other units."""
    law = problem.law
    new = {**problem.centre, **centre}
    new |= {v: new[other] for v, other in law.same_unit.items() if other != "1"}
    shift = np.array([np.log(problem.centre[v]) - np.log(new[v]) for v in law.variables], np.float64)
    low, high = recentred_bounds(law, problem.bounds, problem.centre, new)
    params = {k: float(v) for k, v in law.to_params(theta, problem.centre).items()}
    start = law.to_theta(params, new)
    for k in np.flatnonzero([p.name in problem.fixed for p in law.parameters]):
        low[k] = high[k] = start[k]
    return start, (low, high), shift


def _distances(problem: Problem, theta: Array, i: int, way: int) -> Array:
    """Return where to look for the end of the interval on one side, ever farther away (m,)."""
    away: Array = way * FIRST * 2.0 ** np.arange(DOUBLINGS, dtype=np.float64)
    if problem.law.parameters[i].kind in SHIFTING:
        return away
    low, high = problem.bounds_of(i)
    inside: Array = np.unique(np.clip(theta[i] + away, low, high) - theta[i])
    return inside[::way]


def _reach(away: Array, above: Array, rise: float) -> float:
    """Return how far to draw on one side: the doubling distance after the last where the profile is low."""
    # beyond a hump the profile may come down again: the last crossing counts, not the first
    inside = np.flatnonzero(above <= MARGIN * rise)
    return float(away[min(inside[-1] + 1, len(away) - 1)] if len(inside) else away[0])


def _crossings(grid: Array, above: Array, rise: float) -> tuple[float | None, float | None]:
    """Return the outermost places where the profile crosses `rise`, None on a side where it does not."""
    inside = np.flatnonzero(above <= rise)
    first, last = int(inside[0]), int(inside[-1])

    def cross(a: int, b: int) -> float:
        return float(np.interp(rise, [above[a], above[b]], [grid[a], grid[b]]))

    low = None if first == 0 else cross(first, first - 1)
    high = None if last == len(grid) - 1 else cross(last, last + 1)
    return low, high
