"""How far mean losses lie from a law, smoothly in ln N and ln D.

A law never has exactly the form of its runs. What it misses by does not scatter like noise. Neighbouring
cells share it, and so does the place at which we ask the law. A bootstrap that draws every run's error anew
does not see that. So we draw this misfit in addition to the noise.

Here the errors of ln L are noise of variance s^2, plus a Gaussian process of variance t s^2 with Matern's
covariance (smoothness 3/2) over the logarithms of the law's variables, each scaled by its range. The
residuals tell how large t is (restricted likelihood, Patterson and Thompson 1971), and so do seeds, if there
are any. Every replicate draws t by its likelihood, and then the errors of the runs and of the place together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.scaling.fitting.problem import Answer
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.cells import SeedNoise
from lora_jax.scaling.tables.run_table import RunTable

LENGTH = 0.3  # over which misfits are alike, in ranges of the runs; what is longer bends the law itself
RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # t: the variance of the misfit over that of the noise
NO_MISFIT = 0.95  # how far a law is believed before its runs are seen
LEAST_ROWS, LEAST_FREEDOM = 12, 6  # below, residuals cannot tell misfit from noise
MOST_ROWS = 400  # of which the likelihood is computed; more are thinned
JITTER = 1e-8
SMALLEST = 1e-30  # variance of an exact fit


@dataclass(frozen=True)
class Kernel:
    """Places of runs, and how alike the errors at two places are.

    Attributes:
        names: The variables.
        middle: Mean of ln of each variable, (V,).
        span: Range of ln of each variable, (V,).
        places: Scaled places of the runs, (n, V).
        groups: The group of each run, (n,), such as its recipe. Errors of two groups are independent.
    """

    names: tuple[str, ...]
    middle: Array
    span: Array
    places: Array
    groups: Array

    def scale(self, values: Mapping[str, float]) -> Array:
        """Return the scaled place, (V,), of these values of the variables."""
        return (np.log([values[name] for name in self.names]) - self.middle) / self.span

    def among(self) -> Array:
        """Return the covariance of the runs' misfits, (n, n), for unit variance."""
        gaps = np.linalg.norm(self.places[:, None] - self.places[None], axis=-1) / LENGTH
        same = self.groups[:, None] == self.groups[None]
        return _matern(gaps) * same + JITTER * np.eye(len(self.places))

    def to(self, place: Array, group: float) -> Array:
        """Return the covariance (n,) of the runs' misfits with that at a place, for unit variance."""
        gaps = np.linalg.norm(self.places - place, axis=-1) / LENGTH
        return _matern(gaps) * (self.groups == group)


def _matern(gaps: Array) -> Array:
    x = np.sqrt(3) * gaps
    return (1 + x) * np.exp(-x)


@dataclass(frozen=True)
class Misfits:
    """The misfits of ln L that the replicates drew.

    Attributes:
        kernel: The places of the runs.
        sizes: Standard deviation of each replicate's misfit, (B,). 0 if it has none.
        drawn: The misfits of the runs, (B, n).
        chance: How probable it is that there is any misfit, by the residuals.
    """

    kernel: Kernel
    sizes: Array
    drawn: Array
    chance: float

    @property
    def typical(self) -> float:
        """The median size of those that are not 0, as a standard deviation of ln L."""
        some = self.sizes[self.sizes > 0]
        return float(np.median(some)) if len(some) else 0.0

    def only(self, good: np.ndarray) -> "Misfits":
        """Return the misfits of the replicates that a mask (B,) selects."""
        return replace(self, sizes=self.sizes[good], drawn=self.drawn[good])

    def at(self, values: Mapping[str, float], group: float, rng: np.random.Generator) -> Array:
        """Draw the misfit at a place, (B,), given those of the runs."""
        near = self.kernel.to(self.kernel.scale(values), group)
        weights = np.linalg.solve(self.kernel.among(), near)
        left = np.sqrt(max(0.0, 1 - float(near @ weights)))
        return self.drawn @ weights + self.sizes * left * rng.standard_normal(len(self.sizes))


def make_kernel(table: RunTable, names: tuple[str, ...], groups: Array) -> Kernel:
    """Make the kernel of a table's rows over these variables. A variable that does not vary is left out."""
    logs = {name: np.log(table.variable(name)) for name in names}
    varying = tuple(name for name, x in logs.items() if np.ptp(x) > 0)
    x = np.stack([logs[name] for name in varying], 1)
    middle, span = x.mean(0), np.ptp(x, axis=0)
    return Kernel(varying, middle, span, (x - middle) / span, groups)


def can_tell(found: Answer) -> bool:
    """Return whether there are enough rows to tell misfit from noise."""
    problem = found.problem
    return len(problem.table) >= LEAST_ROWS and problem.degrees_of_freedom >= LEAST_FREEDOM


def draw_errors(
    found: Answer, kernel: Kernel, noise: SeedNoise, size: int, rng: np.random.Generator
) -> tuple[Array, Array, Misfits]:
    """Draw errors of ln L for every run of a fit.

    Args:
        found: The fit, whose residuals tell the size of noise and misfit.
        kernel: Its runs' places.
        noise: The noise of a row by seeds, or without an sd.
        size: Replicates (B).
        rng: The generator.

    Returns:
        The errors (B, n), the sd of the noise in each replicate (B,), and the misfits among the errors.
    """
    variances, weights, freedom = _weigh(found, kernel, noise)
    picked = rng.choice(len(weights), size=size, p=weights)
    sd = np.sqrt(variances[picked] * freedom / rng.chisquare(freedom, size))
    sizes = sd * np.sqrt(np.array((0.0, *RATIOS))[picked])
    n, root = len(kernel.places), np.linalg.cholesky(kernel.among())
    drawn = sizes[:, None] * (rng.standard_normal((size, n)) @ root.T)
    errors = drawn + sd[:, None] * rng.standard_normal((size, n))
    return errors, sd, Misfits(kernel, sizes, drawn, float(1 - weights[0]))


def _weigh(found: Answer, kernel: Kernel, noise: SeedNoise) -> tuple[Array, Array, int]:
    """Return the variance of the noise with no misfit and with each of `RATIOS` (K,), and how probable each
    is (K,); and the degrees of freedom of the noise.
    """
    problem = found.problem
    rows = np.arange(0, len(kernel.places), -(-len(kernel.places) // MOST_ROWS))
    slopes = problem.law.jacobian(found.theta, problem.data.features)[rows][:, problem.is_free]
    left, strength, _ = np.linalg.svd(slopes, full_matrices=True)
    contrasts = left[:, int((strength > 1e-10 * strength.max()).sum()) :]  # what no slope of the law follows
    missed = contrasts.T @ -problem.residuals(found.theta)[rows]
    among = contrasts.T @ kernel.among()[np.ix_(rows, rows)] @ contrasts
    of_seeds = noise.degrees_of_freedom if noise.sd else 0
    freedom = len(missed) + of_seeds
    known = of_seeds * (noise.sd or 0.0) ** 2
    variances, logs = [], []
    for ratio in (0.0, *RATIOS):
        root = np.linalg.cholesky(np.eye(len(missed)) + ratio * among)
        squares = float((np.linalg.solve(root, missed) ** 2).sum()) + known
        variances.append(max(squares / freedom, SMALLEST))
        logs.append(-np.log(np.diag(root)).sum() - freedom / 2 * np.log(variances[-1]))
    prior = np.full(len(logs), (1 - NO_MISFIT) / len(RATIOS))
    prior[0] = NO_MISFIT
    weights = prior * np.exp(np.array(logs) - max(logs))
    return np.array(variances), weights / weights.sum(), freedom
