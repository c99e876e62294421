"""Minimise an objective of residuals for many data sets or starts at once, by Newton's method.

Every member of the batch has its own theta. It may also have its own ln y, weights and bounds. So a
bootstrap, the refits without one row each, a profile and the starts of a fit are each one call. The Hessian
is exact. It needs the law's slopes and the contraction of its second derivatives. We do not damp steps by a
multiple of the identity. We use the Hessian of the quadratic that lies above the objective and touches it,
which iteratively reweighted least squares minimises. It still has curvature where the robust objectives have
none.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lora_jax.scaling.dealing import Done, cores, deal, may_fork
from lora_jax.scaling.fitting.descent import Limits, descend, largest_open
from lora_jax.scaling.fitting.objectives import Objective
from lora_jax.scaling.fitting.steps import Bounds, Local, held_by
from lora_jax.scaling.laws.law import Array, Law

__all__ = ["Bounds", "Data", "Local", "Solution", "projected_gradient", "solve"]

STAGE_STOP = 0.03  # of delta: what the gradient of a wider stage comes down to
WIDER, LIMITS = Limits(steps=40), Limits()  # of a wider stage, and of the objective itself
WINDOW_NUMBERS = 120_000  # of an array (members, parameters, runs); larger ones leave the cache
WIDEST = 1024  # members in the window
MOST_RUNS = 4096  # of which derivatives are summed at a time
LARGE_BLOCK = 4_000_000  # numbers: 32 MB, the most for which glibc adapts
THREADS = 2  # for a large batch, where no process may be forked
LANE_RUNS = 100  # of a problem from which a thread computes for longer than it holds up the others
MOST_LANES, LEAST_MEMBERS = 8, 100  # processes for a batch, members of each: a fork has its price


@dataclass(frozen=True)
class Data:
    """What is fitted.

    Attributes:
        law: The law.
        features: Centred logarithms of the variables, (n, V).
        log_loss: ln of the response, (n,) or (B, n).
        weights: Weights of the runs, (n,) or (B, n).
        shift: Added to the features, (B, V), if members count the variables in units of their own.
    """

    law: Law
    features: Array
    log_loss: Array
    weights: Array
    shift: Array | None = None

    def rows(self, index: NDArray[np.int64]) -> "Data":
        """Return the data of these members of the batch."""

        def pick(a: Array) -> Array:
            return a[index] if a.ndim == 2 else a

        shift = None if self.shift is None else self.shift[index]
        return Data(self.law, self.features, pick(self.log_loss), pick(self.weights), shift)

    @property
    def counted(self) -> Array:
        """The features, (n, V), or (B, n, V) where members have units of their own."""
        return self.features if self.shift is None else self.features + self.shift[:, None, :]

    def residuals(self, theta: Array) -> Array:
        """Return fitted less measured ln y, (B, n)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.law.log_response(theta, self.counted) - self.log_loss

    def errors(self, theta: Array, goal: Objective) -> Array:
        """Return the residuals that the objective sees, (B, n): those of ln y, or those of y itself."""
        r = self.residuals(theta)
        return np.exp(self.log_loss) / goal.unit * np.expm1(r) if goal.is_linear else r

    def value(self, theta: Array, goal: Objective) -> Array:
        """Return the objective, (B,), at theta (B, P)."""
        return goal.value(self.errors(theta, goal), self.weights)

    def derivatives(self, theta: Array, goal: Objective) -> Local:
        """Return the (smoothed) objective and its derivatives at theta (B, P).

        A large table is taken in parts. The numbers need not be finite. The descent takes no step to a place
        where a law is not defined or a float overflows.
        """
        n = len(self.features)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if n <= 2 * MOST_RUNS:
                return self._derivatives(theta, goal)
            total = self._runs(0)._derivatives(theta, goal)
            for begin in range(MOST_RUNS, n, MOST_RUNS):
                for mine, part in zip(total, self._runs(begin)._derivatives(theta, goal), strict=True):
                    mine += part
        return total

    def _runs(self, begin: int) -> "Data":
        some = slice(begin, begin + MOST_RUNS)
        log_loss, weights = self.log_loss[..., some], self.weights[..., some]
        return Data(self.law, self.features[some], log_loss, weights, self.shift)

    def _derivatives(self, theta: Array, goal: Objective) -> Local:
        log_response, across, bend, is_of_log = self.law.slopes(theta, self.counted)
        r = log_response - self.log_loss
        fitted = np.exp(log_response) / goal.unit if goal.is_linear else None
        if fitted is not None:
            r = fitted - np.exp(self.log_loss) / goal.unit
        rho, slope, curve = goal.terms(r)
        slope, curve, touching = (self.weights * part for part in (slope, curve, goal.touching(r)))
        if fitted is not None:  # r = y - measured: dr = y d ln y, d2r = d2y
            slope, curve, touching = slope * fitted, curve * fitted**2, touching * fitted**2
        if is_of_log != (fitted is None):  # d2 ln y = d2y / y - d ln y d ln y'
            curve = curve + slope if is_of_log else curve - slope
        n_params = theta.shape[1]
        sided = np.empty((len(theta), 2 * n_params, across.shape[2]))
        np.multiply(across, curve[:, None], out=sided[:, :n_params])
        np.multiply(across, touching[:, None], out=sided[:, n_params:])
        products = sided @ across.swapaxes(1, 2)
        gradient = (across @ slope[..., None])[..., 0]
        hessian = products[:, :n_params] + bend(slope)
        return Local((self.weights * rho).sum(-1), gradient, hessian, products[:, n_params:])


@dataclass(frozen=True)
class Solution:
    """Where a batch of minimisations ended.

    Attributes:
        theta: The answers, (B, P).
        value: The objective as it is quoted, (B,).
        grad_norm: The largest entry of the projected gradient, (B,).
    """

    theta: Array
    value: Array
    grad_norm: Array


def solve(
    data: Data,
    goal: Objective,
    theta: Array,
    bounds: Bounds,
    *,
    from_delta: float = np.inf,
    limits: Limits = LIMITS,
    done: Callable[[int], None] | None = None,
) -> Solution:
    """Minimise an objective from every row of theta, inside bounds.

    Huber and l1 are first solved with wider deltas. Their curvature comes from the few runs whose residual is
    within delta, and far from the answer there may be none.

    Args:
        data: What is fitted.
        goal: The objective.
        theta: Starting points, (B, P).
        bounds: Lower and upper bounds, (P,) or (B, P) each. A parameter whose bounds are equal stays there.
        from_delta: Stages at least this wide are left out. Use it if theta is already the answer at that
            width.
        limits: When a member ends that does not reach the gradient, in the last stage.
        done: Called with the number of members that have ended since the last call. Any thread may call it.
    """
    _keep_memory()
    stages = [stage for stage in goal.stages() if stage.delta < from_delta]
    low, high = (np.broadcast_to(b, theta.shape) for b in bounds)

    def run(index: NDArray[np.int64], tell: Done) -> tuple[Array, Array, Array]:
        part, current, box = data.rows(index), theta[index], (low[index], high[index])
        width = _width(data, theta)
        for stage in stages:
            current = descend(part, stage, current, box, STAGE_STOP * stage.delta, WIDER, width)
        current = descend(part, goal, current, box, goal.stop, limits, width, tell)
        return current, *_answer(part, goal, current, box)

    lanes, tell = _lanes(data, theta), done or (lambda n: None)
    if len(lanes) == 1:
        parts = [run(lanes[0], tell)]
    elif may_fork():
        parts = deal(run, lanes, tell)
    else:
        with ThreadPoolExecutor(len(lanes)) as threads:
            parts = list(threads.map(run, lanes, [tell] * len(lanes)))
    order = np.argsort(np.concatenate(lanes))
    return Solution(*(np.concatenate(column)[order] for column in zip(*parts, strict=True)))


def _lanes(data: Data, theta: Array) -> list[NDArray[np.int64]]:
    """Return the members of each process, or of each thread where no process may be forked.

    A member's answer is the same to the bit in any company (tests/scaling/fitting/test_newton.py).
    """
    members = np.arange(len(theta), dtype=np.int64)
    if may_fork():
        n = min(cores(), MOST_LANES, len(theta) // LEAST_MEMBERS)
    elif len(data.features) < LANE_RUNS or len(theta) < THREADS * _width(data, theta):
        n = 1
    else:
        n = THREADS
    return [members[lane::n] for lane in range(n)] if n > 1 else [members]


def _keep_memory() -> None:
    """Make glibc keep what is freed: it gives memory back from twice the largest block it has seen freed.

    Else the working arrays of each step are given back, and the next step pays for each of their pages.
    """
    np.empty(LARGE_BLOCK)  # never touched, so that it costs nothing


def projected_gradient(data: Data, goal: Objective, theta: Array, bounds: Bounds) -> Array:
    """Return the size of the largest gradient entry, (B,).

    Entries that push a parameter beyond its bound do not count.
    """
    gradient = data.derivatives(theta, goal).gradient
    return largest_open(gradient, held_by(theta, gradient, bounds))


def _answer(data: Data, goal: Objective, theta: Array, bounds: Bounds) -> tuple[Array, Array]:
    """Return the quoted objective and the projected gradient (B,) each, a window at a time."""
    low, high = bounds
    parts = []
    for index in _windows(data, theta):
        part, here = data.rows(index), theta[index]
        parts.append(
            (part.value(here, goal), projected_gradient(part, goal, here, (low[index], high[index])))
        )
    value, gradient = (np.concatenate(column) for column in zip(*parts, strict=True))
    return value, gradient


def _windows(data: Data, theta: Array) -> list[NDArray[np.int64]]:
    index, width = np.arange(len(theta), dtype=np.int64), _width(data, theta)
    return [index[i : i + width] for i in range(0, len(theta), width)]


def _width(data: Data, theta: Array) -> int:
    """Return how many members fit into the window."""
    at_once = min(len(data.features), MOST_RUNS)
    return max(1, min(WIDEST, WINDOW_NUMBERS // (at_once * theta.shape[1])))
