"""Profile: how far the objective rises when one parameter is held elsewhere and the others are fitted again.

The threshold of a 95 % profile interval is that of a likelihood-ratio test for an M-estimator: with psi the
slope of rho, 2 (S(p) - S) E[psi'] / E[psi^2] is chi-squared with one degree of freedom (Huber and Ronchetti,
Robust Statistics, section 13.4); an F quantile replaces that of chi-squared, because the noise is estimated.
For squared residuals it is the F test of nested models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import f as f_distribution

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array

LEVEL = 0.95
FACTOR = 1.0  # of ln: a parameter that may as well be e times larger or smaller is not known
POINTS = 21  # of a profile, on either side of the answer
FIRST, DOUBLINGS = 0.01, 12  # how far from the answer to look for the end: .01 to 20, of ln or of an exponent
MARGIN = 1.5  # of the allowed rise, to draw a little more than the interval
UNBOUNDED = 1e4  # of ln
EXACT = 1e-8  # residuals of this size are rounding


@dataclass(frozen=True)
class Profile:
    """Values of one published parameter (m,), rising, and the least objective (m,) at each.

    low, high: ends of the 95 % interval; None where it is open. rise: of the objective over its minimum
    `best`, at these ends.
    """

    name: str
    value: Array
    objective: Array
    best: float
    rise: float
    low: float | None
    high: float | None


def allowed_rise(problem: Problem, theta: Array) -> float | None:
    """Return by how much the objective may rise within a 95 % interval; None without degrees of freedom."""
    dof = problem.degrees_of_freedom
    if dof < 1:
        return None
    goal, weights = problem.goal, problem.data.weights
    r = problem.errors(theta)
    if goal.shape == "squared":
        return float(f_distribution.ppf(LEVEL, 1, dof) * (weights * r * r).sum() / dof)
    cap = goal.delta if goal.shape == "huber" else 1.0
    # psi' lives in the few residuals within delta: the share within the median says it with less noise, once
    # the runs are left out that an l1 meets exactly, one for each parameter
    sizes = np.sort(np.abs(r))[problem.n_free :]
    within = max(goal.delta, float(np.median(sizes)), EXACT)
    bend = float(np.mean(sizes <= within)) * cap / within
    square = float((weights * goal.terms(r)[1] ** 2).sum() / dof)
    return float(0.5 * f_distribution.ppf(LEVEL, 1, dof) * square / bend)


def hold(problem: Problem, theta: Array, index: np.ndarray, values: Array) -> tuple[Array, Array]:
    """Refit with parameter index[b] held at theta values[b]; return thetas (B, P) and objectives (B,)."""
    held = np.arange(len(theta)) == index[:, None]
    low, high = (np.where(held, values[:, None], b) for b in problem.bounds)
    start = np.clip(np.tile(theta, (len(values), 1)), low, high)
    answer = solve(problem.data, problem.goal.rougher(), start, (low, high))
    return answer.theta, answer.value


def weakly_identified(problem: Problem, theta: Array, best: float) -> tuple[str, ...]:
    """Return the free parameters that the runs hardly know, by their profile.

    An exponent that may as well be at its lower bound (for most next to zero; for one that may have either
    sign, zero), and any other parameter that may be a factor e larger or smaller.
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
            away = [max(float(low[i]), theta[i] - FACTOR), min(float(high[i]), theta[i] + FACTOR)]
        index += [i] * len(away)
        values += away
    if not index:
        return ()
    _, objective = hold(problem, theta, np.array(index), np.array(values))
    weak = {index[k] for k in np.flatnonzero(objective - best < rise)}
    return tuple(problem.law.names[i] for i in sorted(weak))


def profile(problem: Problem, theta: Array, best: float, name: str) -> Profile:
    """Return the profile of one free published parameter, to a little beyond its interval."""
    law = problem.law
    if name not in law.names or name in problem.fixed:
        free = [n for n in law.names if n not in problem.fixed]
        raise LoraJaxError(f"{law.key} has no free parameter {name!r}: choose of {', '.join(free)}.")
    rise = allowed_rise(problem, theta)
    if rise is None:
        raise LoraJaxError(f"{law.key} has as many parameters as runs, so nothing bounds {name}: add runs.")
    i = law.names.index(name)
    ways = [_reach(problem, theta, best, i, way, rise) for way in (-1, 1)]
    grid: Array = np.unique(np.concatenate([np.linspace(0.0, end, POINTS) for end in ways]))
    objective = _along(problem, theta, i, grid)
    # the answer was started from many places, the points of the grid from the answer
    at_answer = int(np.searchsorted(grid, 0.0))
    objective[at_answer] = min(best, float(objective[at_answer]))
    best = min(best, float(objective.min()))
    low, high = _crossings(grid, objective - best, rise)
    value = float(law.to_params(theta, problem.centre)[name])

    def publish(away: Array) -> Array:
        return value + away if law.is_exponent[i] else value * np.exp(away)

    ends = [None if x is None else float(publish(np.array([x]))[0]) for x in (low, high)]
    return Profile(name, publish(grid), objective, best, rise, ends[0], ends[1])


def _along(problem: Problem, theta: Array, i: int, away: np.ndarray) -> Array:
    """Return the least objective (m,) with one published parameter moved by `away` (m,), ln of it or itself.

    A coefficient is theta itself where its variables are counted from 1. A scale X_c is where they are
    counted from X_c: its theta, alpha ln(X_c / x0), is then 0 whatever alpha is.
    """
    parameter = problem.law.parameters[i]
    if parameter.kind == "coefficient":
        problem, theta = _recentred(problem, theta, {v: 1.0 for v, _ in parameter.over})
    if parameter.kind != "scale":
        low, high = problem.bounds_of(i)
        values = np.clip(theta[i] + away, low, high)
        return hold(problem, theta, np.full(len(away), i), values)[1]
    ((variable, _),) = parameter.over
    scale = float(problem.law.to_params(theta, problem.centre)[parameter.name])
    found = []
    for step in away:
        moved, start = _recentred(problem, theta, {variable: scale * float(np.exp(step))})
        found.append(hold(moved, start, np.array([i]), np.zeros(1))[1][0])
    return np.array(found)


def _recentred(problem: Problem, theta: Array, centre: Mapping[str, float]) -> tuple[Problem, Array]:
    """Return the same problem and theta with some variables counted in other units."""
    law, d = problem.law, problem.data
    new = {**problem.centre, **centre}
    new |= {v: new[other] for v, other in law.same_unit.items() if other != "1"}
    features = d.features + np.log([problem.centre[v] / new[v] for v in law.variables])
    # bounds of shares hold at the middle of the runs only
    shifts = [p.kind in ("coefficient", "scale") for p in law.parameters]
    low = np.where(shifts, -UNBOUNDED, problem.bounds[0])
    high = np.where(shifts, UNBOUNDED, problem.bounds[1])
    params = {k: float(v) for k, v in law.to_params(theta, problem.centre).items()}
    start = law.to_theta(params, new)
    for k in np.flatnonzero([p.name in problem.fixed for p in law.parameters]):
        low[k] = high[k] = start[k]
    data = Data(law, features, d.log_loss, d.weights)
    return replace(problem, centre=new, data=data, bounds=(low, high)), start


def _reach(problem: Problem, theta: Array, best: float, i: int, way: int, rise: float) -> float:
    """Return how far to look on one side: the doubling distance after the last where the profile is low."""
    away = way * FIRST * 2.0 ** np.arange(DOUBLINGS)
    if problem.law.parameters[i].kind not in ("coefficient", "scale"):
        low, high = problem.bounds_of(i)
        away = np.unique(np.clip(theta[i] + away, low, high) - theta[i])[::way]
    above = _along(problem, theta, i, away) - best
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
