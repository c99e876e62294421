"""The rank at which a low-rank method leaves full fine-tuning's curve.

"LoRA Without Regret" (Schulman 2025) found that LoRA's loss is full fine-tuning's until the adapter is full,
and falls behind from then on. So the excess e = ln L_r - ln L_full is 0 up to a capacity F^c(r) and grows
beyond it. We take the simplest such law,

    e = k max(0, ln F - ln F^c),   ln F^c = ln c + g ln r (+ h ln N),

because a method that stops to learn at F^c, while full fine-tuning follows E + A F^-beta, has just this
excess to first order in ln F, with k = beta (1 - E / L). A method that goes on more slowly has a smaller k. A
power law of the excess instead would give every rank some excess at every F, and no knee. The knee at F is
r^c = (F / F^c(1))^(1 / g).

The loss of full fine-tuning at each place is fitted freely, so no law of it is taken for granted. The 95 %
interval of the knee is every rank that an F test against the best fit cannot rule out, all else fitted again.
It is open where the runs do not bound it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri

from lora_jax.scaling.finetuning.hinge import chance_of_gain, minimise, starts_of
from lora_jax.scaling.finetuning.ranked_losses import Ranks
from lora_jax.scaling.finetuning.results import Solution
from lora_jax.scaling.laws.law import Array

LEVEL = 0.95
FARTHER = 2.0  # of ln r or ln F beyond the runs: an interval that reaches farther is open
SCAN = 31  # values at which a profile is computed


@dataclass(frozen=True)
class KneeFit:
    """The fitted law of the excess.

    Attributes:
        ranks: The data.
        slopes: k, and k times ln c, g and h, in centred logarithms, (4,).
        starts: Other slopes to start from, (S, 4).
        square: The sum of squares, including that within rows.
        p: Probability that noise alone gains so much over no excess at all.
    """

    ranks: Ranks
    slopes: Array
    starts: Array
    square: float
    p: float

    @property
    def sd(self) -> float:
        """Standard deviation of ln L of one run."""
        return float(np.sqrt(self.square / self.ranks.freedom))

    @property
    def excess(self) -> Array:
        """The fitted excess of each row (n,)."""
        return self.ranks.excess(self.slopes)

    def knee(self, ln_f: float, ln_n: float) -> Solution:
        """Return the rank r^c at a place, given by ln F and ln N."""
        f, n = ln_f - self.ranks.centre[0], ln_n - self.ranks.centre[2]
        k, a, g, h = self.slopes
        value = (k * f - a - h * n) / g
        ln_r = self.ranks.ln_r[~self.ranks.is_full]
        grid = _grid(float(value), float(ln_r.min()) - FARTHER, float(ln_r.max()) + FARTHER)
        # k f - k ln c - k g rho - k h n = 0
        conditions = np.stack(np.broadcast_arrays(f, -1.0, -grid, -n), 1)
        return _exp(self._solve(float(value), grid, conditions), self.ranks.centre[1])

    def params(self) -> dict[str, Solution]:
        """Return k, the capacity of the middle rank, g and h with their intervals."""
        k, a, g, h = self.slopes
        low, high = float(self.ranks.ln_f.min()) - FARTHER, float(self.ranks.ln_f.max()) + FARTHER
        grid = _grid(a / k, low, high)
        capacity = self._solve(a / k, grid, _conditions(grid, 1))
        found = {"k": self._slope(), "F^c of the middle rank": _exp(capacity, self.ranks.centre[0])}
        grid = _grid(g / k, 0.05, 3.0)
        found["g"] = self._solve(g / k, grid, _conditions(grid, 2))
        if self.ranks.by_size:
            grid = _grid(h / k, -1.5, 1.5)
            found["h"] = self._solve(h / k, grid, _conditions(grid, 3))
        return found

    def _slope(self) -> Solution:
        k = float(self.slopes[0])
        grid = _grid(k, 0.0, 4 * k)
        offset = np.stack([grid, *(grid * x / k for x in self.slopes[1:])], 1)
        free = np.eye(4)[:, 1 : self._n_slopes]
        return self._profile(k, grid, np.tile(free, (len(grid), 1, 1)), offset)

    def _solve(self, value: float, grid: Array, conditions: Array) -> Solution:
        """Return a number with its interval, where `conditions` (V, 4) . slopes = 0 holds it on a grid."""
        inside = conditions[:, : self._n_slopes]
        free = np.zeros((len(grid), 4, self._n_slopes - 1))
        for i, row in enumerate(inside):
            free[i, : self._n_slopes] = np.linalg.svd(row[None])[2][1:].T
        return self._profile(value, grid, free, np.zeros((len(grid), 4)))

    def _profile(self, value: float, grid: Array, free: Array, offset: Array) -> Solution:
        """Return the ends of the stretch around a value where the sum of squares is allowed."""
        every = np.concatenate([self.slopes[None], self.starts])
        starts = np.tile(every, (len(grid), 1, 1))
        least, _ = minimise(self.ranks, starts, free, offset)
        freedom = self.ranks.freedom
        allowed = self.square * (1 + float(fdtri(1, freedom, LEVEL)) / freedom)
        return _interval(value, grid, least + self.ranks.within[0], allowed)

    @property
    def _n_slopes(self) -> int:
        return 4 if self.ranks.by_size else 3


def fit_knee(ranks: Ranks, seed: int = 0) -> KneeFit:
    """Fit the law of the excess, and test it against no excess at any rank."""
    n_slopes = 4 if ranks.by_size else 3
    starts = starts_of(ranks)
    least, slopes = minimise(ranks, starts[None], np.eye(4)[None, :, :n_slopes], np.zeros((1, 4)))
    none = float((ranks.weights * ranks.centred(ranks.log_loss) ** 2).sum())
    p = chance_of_gain(ranks, none, float(least[0]), seed)
    return KneeFit(ranks, slopes[0], starts, float(least[0]) + ranks.within[0], p)


def _conditions(values: Array, index: int) -> Array:
    """Return the conditions (V, 4) that a slope over k is one of the values: value k - slope = 0."""
    found = np.zeros((len(values), 4))
    found[:, 0], found[:, index] = values, -1.0
    return found


def _grid(value: float, low: float, high: float) -> Array:
    """Return values from low to high, and beyond where the number itself lies there, which is among them."""
    return np.unique(np.concatenate([np.linspace(min(low, value), max(high, value), SCAN), [value]]))


def _exp(found: Solution, shift: float) -> Solution:
    """Return e^(x + shift) of a number and its ends."""
    ends = [None if x is None else float(np.exp(x + shift)) for x in (found.value, found.low, found.high)]
    return Solution(ends[0], ends[1], ends[2])


def _interval(value: float, grid: Array, squares: Array, allowed: float) -> Solution:
    """Return the ends of the stretch around a value where the sum of squares (m,) is allowed."""
    start = int(np.argmin(np.abs(grid - value)))
    ends: list[float | None] = []
    for way in (-1, 1):
        k = start + way
        while 0 <= k < len(grid) and squares[k] <= allowed:
            k += way
        if not 0 <= k < len(grid):
            ends.append(None)
            continue
        inside, outside = float(np.sqrt(max(squares[k - way] - squares[start], 0.0))), squares[k]
        reach, wanted = float(np.sqrt(outside - squares[start])), float(np.sqrt(allowed - squares[start]))
        share = (wanted - inside) / (reach - inside) if np.isfinite(reach) else 0.0
        ends.append(float(grid[k - way] + share * (grid[k] - grid[k - way])))
    return Solution(float(value), ends[0], ends[1])
