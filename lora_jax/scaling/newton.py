"""Minimise an objective of log residuals for many data sets or starts at once, by Newton's method.

Every member of the batch has its own theta, and may have its own ln L and weights; a bootstrap, the rows left
out one by one and the starts of a fit are each one call. The Hessian is exact: with shares s and features F
of a log-sum-exp law, d2 ln L = sum_k s_k f_k f_k' - J J'. Steps are damped not by a multiple of the identity
but by the Hessian of the quadratic that lies above the objective and touches it (what iteratively reweighted
least squares minimises): where the robust objectives have no curvature of their own, it still has.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.laws import Array, Law, log_sum_exp

ObjectiveName = Literal["huber", "l1", "squared"]
HUBER_DELTA = 1e-3  # Hoffmann et al. 2203.15556, section 3.3
L1_DELTA = 1e-7  # |r| is smoothed over this width; r itself is known to 1e-16
GRADIENT_TOLERANCE = 1e-9
CHUNK = 256  # batch members solved together, so that the working arrays stay in the cache


@dataclass(frozen=True)
class Objective:
    """A sum over runs of w rho(r), r = fitted - measured ln L.

    huber: r^2/2 up to |r| = delta, then delta (|r| - delta/2). l1: |r|, smoothed within `delta` as Huber over
    delta. squared: r^2.
    """

    name: ObjectiveName
    delta: float

    def widened(self, factor: float) -> "Objective":
        return Objective(self.name, self.delta * factor)

    def terms(self, r: Array) -> tuple[Array, Array, Array]:
        """Return rho, its slope and its curvature at r, each of r's shape."""
        if self.name == "squared":
            return r * r, 2 * r, np.full_like(r, 2.0)
        size = np.abs(r)
        inside = size <= self.delta
        rho = np.where(inside, 0.5 * r * r, self.delta * (size - 0.5 * self.delta))
        slope = np.clip(r, -self.delta, self.delta)
        curve = inside.astype(float)
        if self.name == "l1":
            return rho / self.delta, slope / self.delta, curve / self.delta
        return rho, slope, curve

    def touching(self, r: Array) -> Array:
        """Return the curvature at r of the parabola around 0 that lies above rho and touches it at r."""
        if self.name == "squared":
            return np.full_like(r, 2.0)
        scale = 1.0 if self.name == "huber" else 1 / self.delta
        return scale * self.delta / np.maximum(np.abs(r), self.delta)

    def value(self, r: Array, weights: Array) -> Array:
        """Return the objective as it is quoted, summed over the last axis; for l1 without the smoothing."""
        rho = np.abs(r) if self.name == "l1" else self.terms(r)[0]
        return (weights * rho).sum(-1)


def objective(name: str) -> Objective:
    """Return the objective of that name: "huber" (delta 1e-3), "l1" or "squared"."""
    widths: dict[str, float] = {"huber": HUBER_DELTA, "l1": L1_DELTA, "squared": 1.0}
    if name not in widths:
        raise LoraJaxError(f"Objective {name!r} is not known{nearest(name, widths)}: choose one of these.")
    return Objective(name, widths[name])  # pyright: ignore[reportArgumentType] -- the keys are the literals


@dataclass(frozen=True)
class Data:
    """What is fitted: features (n, P), ln L (n,) or (B, n), weights (n,) or (B, n)."""

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
        """Return fitted - measured ln L (B, n)."""
        return self.law.log_loss(theta, self.features) - self.log_loss

    def value(self, theta: Array, goal: Objective) -> Array:
        return goal.value(self.residuals(theta), self.weights)

    def derivatives(self, theta: Array, goal: Objective) -> "Local":
        """Return the (smoothed) objective and its derivatives at theta (B, P)."""
        member = self.law.member
        ln_loss, shares = log_sum_exp(theta, self.features, member)
        jacobian = shares[..., member] * self.features
        r = ln_loss - self.log_loss
        rho, slope, curve = goal.terms(r)
        slope, curve = self.weights * slope, self.weights * curve
        gradient = np.einsum("bn,bnp->bp", slope, jacobian)
        hessian = np.swapaxes(jacobian, 1, 2) @ ((curve - slope)[..., None] * jacobian)
        within = np.swapaxes(slope[..., None] * jacobian, 1, 2) @ self.features
        hessian = hessian + within * (member[:, None] == member)
        touching = (self.weights * goal.touching(r))[..., None]
        metric = np.swapaxes(jacobian, 1, 2) @ (touching * jacobian)
        return Local((self.weights * rho).sum(-1), gradient, hessian, metric)


class Local(NamedTuple):
    """The objective (B,), its gradient (B, P) and Hessian (B, P, P); the touching parabola's (B, P, P)."""

    value: Array
    gradient: Array
    hessian: Array
    metric: Array

    def at(self, index: np.ndarray) -> "Local":
        return Local(*(part[index] for part in self))


@dataclass(frozen=True)
class Solution:
    """theta (B, P), the quoted objective (B,) and the largest entry of the projected gradient (B,)."""

    theta: Array
    value: Array
    grad_norm: Array


def solve(
    data: Data, goal: Objective, theta: Array, bounds: tuple[Array, Array], max_iterations: int = 2000
) -> Solution:
    """Minimise `goal` from every row of theta (B, P) inside the bounds (P,), (P,).

    Huber and l1 are first solved with a wider delta: their curvature lives in the few runs whose residual is
    within delta, and from afar there may be none.
    """
    parts = []
    for begin in range(0, len(theta), CHUNK):
        index = np.arange(begin, min(begin + CHUNK, len(theta)), dtype=np.int64)
        part, current = data.rows(index), theta[index]
        for stage in _stages(goal):
            current = _descend(part, stage, current, bounds, 40)
        current = _descend(part, goal, current, bounds, max_iterations)
        parts.append((current, part.value(current, goal), projected_gradient(part, goal, current, bounds)))
    return Solution(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def projected_gradient(data: Data, goal: Objective, theta: Array, bounds: tuple[Array, Array]) -> Array:
    """Return the largest gradient entry (B,), leaving out those that push a parameter beyond its bound."""
    gradient = data.derivatives(theta, goal).gradient
    return np.abs(np.where(_held(theta, gradient, bounds), 0, gradient)).max(-1)


def _stages(goal: Objective) -> list[Objective]:
    if goal.name == "squared":
        return []
    if goal.name == "huber":
        return [goal.widened(100), goal.widened(10)]
    return [goal.widened(factor) for factor in np.geomspace(1e5, 4, 9)]


def _held(theta: Array, gradient: Array, bounds: tuple[Array, Array]) -> np.ndarray:
    low, high = bounds
    return ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))


def _descend(
    data: Data, goal: Objective, theta: Array, bounds: tuple[Array, Array], max_iterations: int
) -> Array:
    """Damped, projected Newton: a step is taken where it lowers the objective, else the damping grows."""
    theta = np.clip(theta, *bounds)
    here = data.derivatives(theta, goal)
    damping = np.full(len(theta), 1e-3)
    going = np.arange(len(theta), dtype=np.int64)
    for _ in range(max_iterations):
        held = _held(theta[going], here.gradient[going], bounds)
        size = np.abs(np.where(held, 0, here.gradient[going])).max(-1)
        live = (size > 1e-3 * GRADIENT_TOLERANCE) & (damping[going] < 1e12)
        going, held, size = going[live], held[live], size[live]
        if not len(going):
            break
        step = _inside(theta[going], here.at(going), held, damping[going], bounds)
        trial = np.clip(theta[going] + step, *bounds)
        there = data.rows(going).derivatives(trial, goal)
        there_size = np.abs(np.where(_held(trial, there.gradient, bounds), 0, there.gradient)).max(-1)
        # next to the minimum the objective no longer resolves a step; the gradient does
        value = here.value[going]
        level = there.value <= value + 1e-12 * np.abs(value)
        better = (there.value < value) | (level & (there_size < size))
        yes, no = going[better], going[~better]
        theta[yes] = trial[better]
        for old, new in zip(here, there, strict=True):
            old[yes] = new[better]
        damping[yes] = np.maximum(damping[yes] * 0.1, 1e-15)
        damping[no] = np.maximum(damping[no] * 10, 1e-8)
    return theta


def _inside(
    theta: Array, local: Local, held: np.ndarray, damping: Array, bounds: tuple[Array, Array]
) -> Array:
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
