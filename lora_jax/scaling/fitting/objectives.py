"""Objectives: what a fit minimises. Each is a sum over runs of a function of the residual."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import HUBER
from lora_jax.scaling.laws.law import Array

Shape = Literal["huber", "l1", "quantile", "squared"]
HUBER_DELTA = 1e-3  # Hoffmann et al. 2203.15556, section 3.3
L1_DELTA = 1e-7  # |r| is smoothed over this width; r itself is known to 1e-16
GRADIENT_TOLERANCE = 1e-9
L1_GRADIENT_TOLERANCE = 1e-7  # residuals known to 1e-16, over the smoothing width of 1e-7, summed over runs


@dataclass(frozen=True)
class Objective:
    """What a fit minimises: the sum over runs of w rho(r), with residuals r = fitted - measured.

    The shapes rho are:

    - huber: r^2/2 up to |r| = delta, then delta (|r| - delta/2).
    - l1: |r|, smoothed within `delta` as Huber over delta.
    - quantile: the pinball loss |r|/2 + (1/2 - tau) r, smoothed as l1. It is least where a share tau of
      the runs lies below (Koenker and Bassett 1978, Econometrica 46, 33).
    - squared: r^2.

    Attributes:
        name: The name.
        shape: The shape rho.
        delta: Width of the Huber, in units of r.
        is_linear: Whether r is a difference of the response itself, counted in `unit`. Otherwise it is a
            difference of its ln.
        unit: The unit of the response.
        largest: The largest |ln response|, at least 1. Where rho has a corner, the gradient is known only up
            to the rounding of this number.
        tau: For quantile, the share of the runs below the curve.
    """

    name: str
    shape: Shape
    delta: float
    is_linear: bool = False
    unit: float = 1.0
    largest: float = 1.0
    tau: float = 0.5

    @property
    def has_corner(self) -> bool:
        """Whether rho has a corner at 0. We smooth it, and a fit meets some runs exactly."""
        return self.shape in ("l1", "quantile")

    @property
    def words(self) -> str:
        """What is summed, such as "sum of Huber(1e-3) of log residuals"."""
        return {
            "huber": f"sum of Huber({_spell(self.delta)}) of log residuals",
            "l1": "sum of absolute log residuals",
            "squared": "sum of squared log residuals",
            "least-squares": "sum of squared residuals",
            "quantile": f"sum of pinball losses of log residuals, {self.tau:.3g} of the runs below the curve",
        }[self.name if self.shape != "quantile" else self.shape]

    @property
    def width(self) -> float | None:
        """The delta that a user may set. Only a Huber has one."""
        return self.delta if self.name == "huber" else None

    def tolerance(self, r: Array, n_params: int) -> float:
        """Return the gradient below which an answer counts as a minimum.

        With a corner the gradient is a sum of rounding errors over the residuals within delta. These are the
        runs that are met exactly: as many as there are parameters, or all of them if the fit is exact.

        Args:
            r: The residuals at the answer, (n,).
            n_params: How many parameters were fitted.
        """
        if not self.has_corner:
            return GRADIENT_TOLERANCE
        within = np.count_nonzero(np.abs(r) <= self.delta) / n_params
        return L1_GRADIENT_TOLERANCE * self.largest * max(1.0, within)

    @property
    def stop(self) -> float:
        """The gradient at which the descent rests. It is well under the tolerance and above rounding."""
        corner = 0.3 * L1_GRADIENT_TOLERANCE * self.largest
        return corner if self.has_corner else 1e-3 * GRADIENT_TOLERANCE

    def stages(self) -> list["Objective"]:
        """Return the wider objectives that lead to this one, the widest first."""
        if self.shape == "squared":
            return []
        if self.shape == "huber":
            return [self.widened(100), self.widened(10)]
        return [self.widened(factor) for factor in np.geomspace(1e5, 4, 9)]

    def widened(self, factor: float) -> "Objective":
        """Return the same objective with a delta that is `factor` times as wide."""
        return replace(self, delta=self.delta * factor)

    def rougher(self) -> "Objective":
        """Return an objective that is good enough for replicates and refits.

        In it a corner is smoothed over 1e-5, which is far below noise.
        """
        return self.widened(100) if self.has_corner else self

    def fitted_to(self, log_response: Array) -> "Objective":
        """Return the objective in the units of these ln responses (n,)."""
        unit = float(np.exp(log_response.mean())) if self.is_linear else 1.0
        return replace(self, unit=unit, largest=max(1.0, float(np.abs(log_response).max())))

    def terms(self, r: Array) -> tuple[Array, Array, Array]:
        """Return rho, its slope and its curvature at r, each of the shape of r."""
        if self.shape == "squared":
            return r * r, 2 * r, np.full_like(r, 2.0)
        size = np.abs(r)
        inside = size <= self.delta
        rho = np.where(inside, 0.5 * r * r, self.delta * (size - 0.5 * self.delta))
        slope = np.clip(r, -self.delta, self.delta)
        curve = inside.astype(float)
        if self.shape == "l1":
            return rho / self.delta, slope / self.delta, curve / self.delta
        if self.shape == "quantile":
            half, lean = 0.5 / self.delta, 0.5 - self.tau
            return half * rho + lean * r, half * slope + lean, half * curve
        return rho, slope, curve

    def touching(self, r: Array) -> Array:
        """Return the curvature of the parabola that lies above rho and touches it at r, of the shape of r.

        The parabola's vertex is at 0. For a quantile this is the part without the straight line.
        """
        if self.shape == "squared":
            return np.full_like(r, 2.0)
        scale = {"huber": 1.0, "l1": 1 / self.delta, "quantile": 0.5 / self.delta}[self.shape]
        return scale * self.delta / np.maximum(np.abs(r), self.delta)

    def value(self, r: Array, weights: Array) -> Array:
        """Return the objective as it is quoted, summed over the last axis.

        For l1 and a quantile this is without smoothing. For least squares it is in the unit of the response,
        squared.
        """
        if self.shape == "quantile":
            rho = 0.5 * np.abs(r) + (0.5 - self.tau) * r
        else:
            rho = np.abs(r) if self.shape == "l1" else self.terms(r)[0]
        return (weights * rho).sum(-1) * self.unit**2


def objective(name: str, delta: float | None = None) -> Objective:
    """Return the objective with this name.

    Args:
        name: "huber", "l1", "squared" or "quantile(0.1)" of the log residuals, or "least-squares" of the
            response.
        delta: Width of the Huber. The default is 1e-3.

    Raises:
        LoraJaxError: The name is unknown, delta is not above 0, or the objective has no delta.
    """
    known = {
        "huber": Objective("huber", "huber", HUBER_DELTA if delta is None else delta),
        "l1": Objective("l1", "l1", L1_DELTA),
        "squared": Objective("squared", "squared", 1.0),
        "least-squares": Objective("least-squares", "squared", 1.0, is_linear=True),
    }
    found = known[name] if name in known else _quantile(name)
    if found is None:
        every = [*known, "quantile"]
        raise LoraJaxError(f"Objective {name!r} is not known{nearest(name, every)}: choose one of these.")
    if delta is not None and found.width is None:
        raise LoraJaxError(
            f"Objective {name!r} has no delta and {delta:g} was given: leave it out, or choose 'huber'."
        )
    if delta is not None:
        HUBER.check("the delta of the Huber", delta)
    return found


def _quantile(name: str) -> Objective | None:
    """Return the objective of "quantile(0.1)", None for what is no quantile's name."""
    head, _, rest = name.partition("(")
    if head.strip() != "quantile":
        return None
    try:
        tau = float(rest.rstrip(") ")) if rest.rstrip().endswith(")") else float("nan")
    except ValueError:
        tau = float("nan")
    if not 0 < tau < 1:
        raise LoraJaxError(
            f"Objective {name!r} lacks the share of the runs that is to lie below, between 0 and 1: say"
            " quantile(0.1)."
        )
    return Objective(f"quantile({tau:g})", "quantile", L1_DELTA, tau=tau)


def _spell(x: float) -> str:
    """Return 0.001 as "1e-3", and numbers from .01 to 1000 plainly."""
    if 0.01 <= x < 1000:
        return f"{x:g}"
    mantissa, power = f"{x:e}".split("e")
    return f"{float(mantissa):g}e{int(power)}"
