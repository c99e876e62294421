"""Does the law miss the runs by more than seeds differ? The F test for lack of fit.

A fit can be an exact minimum with narrow intervals and still be the wrong curve. Cells with several seeds
tell us the noise without any law. We compare it with how far the cell means lie off the law (Draper and
Smith, Applied Regression Analysis, "lack of fit and pure error").
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, fdtri, gammaincinv  # scipy.stats takes a quarter second to import

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.cells import SeedNoise, cell_of
from lora_jax.scaling.tables.table import RunTable

LEVEL = 0.01


@dataclass(frozen=True)
class LackOfFit:
    """How far the runs lie off a law, compared with how far seeds differ.

    Attributes:
        off: The standard deviation of ln L around the law, from the cell means, for a single run's share of
            noise. Its interval is that of a variance of normal numbers (chi squared), as if each cell missed
            the law by chance.
        times: `off` over the noise between seeds, with the interval of an F test. None without seeds.
        noise: The standard deviation of ln L between seeds, with its interval. None without seeds.
        spare: Cells less parameters: the degrees of freedom of `off`.
        p: The p-value of the F test that the runs miss the law by no more than seeds differ. None without
            seeds.
    """

    off: Estimate
    times: Estimate | None
    noise: Estimate | None
    spare: int
    p: float | None

    @property
    def warning(self) -> str | None:
        """The warning, or None if the test gives no reason for one."""
        if self.p is None or self.times is None or self.p >= LEVEL:
            return None
        said = f"= {self.p:.1g}" if self.p > 1e-6 else "< 1e-6"
        return (
            f"lack of fit: the runs lie {percent(self.off.value, 1)} off the law, {self.times.value:.1f}"
            " times the"
            f" noise between seeds (F test, p {said}), so they do not follow this form over this range"
        )


def lack_of_fit(runs: RunTable, residuals: Array, n_parameters: int, noise: SeedNoise) -> LackOfFit | None:
    """Measure how far runs lie off a law.

    Args:
        runs: The runs.
        residuals: Residuals of ln L, (n,).
        n_parameters: How many parameters were fitted.
        noise: The noise between seeds, from `seed_noise`.

    Returns:
        The result, or None if no degree of freedom is left.
    """
    cells = np.unique(cell_of(runs), return_inverse=True)[1]
    counts = np.bincount(cells)
    spare = len(counts) - n_parameters
    if spare < 1:
        return None
    means = np.bincount(cells, residuals) / counts
    off = math.sqrt(float((counts * means**2).sum() / spare))
    found = LackOfFit(_deviation(off, spare), None, None, spare, None)
    sd, dof = noise.sd, noise.degrees_of_freedom
    if not sd:
        return found
    low, high = (math.sqrt(float(fdtri(spare, dof, q))) for q in (0.975, 0.025))
    times = off / sd
    p = float(fdtrc(spare, dof, times**2))
    return LackOfFit(
        found.off, Estimate(times, None, (times / low, times / high)), _deviation(sd, dof), spare, p
    )


def _deviation(sd: float, freedom: int) -> Estimate:
    """Return a standard deviation with its 95 % interval."""
    low, high = (sd * math.sqrt(freedom / float(2 * gammaincinv(freedom / 2, q))) for q in (0.975, 0.025))
    return Estimate(sd, None, (low, high))
