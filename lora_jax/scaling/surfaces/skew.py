"""Is a surface a quadratic? We compare its vertex with that of the runs within half the distance.

Real surfaces are steeper towards high rates. So a wide window draws every vertex to low rates. We look for
the difference over all sizes together, where it first stands out of the noise. What it is beyond noise widens
every interval. In the power laws it widens the level alone, because it does not depend on N or D. What one
size differs by in addition widens its own interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.rates.bowls import LEAST_NEAR, WINDOW, Array
from lora_jax.scaling.rates.drifts import LEAST_ERROR
from lora_jax.scaling.rates.noise import Noise
from lora_jax.scaling.surfaces.quadric import Quadric, SurfaceLosses, fit_window
from lora_jax.scaling.surfaces.refusals import is_inside

BY_CHANCE = -2 * math.log(0.1)  # chi^2 of two numbers that noise exceeds in 10 % of cases


@dataclass(frozen=True)
class Shift:
    """How much the nearest runs move the vertex of one size.

    Attributes:
        difference: The move in ln rate and ln batch, (2,).
        explained: The covariance that noise gives it, (2, 2).
    """

    difference: Array
    explained: Array


@dataclass(frozen=True)
class Skew:
    """How much the nearest runs move the vertices over all sizes, as far as noise does not explain it.

    Attributes:
        difference: ln rate and ln batch by the nearest runs less those by all runs, (2,), the weighted mean.
        covariance: What it adds to the covariance of every vertex, (2, 2).
    """

    difference: Array
    covariance: Array

    def beyond(self, shift: Shift) -> Array:
        """Return the covariance, (2, 2), that a size gets because it differs from the other sizes."""
        common = self.difference if self.covariance.any() else np.zeros(2)
        return _beyond_noise(shift.difference - common, shift.explained)


def find_shift(data: SurfaceLosses, surface: Quadric, noise: Noise) -> Shift | None:
    """Return how much the nearest runs move the vertex. None if they are all the runs, or show no bowl."""
    near = fit_window(data, WINDOW / 2, LEAST_NEAR)
    if near is None or near.curvature <= 0 or (near.rows == surface.rows).all():
        return None
    if not is_inside(near.vertex, data.points[near.rows]):
        return None
    apart = near.vertex_pull - surface.vertex_pull
    # around cubics, because the scatter around quadratics holds what is to be found
    explained = (noise.around_cubics or 0.0) ** 2 * apart @ apart.T
    return Shift(near.vertex - surface.vertex, explained + LEAST_ERROR**2 * np.eye(2))


def find_skew(shifts: Sequence[Shift]) -> Skew | None:
    """Return what the shifts of the sizes have in common. None without a shift."""
    if not shifts:
        return None
    weights = [np.linalg.inv(shift.explained) for shift in shifts]
    covariance = np.asarray(np.linalg.inv(sum(weights)), dtype=np.float64)
    mean = covariance @ sum(w @ shift.difference for w, shift in zip(weights, shifts, strict=True))
    return Skew(mean, _beyond_noise(mean, covariance))


def _beyond_noise(difference: Array, explained: Array) -> Array:
    """Return the square of a difference (2, 2), less the share of it that noise explains."""
    chi_squared = float(difference @ np.linalg.solve(explained, difference))
    share = 1 - BY_CHANCE / chi_squared if chi_squared > BY_CHANCE else 0.0
    return share * np.outer(difference, difference)
