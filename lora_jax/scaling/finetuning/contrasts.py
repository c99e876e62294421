"""Differences of ln loss between methods of a study, with intervals from seeds, cells and test windows.

Three things move such a difference.

- **Seeds.** We pool the standard deviation of ln loss between the seeds of a cell over all cells, because two
seeds alone tell little.
- **Cells.** If the differences of several cells scatter more than the seeds explain, the interval is that of
Knapp and Hartung (`rates.drifts.fit_line`).
- **Test windows.** All methods are scored on the same windows. So the standard error is that of the
difference of each window.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.study_runs import MethodCell, Place, StudyRun, loss_of
from lora_jax.scaling.rates.drifts import LEAST_ERROR, NORMAL, fit_line

Array = NDArray[np.float64]
NO_NOISE_KNOWN = 1_000_000  # degrees of freedom where the cells alone tell the error


@dataclass(frozen=True)
class SeedNoise:
    """The noise between seeds.

    Attributes:
        sd: Standard deviation of ln loss.
        freedom: Its degrees of freedom. 0 if no cell has two seeds.
    """

    sd: float
    freedom: int


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the ln losses of cells."""

    terms: tuple[tuple[float, MethodCell], ...]

    @property
    def place(self) -> Place:
        """The place of the first cell."""
        return self.terms[0][1].place

    @property
    def at_edge(self) -> bool:
        """Whether the best rate of any of its cells is at an edge."""
        return any(cell.at_edge for _, cell in self.terms)

    @property
    def value(self) -> float:
        """The weighted sum."""
        return sum(weight * cell.ln_loss for weight, cell in self.terms)

    def error(self, noise: SeedNoise) -> float:
        """Return the standard error that the seeds explain."""
        squares = sum(weight**2 / len(cell.best) for weight, cell in self.terms)
        return max(noise.sd * math.sqrt(squares), LEAST_ERROR)

    def by_window(self) -> Array:
        """Return what each test window adds, (W,). It is empty if the cells have no windows in common."""
        parts = [(weight, [_shares(run) for run in cell.best]) for weight, cell in self.terms]
        lengths = {len(shares) for _, rows in parts for shares in rows}
        if len(lengths) > 1:
            return np.empty(0)
        return np.sum([weight * np.mean(rows, 0) for weight, rows in parts], 0)


def _shares(run: StudyRun) -> Array:
    """Return the loss of each test window over the mean: what it adds to ln loss, to first order."""
    return run.values_W / loss_of(run)


def pool_seed_noise(cells: Sequence[MethodCell]) -> SeedNoise:
    """Return the noise of the cells that have two seeds or more at their best rate."""
    squares, freedom = 0.0, 0
    for cell in cells:
        values = np.log([loss_of(run) for run in cell.best])
        squares += float(np.sum((values - values.mean()) ** 2))
        freedom += len(values) - 1
    return SeedNoise(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


def mean_contrast(contrasts: Sequence[Contrast], noise: SeedNoise) -> Estimate | None:
    """Return the mean of contrasts with its interval. None if nothing tells an error.

    That is the case with one cell, if no cell of the study has a second seed.
    """
    if not contrasts or (len(contrasts) < 2 and not noise.freedom):
        return None
    values = np.array([contrast.value for contrast in contrasts])
    errors = np.array([contrast.error(noise) for contrast in contrasts])
    line = fit_line(np.ones((len(values), 1)), values, errors, noise.freedom or NO_NOISE_KNOWN)
    mean = line.estimate(np.ones(1))
    half = math.hypot(mean.value - mean.low, NORMAL * _window_error(contrasts))
    return Estimate(mean.value, half / NORMAL, (mean.value - half, mean.value + half))


def _window_error(contrasts: Sequence[Contrast]) -> float:
    """Return the standard error of the mean of contrasts that comes from the choice of test windows."""
    groups: dict[str, list[Array]] = {}
    for contrast in contrasts:
        windows = contrast.by_window()
        if len(windows) > 1:
            groups.setdefault(contrast.terms[0][1].first.data.fingerprint, []).append(windows)
    variance = 0.0
    for rows in groups.values():
        mean_W = np.mean(rows, 0)
        variance += (len(rows) / len(contrasts)) ** 2 * float(mean_W.var(ddof=1)) / len(mean_W)
    return math.sqrt(variance)
