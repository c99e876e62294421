"""Newton steps for a batch of problems. They are damped, stay inside bounds, and lead downhill from anywhere.

With H the Hessian, M the metric (of the parabola that lies above the objective and touches it) and d the
damping, a step is -(|H| + d M)^-1 g. |H| has the sizes of H's eigenvalues, in coordinates in which M is the
identity. If H is positive definite, |H| is H itself, and the step comes from one elimination.
"""

from typing import NamedTuple

import numpy as np

from lora_jax.scaling.laws.law import Array

LONGEST = 2.0  # of a step
SMALLEST_PIVOT = 1e-11  # of the largest diagonal entry: below, rounding decides whether H is positive
Bounds = tuple[Array, Array]  # of theta, each (P,) or (B, P)


class Local(NamedTuple):
    """An objective and its derivatives at one point of each member.

    Attributes:
        value: The objective, (B,).
        gradient: Its gradient, (B, P).
        hessian: Its Hessian, (B, P, P).
        metric: The Hessian of the parabola that lies above the objective and touches it, (B, P, P).
    """

    value: Array
    gradient: Array
    hessian: Array
    metric: Array

    def at(self, index: np.ndarray) -> "Local":
        """Return the members that an index array or a boolean mask selects."""
        return Local(*(part[index] for part in self))

    def put(self, index: np.ndarray, other: "Local") -> None:
        """Overwrite the members that an index array or a mask selects with those of `other`, in order."""
        for mine, theirs in zip(self, other, strict=True):
            mine[index] = theirs[index]

    def join(self, other: "Local") -> "Local":
        """Return these members and then the other ones."""
        return Local(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def where(self, mask: np.ndarray, other: "Local") -> "Local":
        """Return a copy in which the members of a boolean mask are those of the other."""
        copy = Local(*(part.copy() for part in self))
        copy.put(mask, other)
        return copy

    def is_finite(self) -> np.ndarray:
        """Which members have finite numbers throughout, (B,)."""
        with np.errstate(invalid="ignore", over="ignore"):
            total = self.value + self.gradient.sum(-1)
            total += self.hessian.sum((-1, -2)) + self.metric.sum((-1, -2))
        return np.isfinite(total)


def held_by(theta: Array, gradient: Array, bounds: Bounds) -> np.ndarray:
    """Return which parameters do not move, (B, P).

    These are fixed parameters, and those that the descent would push past a bound.
    """
    low, high = bounds
    return (low == high) | ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))


def step_inside(theta: Array, local: Local, held: np.ndarray, damping: Array, bounds: Bounds) -> Array:
    """Return steps, (B, P), that respect the bounds.

    A parameter at a bound that would leave is held. A step that would cross a bound is cut there. If we only
    clipped the steps, they would turn away from the descent direction wherever parameters trade off.

    Args:
        theta: Where the steps start, (B, P).
        local: The derivatives there.
        held: Which parameters do not move, (B, P).
        damping: The damping, (B,).
        bounds: Lower and upper bounds, (B, P) each.
    """
    low, high = bounds
    step = damped_step(local, held, damping)
    arrival = theta + step
    if (arrival >= low).all() and (arrival <= high).all():
        return step
    for _ in range(theta.shape[-1] - 1):
        out = ((theta <= low) & (step < 0)) | ((theta >= high) & (step > 0))
        rows = np.flatnonzero(out.any(-1))
        if not len(rows):
            break
        held = held | out
        step[rows] = damped_step(local.at(rows), held[rows], damping[rows])
    moves = step != 0
    room = np.where(step < 0, low - theta, high - theta)
    with np.errstate(over="ignore"):  # a step of next to nothing reaches as far as it likes
        reach = np.divide(room, step, out=np.ones_like(step), where=moves)
    # a last sliver is not worth a cut: the clip that follows takes it to the bound
    return step * np.clip(reach, 1e-6, 1).min(-1, keepdims=True)


def damped_step(local: Local, held: np.ndarray, damping: Array) -> Array:
    """Return the damped Newton steps, (B, P). They are zero where held and at most 2 long."""
    hessian, metric, gradient = local.hessian, local.metric, local.gradient
    if held.any():
        both = ~(held[:, :, None] | held[:, None, :])
        hessian, metric, gradient = hessian * both, metric * both, gradient * ~held
    step, positive = by_elimination(hessian, metric, gradient, held, damping)
    rest = np.flatnonzero(~positive)
    if len(rest):
        step[rest] = by_eigenvalues(hessian[rest], metric[rest], gradient[rest], damping[rest])
    step[held] = 0
    length = np.sqrt((step * step).sum(-1, keepdims=True))
    return step * np.minimum(1, LONGEST / np.maximum(length, 1e-300))


def by_elimination(
    hessian: Array, metric: Array, gradient: Array, held: np.ndarray, damping: Array
) -> tuple[Array, np.ndarray]:
    """Return -(H + d M)^-1 g by Gaussian elimination, for all members at once.

    There is no pivoting. H is eliminated beside H + d M, because its pivots tell whether it is positive
    definite. The last axes of the array are these two and the batch.

    Args:
        hessian: H, (B, P, P).
        metric: M, (B, P, P).
        gradient: g, (B, P).
        held: Which parameters do not move, (B, P).
        damping: d, (B,).

    Returns:
        The steps (B, P), and which of them count (B,): those whose H is clearly positive definite.
    """
    size, n = gradient.shape
    a = np.empty((n, n + 1, 2, size))
    a[:, :n, 0] = hessian.transpose(1, 2, 0)
    diagonal = np.einsum("ppb->pb", a[:, :n, 0])
    largest = diagonal.max(0)
    if held.any():
        diagonal[held.T] = np.broadcast_to(largest, (n, size))[held.T]
    np.multiply(metric.transpose(1, 2, 0), damping, out=a[:, :n, 1])
    a[:, :n, 1] += a[:, :n, 0]
    a[:, n, 0], a[:, n, 1] = 0, -gradient.T
    with np.errstate(all="ignore"):  # of members that are not positive definite nothing is used
        for k in range(n - 1):
            a[k + 1 :, k + 1 :] -= (a[k + 1 :, k] / a[k, k])[:, None] * a[k, k + 1 :]
        y = a[:, n, 1]
        for k in range(n - 1, -1, -1):
            y[k] /= a[k, k, 1]
            y[:k] -= a[:k, k, 1] * y[k]
        smallest = np.einsum("pprb->prb", a[:, :n]).min((0, 1))
        positive = (smallest > SMALLEST_PIVOT * largest) & np.isfinite(y.sum(0))
    return y.T.copy(), positive


def by_eigenvalues(hessian: Array, metric: Array, gradient: Array, damping: Array) -> Array:
    """Return -(|H| + d M)^-1 g, (B, P), by eigenvalues.

    In coordinates in which the metric is the identity, the eigenvalues of the Hessian are at most about 1. We
    take their sizes, so that a step from a saddle leads downhill, and add the damping.
    """
    scale, axes = np.linalg.eigh(metric)
    scale = np.maximum(scale, 1e-12 * scale.max(-1, keepdims=True) + 1e-300)
    white = axes / np.sqrt(scale)[:, None, :]
    values, vectors = np.linalg.eigh(np.swapaxes(white, 1, 2) @ hessian @ white)
    vectors = white @ vectors
    slope = np.einsum("bpq,bp->bq", vectors, gradient)
    return -np.einsum("bpq,bq->bp", vectors, slope / (np.abs(values) + damping[:, None]))
