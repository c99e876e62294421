"""Minimise an objective of residuals for many data sets or starts at once, by Newton's method.

Every member of the batch has its own theta, and may have its own ln y, weights and bounds; a bootstrap, the
rows left out one by one, a profile and the starts of a fit are each one call. The Hessian is exact: it needs
of a law its slopes and the contraction of its second derivatives. Steps are damped not by a multiple of
the identity but by the Hessian of the quadratic that lies above the objective and touches it (what
iteratively reweighted least squares minimises): where the robust objectives have no curvature of their own,
it still has.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lora_jax.scaling.fitting.objectives import Objective
from lora_jax.scaling.laws.law import Array, Law

STAGE_STOP = 0.03  # of delta: what the gradient of a wider stage comes down to
CHUNK = 128  # batch members solved together, so that the working arrays stay in the cache
Bounds = tuple[Array, Array]  # of theta, each (P,) or (B, P)


@dataclass(frozen=True)
class Data:
    """What is fitted: features (n, V), ln of the response (n,) or (B, n), weights (n,) or (B, n)."""

    law: Law
    features: Array
    log_loss: Array
    weights: Array

    def rows(self, index: NDArray[np.int64]) -> "Data":
        """Return the same with the batch members `index` only."""

        def pick(a: Array) -> Array:
            return a[index] if a.ndim == 2 else a

        return Data(self.law, self.features, pick(self.log_loss), pick(self.weights))

    def residuals(self, theta: Array) -> Array:
        """Return fitted - measured ln y (B, n)."""
        return self.law.log_response(theta, self.features) - self.log_loss

    def errors(self, theta: Array, goal: Objective) -> Array:
        """Return the residuals that the objective sees (B, n): those of ln y, or of y itself."""
        r = self.residuals(theta)
        return np.exp(self.log_loss) / goal.unit * np.expm1(r) if goal.is_linear else r

    def value(self, theta: Array, goal: Objective) -> Array:
        return goal.value(self.errors(theta, goal), self.weights)

    def derivatives(self, theta: Array, goal: Objective) -> "Local":
        """Return the (smoothed) objective and its derivatives at theta (B, P)."""
        log_response, across, bend = self.law.slopes(theta, self.features)
        r = log_response - self.log_loss
        fitted = np.exp(log_response) / goal.unit if goal.is_linear else None
        if fitted is not None:
            r = fitted - np.exp(self.log_loss) / goal.unit
        rho, slope, curve = goal.terms(r)
        slope, curve, touching = (self.weights * part for part in (slope, curve, goal.touching(r)))
        if fitted is not None:  # r = y - measured: dr = y d ln y, d2r = d2y
            slope, curve, touching = slope * fitted, curve * fitted**2, touching * fitted**2
        else:  # d2r = d2 ln y = d2y / y - d ln y d ln y'
            curve = curve - slope
        n_params = theta.shape[1]
        sided = np.concatenate([across * curve[:, None], across * touching[:, None]], axis=1)
        products = sided @ np.swapaxes(across, 1, 2)
        gradient = (across @ slope[..., None])[..., 0]
        hessian = products[:, :n_params] + bend(slope)
        return Local((self.weights * rho).sum(-1), gradient, hessian, products[:, n_params:])


class Local(NamedTuple):
    """The objective (B,), its gradient (B, P) and Hessian (B, P, P); the touching parabola's (B, P, P)."""

    value: Array
    gradient: Array
    hessian: Array
    metric: Array

    def at(self, index: np.ndarray) -> "Local":
        return Local(*(part[index] for part in self))

    def is_finite(self) -> np.ndarray:
        """Whether everything is a number (B,)."""
        sizes = [np.abs(part).reshape(len(part), -1).sum(-1) for part in self]
        return np.isfinite(np.stack(sizes).sum(0))


@dataclass(frozen=True)
class Solution:
    """theta (B, P), the quoted objective (B,) and the largest entry of the projected gradient (B,)."""

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
    max_iterations: int = 2000,
) -> Solution:
    """Minimise `goal` from every row of theta (B, P) inside the bounds, (P,) or (B, P) each.

    A parameter whose bounds are equal stays there. Huber and l1 are first solved with a wider delta: their
    curvature lives in the few runs whose residual is within delta, and from afar there may be none. The wider
    stages are left out down to from_delta, where theta is the answer at that width already.
    """
    stages = [stage for stage in goal.stages() if stage.delta < from_delta]
    low, high = (np.broadcast_to(b, theta.shape) for b in bounds)
    parts = []
    for begin in range(0, len(theta), CHUNK):
        index = np.arange(begin, min(begin + CHUNK, len(theta)), dtype=np.int64)
        part, current, box = data.rows(index), theta[index], (low[index], high[index])
        for stage in stages:
            current = _descend(part, stage, current, box, STAGE_STOP * stage.delta, 40)
        current = _descend(part, goal, current, box, goal.stop, max_iterations)
        parts.append((current, part.value(current, goal), projected_gradient(part, goal, current, box)))
    return Solution(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def projected_gradient(data: Data, goal: Objective, theta: Array, bounds: Bounds) -> Array:
    """Return the largest gradient entry (B,), leaving out those that push a parameter beyond its bound."""
    return _open_gradient(theta, data.derivatives(theta, goal).gradient, bounds)


def _open_gradient(theta: Array, gradient: Array, bounds: Bounds) -> Array:
    return np.abs(np.where(_held(theta, gradient, bounds), 0, gradient)).max(-1)


def _held(theta: Array, gradient: Array, bounds: Bounds) -> np.ndarray:
    low, high = bounds
    return (low == high) | ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))


def _descend(
    data: Data, goal: Objective, theta: Array, bounds: Bounds, stop: float, max_iterations: int
) -> Array:
    """Damped, projected Newton: a step is taken where it lowers the objective, else the damping grows."""
    theta = np.clip(theta, *bounds)
    here = data.derivatives(theta, goal)
    damping = np.full(len(theta), 1e-3)
    going = np.arange(len(theta), dtype=np.int64)
    for _ in range(max_iterations):
        box = (bounds[0][going], bounds[1][going])
        held = _held(theta[going], here.gradient[going], box)
        size = np.abs(np.where(held, 0, here.gradient[going])).max(-1)
        live = (size > stop) & (damping[going] < 1e12) & here.at(going).is_finite()
        going, held, size, box = going[live], held[live], size[live], (box[0][live], box[1][live])
        if not len(going):
            break
        step = _inside(theta[going], here.at(going), held, damping[going], box)
        trial = np.clip(theta[going] + step, *box)
        there = data.rows(going).derivatives(trial, goal)
        there_size = _open_gradient(trial, there.gradient, box)
        # next to the minimum the objective no longer resolves a step; the gradient does
        value = here.value[going]
        level = there.value <= value + 1e-12 * np.abs(value)
        better = (there.value < value) | (level & (there_size < size))
        better &= there.is_finite()  # a law may not be defined everywhere
        yes, no = going[better], going[~better]
        theta[yes] = trial[better]
        for old, new in zip(here, there, strict=True):
            old[yes] = new[better]
        damping[yes] = np.maximum(damping[yes] * 0.1, 1e-15)
        damping[no] = np.maximum(damping[no] * 10, 1e-8)
    return theta


def _inside(theta: Array, local: Local, held: np.ndarray, damping: Array, bounds: Bounds) -> Array:
    """Return a step that follows the bounds: what would leave is held, what would cross cuts the step there.

    Clipping alone would bend the step out of its descent direction wherever parameters trade off.
    """
    low, high = bounds
    step = _step(local, held, damping)
    for _ in range(theta.shape[-1] - 1):
        out = ((theta <= low) & (step < 0)) | ((theta >= high) & (step > 0))
        if not out.any():
            break
        held = held | out
        step = _step(local, held, damping)
    room = np.where(step < 0, low - theta, high - theta)
    reach = np.where(step == 0, 1.0, room / np.where(step == 0, 1.0, step))
    # a last sliver is not worth a cut: the clip that follows takes it to the bound
    return step * np.clip(reach, 1e-6, 1).min(-1, keepdims=True)


def _step(local: Local, held: np.ndarray, damping: Array) -> Array:
    """Return the damped Newton step (B, P), zero where held and at most 2 long.

    In coordinates where the metric is the identity the Hessian's eigenvalues are at most about 1; their sizes
    are taken, so that a saddle is left downhill, and the damping is added.
    """
    open_ = ~held
    both = open_[:, :, None] & open_[:, None, :]
    gradient = np.where(held, 0, local.gradient)
    scale, axes = np.linalg.eigh(np.where(both, local.metric, 0))
    scale = np.maximum(scale, 1e-12 * scale.max(-1, keepdims=True) + 1e-300)
    white = axes / np.sqrt(scale)[:, None, :]
    values, vectors = np.linalg.eigh(np.swapaxes(white, 1, 2) @ np.where(both, local.hessian, 0) @ white)
    vectors = white @ vectors
    slope = np.einsum("bpq,bp->bq", vectors, gradient)
    step = -np.einsum("bpq,bq->bp", vectors, slope / (np.abs(values) + damping[:, None]))
    step = np.where(held, 0, step)
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    return step * np.minimum(1, 2 / np.maximum(length, 1e-300))
