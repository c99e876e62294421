"""Is there structure in what a law misses? A sign-flip test of the residuals along every variable.

A fit can be an exact minimum with narrow intervals and still be the wrong curve. Without repeated seeds we do
not know the noise (lack_of_fit.py). But noise has no order. If residuals rise and fall together along ln N,
ln D, ln D/N or ln C, noise is not the reason.

Along each direction we project the residuals on four smooth waves of the rank. The waves are orthogonal to
what the law's own parameters can follow. If the law holds, every training run (or cell) may as well have
missed the other way. So we flip signs, which gives the distribution of the projections whatever the noise is.
A flip keeps the size of the noise in each run, and what the rows of one run share (the effective score test
of Hemerik, Goeman and Finos 2020, JRSS B 82, 841, and Neyman's smooth test). We compare the largest of all
directions with the largest of each flip, so the number of directions is accounted for.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lora_jax.percent import percent
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array

LEVEL = 0.01
MATERIAL = 0.003  # of ln: about what seeds of one run differ by. Smaller structure matters only where it is
MATERIAL_SHARE = 0.25  # so much of the residuals' variance
WAVES = 4
DESCRIBING = ("N", "D", "U", "F", "P")  # letters that say what a run was, whether the law reads them or not
FLIPS = 1999
MOST_FLIPPED = 20_000  # clusters with a sign of their own; of more some are flipped together
FLIPPED_NUMBERS = 4_000_000  # signs that are drawn at a time: 32 MB
LEAST_FREEDOM = 10  # degrees of freedom below which nothing is said
LEAST_CLUSTERS = 12  # as flips of fewer are too alike
FARTHEST = 3.0  # robust standard deviations, to which a residual counts
OWN = 0.05  # length of a wave that is left once the law's slopes are taken out, below which nothing of it is
SAME = 1e-9
EXACT = 1e-8  # residuals of this size are rounding


@dataclass(frozen=True)
class Structure:
    """What the sign-flip test found.

    Attributes:
        p: The p-value of the largest statistic over all directions.
        direction: The direction of that statistic, such as "D/N".
        n_directions: How many directions were tested.
        size: Root mean square of the part of ln L that follows the waves of that direction.
        share: Its share of the variance of the residuals, with chance taken off.
        thirds: Mean of ln measured less ln fitted in the lowest, the middle and the highest third of the
            runs.
    """

    p: float
    direction: str
    n_directions: int
    size: float
    share: float
    thirds: tuple[float, float, float]

    @property
    def is_material(self) -> bool:
        """Whether the structure is large enough to matter."""
        return self.size >= MATERIAL or self.share >= MATERIAL_SHARE

    @property
    def warning(self) -> str | None:
        """Why we doubt the form of the law. None if the structure may be noise, or is too small to matter."""
        if self.p >= LEVEL or not self.is_material:
            return None
        return f"{self._words}, so the runs do not follow this form"

    @property
    def note(self) -> str | None:
        """What to say about structure that is there but too small to matter. None if there is none."""
        if self.p >= LEVEL or self.is_material:
            return None
        return f"{self._words}: less than seeds of one run commonly differ by"

    @property
    def _words(self) -> str:
        low, middle, high = (percent(x, digits=2, signed=True) for x in self.thirds)
        return (
            f"structure in the residuals: from low to high {self.direction} the runs lie {low}, {middle} and"
            f" {high} off the law, in all {percent(self.size, 2)} (sign-flip test along {self.n_directions}"
            f" directions, p = {self.p:.1g})"
        )


def structure(problem: Problem, theta: Array, clusters: NDArray[np.int64], seed: int = 0) -> Structure | None:
    """Test the residuals of a fit for structure.

    Args:
        problem: The problem.
        theta: The answer, (P,).
        clusters: Number of the training run or the cell of each row, (n,). Its rows may share an error.
        seed: Seed of the flips.

    Returns:
        The result, or None if the runs are too few or the law meets them exactly.
    """
    used = problem.data.weights > 0
    number = np.unique(clusters[used], return_inverse=True)[1].reshape(-1)
    if problem.degrees_of_freedom < LEAST_FREEDOM or number.max() + 1 < LEAST_CLUSTERS:
        return None
    root = np.sqrt(problem.data.weights[used])
    missed = -root * problem.residuals(theta)[used]
    size = 1.4826 * float(np.median(np.abs(missed)))
    if not size > EXACT:
        return None
    missed = np.clip(missed, -FARTHEST * size, FARTHEST * size)
    slopes = root[:, None] * problem.law.jacobian(theta, problem.data.features)[used][:, problem.is_free]
    basis = _span(slopes)
    residual = missed - basis @ (basis.T @ missed)
    # a fit draws the rows towards itself, those most that carry it: flips are to be as wide as the noise was
    noise = residual / np.maximum(1 - (basis**2).sum(1), 0.1)
    directions = _directions(problem, used)
    if not directions:
        return None
    waves = [_own(x, root, basis) for x in directions.values()]
    scores = [_scores(own, noise, number % MOST_FLIPPED) for own in waves]
    flipped = np.split(
        _flip(np.concatenate(scores, 1), seed), np.cumsum([s.shape[1] for s in scores])[:-1], 1
    )
    surprise = np.stack(
        [
            _surprise(np.concatenate([(residual @ own)[None], sums]), mine)
            for own, mine, sums in zip(waves, scores, flipped, strict=True)
        ]
    )
    largest = surprise.max(0)
    p = float((largest >= largest[0] * (1 - SAME)).mean())
    k = int(surprise[:, 0].argmax())
    name = list(directions)[k]
    size, share = _explained(waves[k], residual, slopes.shape[1])
    return Structure(p, name, len(directions), size, share, _thirds(directions[name], missed / root))


def _span(columns: Array) -> Array:
    """Return an orthonormal basis (n, r) of the columns (n, P)."""
    length = np.linalg.norm(columns, axis=0)
    left, size, _ = np.linalg.svd(columns / np.where(length > 0, length, 1), full_matrices=False)
    return left[:, size > 1e-10 * size.max()]


def _directions(problem: Problem, used: NDArray[np.bool_]) -> dict[str, Array]:
    """Return ln of every variable that varies (n,), and of ratios and products of two of them."""
    table, law = problem.table, problem.law
    letters = dict.fromkeys([*law.variables, *(v for v in DESCRIBING if table.has(v))])
    logs = {v: np.log(table.variable(v))[used] for v in letters}
    logs = {v: x - x.mean() for v, x in logs.items() if np.ptp(x) > SAME}
    found = dict(logs)
    for v, w in combinations(logs, 2):
        found[f"{w}/{v}"] = logs[w] - logs[v]
        found["C" if {v, w} == {"N", "D"} else f"{v} {w}"] = logs[w] + logs[v]
    return {name: x for name, x in found.items() if np.ptp(x) > SAME}


def _scores(waves: Array, noise: Array, number: NDArray[np.int64]) -> Array:
    """Return each cluster's projections of the noise on waves (n, K): (clusters, K)."""
    scores = np.zeros((number.max() + 1, waves.shape[1]))
    np.add.at(scores, number, waves * noise[:, None])
    return scores


def _flip(scores: Array, seed: int) -> Array:
    """Return the sums (FLIPS, K) of the clusters' projections (clusters, K) with signs drawn anew."""
    rng = np.random.default_rng((seed, 5))
    at_once, sums = max(1, FLIPPED_NUMBERS // len(scores)), np.empty((FLIPS, scores.shape[1]))
    for begin in range(0, FLIPS, at_once):
        some = sums[begin : begin + at_once]
        some[:] = rng.choice((-1.0, 1.0), (len(some), len(scores))) @ scores
    return sums


def _surprise(sums: Array, scores: Array) -> Array:
    """Return -ln p (1 + F,) of projections (1 + F, K): the residuals', and flips of the noise."""
    if not scores.shape[1]:
        return np.zeros(len(sums))
    inverse = np.linalg.pinv(scores.T @ scores, rcond=1e-10, hermitian=True)
    wald = np.einsum("fk,kl,fl->f", sums, inverse, sums)
    return -np.log(np.maximum(chdtrc(np.linalg.matrix_rank(inverse), wald), 1e-300))


def _own(x: Array, root: Array, basis: Array) -> Array:
    """Return waves of the rank of x (n, K), orthonormal, without what the law's slopes can follow."""
    rank = (np.searchsorted(np.sort(x), x, "left") + np.searchsorted(np.sort(x), x, "right")) / (2 * len(x))
    waves = root[:, None] * np.cos(np.pi * rank[:, None] * np.arange(1, WAVES + 1))
    waves = waves / np.linalg.norm(waves, axis=0)
    left = waves - basis @ (basis.T @ waves)
    left = left[:, np.linalg.norm(left, axis=0) > OWN]
    return _span(left) if left.shape[1] else left


def _explained(waves: Array, residual: Array, n_params: int) -> tuple[float, float]:
    """Return the root mean square of the residual's part along the waves, and its share, less chance's."""
    along, whole = float(((residual @ waves) ** 2).sum()), float((residual**2).sum())
    freedom = len(residual) - n_params
    by_chance = waves.shape[1] * (whole - along) / max(freedom - waves.shape[1], 1)
    beyond = max(along - by_chance, 0.0)
    return float(np.sqrt(beyond / len(residual))), beyond / whole


def _thirds(x: Array, missed: Array) -> tuple[float, float, float]:
    low, high = np.quantile(x, (1 / 3, 2 / 3))
    parts = (missed[x <= low], missed[(x > low) & (x <= high)], missed[x > high])
    return tuple(float(part.mean()) if len(part) else 0.0 for part in parts)  # pyright: ignore
