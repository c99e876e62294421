"""A quadratic of ln loss in (ln rate, ln batch), through the runs of one size near the best of them.

Its gradient and its second derivatives are linear in the losses. `pull` is that linear map. So the covariance
of any two fits to overlapping runs is exact, up to the delta method for a vertex.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lora_jax.scaling.rates.bowls import (
    BROKEN,
    Array,
    Numbers,
    mean_effects,
    near_rows,
    whole_between,
)

LEAST_POINTS = 7  # different pairs of rate and batch: six coefficients and one to judge them by
COEFFICIENTS = 5  # without the height, of which each seed has its own


@dataclass(frozen=True)
class SurfaceLosses:
    """Losses of one size at several rates and batch sizes.

    Attributes:
        points: ln rate and ln batch of each run that has a loss, (n, 2).
        ln_losses: Its ln loss, (n,).
        seeds: Its seed, (n,).
        diverged: ln rate and ln batch of the runs that diverged, (m, 2).
    """

    points: Array
    ln_losses: Array
    seeds: Numbers
    diverged: Array

    def take(self, rows: NDArray[np.bool_]) -> "SurfaceLosses":
        return SurfaceLosses(self.points[rows], self.ln_losses[rows], self.seeds[rows], self.diverged)


@dataclass(frozen=True)
class Quadric:
    """ln loss = height + gradient x + x' hessian x / 2, where x = (ln rate, ln batch) - centre.

    Attributes:
        centre: ln rate and ln batch at x = 0, (2,).
        height: ln loss there, the mean over seeds.
        gradient: Its gradient, (2,).
        hessian: Its second derivatives, (2, 2).
        pull: The linear map from the ln losses to gradient and hessian, (5, n). The hessian's numbers are
            rate-rate, rate-batch and batch-batch. The map is zero for runs outside the window.
        squares: The sum of squared residuals.
        freedom: Its degrees of freedom.
        rows: Which runs were used, (n,).
    """

    centre: Array
    height: float
    gradient: Array
    hessian: Array
    pull: Array
    squares: float
    freedom: int
    rows: NDArray[np.bool_]

    @cached_property
    def covariance(self) -> Array:
        """Covariance (5, 5) of gradient and hessian for noise of variance 1."""
        return self.pull @ self.pull.T

    @cached_property
    def axes(self) -> tuple[Array, Array]:
        """The two curvatures, the lesser first, and their directions as the columns of a (2, 2) array."""
        values, directions = np.linalg.eigh(self.hessian)
        return values, directions

    @property
    def curvature(self) -> float:
        """The lesser of the two curvatures. It is above 0 for a bowl."""
        return float(self.axes[0][0])

    def curvature_variance(self) -> float:
        """Return the variance of the lesser curvature for noise of variance 1."""
        u, w = self.axes[1][:, 0]
        weights = np.array([0, 0, u * u, 2 * u * w, w * w])
        return float(weights @ self.covariance @ weights)

    @cached_property
    def vertex(self) -> Array:
        """ln rate and ln batch at which the loss is stationary."""
        return self.centre - np.linalg.solve(self.hessian, self.gradient)

    @cached_property
    def vertex_pull(self) -> Array:
        """How much the vertex moves with each ln loss, (2, n), by the delta method."""
        x, y = self.vertex - self.centre
        moved = np.array([[1, 0, x, y, 0], [0, 1, 0, x, y]])
        return np.asarray(-np.linalg.solve(self.hessian, moved @ self.pull), dtype=np.float64)

    @property
    def depth(self) -> float:
        """ln loss at the vertex."""
        return self.height + float(self.gradient @ (self.vertex - self.centre)) / 2

    @property
    def ridge(self) -> float:
        """The exponent of the batch size in the best rate of each batch size."""
        return float(-self.hessian[0, 1] / self.hessian[0, 0])

    def ridge_variance(self) -> float:
        """Return the variance of `ridge` for noise of variance 1."""
        weights = np.array([0, 0, -self.ridge, -1, 0]) / self.hessian[0, 0]
        return float(weights @ self.covariance @ weights)


def fit_window(data: SurfaceLosses, reach: float, least: int, power: int = 2) -> Quadric | None:
    """Fit the surface to the runs within `reach` of the best one, in ln rate and in ln batch.

    Args:
        data: The runs.
        reach: On either side. It grows until there are `least` rates and `least` batch sizes, or all.
        least: See above.
        power: 3 adds cubic terms. Only the residuals are then of use.

    Returns:
        The surface, or None where the runs do not determine it.
    """
    centre = best_point(data)
    near = [near_rows(data.points[:, k], float(centre[k]), reach, least) for k in (0, 1)]
    rows = near[0] & near[1]
    if len(np.unique(data.points[rows], axis=0)) < LEAST_POINTS:
        return None
    return _fit(data, centre, rows, power)


def _fit(data: SurfaceLosses, centre: Array, rows: NDArray[np.bool_], power: int) -> Quadric | None:
    x, y = (data.points[rows] - centre).T
    columns = [x, y, x * x / 2, x * y, y * y / 2]
    if power == 3:
        columns += [x**3, x * x * y, x * y * y, y**3]
    kinds = np.unique(data.seeds[rows])
    design = np.column_stack([*columns, *((data.seeds[rows] == seed).astype(float) for seed in kinds)])
    if np.linalg.matrix_rank(design[:, :COEFFICIENTS] - design[:, :COEFFICIENTS].mean(0)) < COEFFICIENTS:
        return None
    solved = np.asarray(np.linalg.pinv(design), dtype=np.float64)
    coefficients = solved @ data.ln_losses[rows]
    residuals = data.ln_losses[rows] - design @ coefficients
    pull = np.zeros((COEFFICIENTS, len(rows)))
    pull[:, rows] = solved[:COEFFICIENTS]
    xx, xy, yy = coefficients[2:COEFFICIENTS]
    return Quadric(
        centre=centre,
        height=float(coefficients[len(columns) :].mean()),
        gradient=coefficients[:2],
        hessian=np.array([[xx, xy], [xy, yy]]),
        pull=pull,
        squares=float(residuals @ residuals),
        freedom=int(rows.sum()) - int(np.linalg.matrix_rank(design)),
        rows=rows,
    )


def mean_points(data: SurfaceLosses) -> tuple[Array, Array]:
    """Return the different pairs of ln rate and ln batch, (m, 2), and the mean ln losses there, (m,)."""
    points, places = np.unique(data.points, axis=0, return_inverse=True)
    return points, np.array(mean_effects(places.reshape(-1), data.ln_losses, data.seeds))


def best_point(data: SurfaceLosses) -> Array:
    """Return ln rate and ln batch of the least mean loss."""
    points, means = mean_points(data)
    return points[means.argmin()]


def without_broken(data: SurfaceLosses) -> SurfaceLosses:
    """Return the losses without the runs at and beyond which training broke down.

    At each batch size these are the rates that `rates.bowls` leaves out of a curve. If too few runs remained,
    none is left out.
    """
    points, means = mean_points(data)
    least, keep = float(means.min()), np.ones(len(data.ln_losses), dtype=bool)
    for batch in np.unique(points[:, 1]):
        here = points[:, 1] == batch
        row = dict(zip(points[here, 0].tolist(), means[here].tolist(), strict=True))
        low, high = whole_between(row, least)
        outside = (data.points[:, 0] <= low) | (data.points[:, 0] >= high)
        keep &= ~((data.points[:, 1] == batch) & (outside | (min(row.values()) > least + BROKEN)))
    whole = data.take(keep)
    return whole if len(np.unique(whole.points, axis=0)) >= LEAST_POINTS else data
