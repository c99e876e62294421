"""How the best learning rate moves along an axis: the slope of ln rate* on ln width, depth, batch or tokens.

We use weighted least squares, with an intercept for each combination of the other axes. If the best rates
scatter around the line no more than their errors explain, the interval follows from the errors. We test this
with an F test at the 25 % level, because a slope that looks surer than it is does more harm than one that
looks less sure. If they scatter more, each gets an additional variance, as large as the scatter asks for
(Paule and Mandel 1982). The interval is then that of Knapp and Hartung (2003), with the few degrees of
freedom of the scatter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import f as fisher
from scipy.stats import t as student

from lora_jax.estimate import Estimate
from lora_jax.scaling.rates.results import Bowl, Drift, Movement

Array = NDArray[np.float64]
LEAST_SIZES = 2  # which give a ratio; only more of them show a power law (`rules.LEAST_SIZES`)
NORMAL = 1.959964  # half a 95 % interval of a normal number over its standard error
LEAST_ERROR = 1e-9  # of ln rate: losses that are a parabola to the last digit have none
SIGNIFICANT = 0.25  # of the test whether the best rates scatter more than their errors explain


@dataclass(frozen=True)
class Line:
    """Coefficients by weighted least squares, with what their intervals need.

    Attributes:
        coefficients: The coefficients, (k,).
        covariance: Their covariance from the errors of the points, (k, k).
        scatter: chi^2 over its degrees of freedom. None without any.
        widened: Whether the points scatter more than their errors explain.
        widening: Half a 95 % interval over the standard error that follows from the errors.
        extra: Standard deviation of the additional scatter of the points. Every error includes it. 0 if not
            widened.
    """

    coefficients: Array
    covariance: Array
    scatter: float | None
    widened: bool
    widening: float
    extra: float = 0.0

    def estimate(self, weights: Array) -> Estimate:
        """Return a weighted sum of the coefficients with its 95 % interval."""
        value = float(weights @ self.coefficients)
        se = math.sqrt(float(weights @ self.covariance @ weights))
        half = self.widening * se
        return Estimate(value, half / NORMAL, (value - half, value + half))


def fit_line(design: Array, y: Array, errors: Array, freedom: int) -> Line:
    """Fit y (n,) = design (n, k) times coefficients.

    Args:
        design: One row for each point.
        y: The points.
        errors: Their standard errors, (n,).
        freedom: Degrees of freedom of the noise from which the errors come.
    """
    left = len(y) - design.shape[1]
    coefficients, covariance, squares = _solve(design, y, errors)
    if left == 0:
        return Line(coefficients, covariance, None, False, float(student.ppf(0.975, freedom)))
    scatter = squares / left
    if scatter <= 1 or fisher.sf(scatter, left, freedom) >= SIGNIFICANT:
        return Line(coefficients, covariance, scatter, False, float(student.ppf(0.975, freedom)))
    most = float(np.ptp(y)) + float(errors.max())
    more: Any = brentq(lambda e: _solve(design, y, np.hypot(errors, e))[2] - left, 0, 10 * most)
    coefficients, covariance, _ = _solve(design, y, np.hypot(errors, more))
    return Line(coefficients, covariance, scatter, True, float(student.ppf(0.975, left)), float(more))


def _solve(design: Array, y: Array, errors: Array) -> tuple[Array, Array, float]:
    """Return the coefficients, their covariance, and chi^2."""
    scaled = design / errors[:, None]
    covariance: Array = np.asarray(np.linalg.inv(scaled.T @ scaled), dtype=np.float64)
    coefficients = covariance @ scaled.T @ (y / errors)
    residuals = (y - design @ coefficients) / errors
    return coefficients, covariance, float(residuals @ residuals)


def judge(slope: Estimate, tolerance: float) -> Movement:
    """Return whether a slope is none, is one, or cannot be told.

    It is none if its interval lies within the tolerance.
    """
    if max(abs(slope.low), abs(slope.high)) <= tolerance:
        return "does not move"
    return "moves" if slope.low > 0 or slope.high < 0 else "not told apart"


def find_drifts(bowls: Sequence[Bowl], freedom: int, tolerance: float) -> tuple[Drift, ...]:
    """Return how the best rate moves along each axis on which the sizes differ.

    Axes that always change together give one drift, named after the first of them.

    Args:
        bowls: The grids of a series.
        freedom: Degrees of freedom of the noise.
        tolerance: A slope within plus and minus this counts as none.
    """
    axes = [axis for axis in bowls[0].sizes if len({bowl.sizes[axis] for bowl in bowls}) > 1]
    found: list[Drift] = []
    for axis in axes:
        if any(axis in drift.along for drift in found):
            continue
        along = tuple(other for other in axes if other != axis and follows(bowls, other, axis))
        others = [other for other in axes if other != axis and other not in along]
        found.append(find_drift(bowls, axis, along, others, (freedom, tolerance)))
    return tuple(found)


def follows(bowls: Sequence[Bowl], other: str, axis: str) -> bool:
    """Return whether one axis has one value for each value of another, so that nothing tells them apart."""
    pairs = {(bowl.sizes[axis], bowl.sizes[other]) for bowl in bowls}
    return len(pairs) == len({bowl.sizes[axis] for bowl in bowls})


def find_drift(
    bowls: Sequence[Bowl],
    axis: str,
    along: tuple[str, ...],
    others: Sequence[str],
    settings: tuple[int, float],
) -> Drift:
    """Return the drift along one axis, with the other axes held.

    Args:
        bowls: The grids of a series.
        axis: The axis.
        along: Axes that change together with it.
        others: Axes that are held.
        settings: The degrees of freedom of the noise, and the tolerance.
    """
    freedom, tolerance = settings
    groups: dict[tuple[float, ...], list[Bowl]] = {}
    for bowl in bowls:
        if bowl.best is not None:
            groups.setdefault(tuple(bowl.sizes[other] for other in others), []).append(bowl)
    used = {k: g for k, g in groups.items() if len({bowl.sizes[axis] for bowl in g}) > 1}
    points = [bowl for group in used.values() for bowl in group]
    sizes = sorted({bowl.sizes[axis] for bowl in points})
    everything = [bowl.sizes[axis] for bowl in bowls]
    if len(sizes) < LEAST_SIZES:
        there = "one size" if sizes else "no two sizes"
        missing = f"{there} with a best rate, the rest being equal; a drift needs at least 2."
        return Drift(
            axis,
            along,
            None,
            len(sizes),
            len(points),
            min(everything),
            max(everything),
            None,
            False,
            None,
            missing,
        )
    x = np.log([bowl.sizes[axis] for bowl in points])
    y, errors = (np.array(v) for v in zip(*map(point_of, points), strict=True))
    groups_of = [[bowl in group for group in used.values()] for bowl in points]
    line = fit_line(np.column_stack([x - x.mean(), np.array(groups_of, float)]), y, errors, freedom)
    slope = line.estimate(np.array([1.0] + [0.0] * len(used)))
    return Drift(
        axis,
        along,
        slope,
        len(sizes),
        len(points),
        sizes[0],
        sizes[-1],
        line.scatter,
        line.widened,
        judge(slope, tolerance),
        None,
    )


def point_of(bowl: Bowl) -> tuple[float, float]:
    """Return ln rate* and its standard error. The bowl must have a best rate."""
    assert bowl.best is not None
    assert bowl.best.rate.se is not None
    return math.log(bowl.best.rate.value), max(bowl.best.rate.se, LEAST_ERROR)
