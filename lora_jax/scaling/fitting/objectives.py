"""Objectives: what a fit minimises, a sum over runs of a function of each residual."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.laws.law import Array

Shape = Literal["huber", "l1", "squared"]
HUBER_DELTA = 1e-3  # Hoffmann et al. 2203.15556, section 3.3
L1_DELTA = 1e-7  # |r| is smoothed over this width; r itself is known to 1e-16
GRADIENT_TOLERANCE = 1e-9
L1_GRADIENT_TOLERANCE = 1e-7  # residuals known to 1e-16, over the smoothing width of 1e-7, summed over runs
WORDS = {
    "huber": "sum of Huber(1e-3) of log residuals",
    "l1": "sum of absolute log residuals",
    "squared": "sum of squared log residuals",
    "least-squares": "sum of squared residuals",
}


@dataclass(frozen=True)
class Objective:
    """A sum over runs of w rho(r), r = fitted - measured, of the ln of the response or of itself.

    huber: r^2/2 up to |r| = delta, then delta (|r| - delta/2). l1: |r|, smoothed within `delta` as Huber over
    delta. squared: r^2. is_linear: r is of the response, counted in `unit`, and not of its ln. largest: the
    largest |ln response|, 1 at least, to whose rounding the gradient of an l1 is known.
    """

    name: str
    shape: Shape
    delta: float
    is_linear: bool = False
    unit: float = 1.0
    largest: float = 1.0

    def tolerance(self, r: Array, n_params: int) -> float:
        """The gradient from which an answer with residuals r (n,) counts as a minimum.

        That of an l1 is a sum of rounding errors over the residuals within delta: of those that are exactly
        met, as many as there are parameters, or all of them where the fit is exact.
        """
        if self.shape != "l1":
            return GRADIENT_TOLERANCE
        within = np.count_nonzero(np.abs(r) <= self.delta) / n_params
        return L1_GRADIENT_TOLERANCE * self.largest * max(1.0, within)

    @property
    def stop(self) -> float:
        """The gradient at which the descent rests: well under the tolerance, above rounding."""
        return 1e-3 * GRADIENT_TOLERANCE if self.shape != "l1" else 0.3 * L1_GRADIENT_TOLERANCE * self.largest

    def stages(self) -> list["Objective"]:
        """Return the wider objectives that lead to this one."""
        if self.shape == "squared":
            return []
        if self.shape == "huber":
            return [self.widened(100), self.widened(10)]
        return [self.widened(factor) for factor in np.geomspace(1e5, 4, 9)]

    def widened(self, factor: float) -> "Objective":
        return replace(self, delta=self.delta * factor)

    def rougher(self) -> "Objective":
        """Return what replicates and refits may minimise: an l1 smoothed over 1e-5, far below any noise."""
        return self.widened(100) if self.shape == "l1" else self

    def fitted_to(self, log_response: Array) -> "Objective":
        """Return the objective in the units of these ln responses (n,)."""
        unit = float(np.exp(log_response.mean())) if self.is_linear else 1.0
        return replace(self, unit=unit, largest=max(1.0, float(np.abs(log_response).max())))

    def terms(self, r: Array) -> tuple[Array, Array, Array]:
        """Return rho, its slope and its curvature at r, each of r's shape."""
        if self.shape == "squared":
            return r * r, 2 * r, np.full_like(r, 2.0)
        size = np.abs(r)
        inside = size <= self.delta
        rho = np.where(inside, 0.5 * r * r, self.delta * (size - 0.5 * self.delta))
        slope = np.clip(r, -self.delta, self.delta)
        curve = inside.astype(float)
        if self.shape == "l1":
            return rho / self.delta, slope / self.delta, curve / self.delta
        return rho, slope, curve

    def touching(self, r: Array) -> Array:
        """Return the curvature at r of the parabola around 0 that lies above rho and touches it at r."""
        if self.shape == "squared":
            return np.full_like(r, 2.0)
        scale = 1.0 if self.shape == "huber" else 1 / self.delta
        return scale * self.delta / np.maximum(np.abs(r), self.delta)

    def value(self, r: Array, weights: Array) -> Array:
        """Return the objective as it is quoted, summed over the last axis.

        For l1 without the smoothing, for least squares in the unit of the response.
        """
        rho = np.abs(r) if self.shape == "l1" else self.terms(r)[0]
        return (weights * rho).sum(-1) * self.unit**2


def objective(name: str, delta: float | None = None) -> Objective:
    """Return the objective of that name.

    "huber" (delta 1e-3 unless given), "l1" and "squared" of ln residuals; "least-squares" of the response.
    """
    known = {
        "huber": Objective("huber", "huber", HUBER_DELTA if delta is None else delta),
        "l1": Objective("l1", "l1", L1_DELTA),
        "squared": Objective("squared", "squared", 1.0),
        "least-squares": Objective("least-squares", "squared", 1.0, is_linear=True),
    }
    if name not in known:
        raise LoraJaxError(f"Objective {name!r} is not known{nearest(name, known)}: choose one of these.")
    return known[name]
