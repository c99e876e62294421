"""A score with its standard error and 95 % interval: of proportions, means, and anything by bootstrap."""

import math
from collections.abc import Callable, Iterator, Sequence, Sized
from functools import lru_cache
from typing import TypedDict

import numpy as np

from lora_jax.errors import LoraJaxError

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
RESAMPLES = 1000
BLOCK = 500_000  # most counts in memory at once

Values = Sequence[float] | np.ndarray
# Maps counts_RN to scores (R,) of a set of N examples. In row r, example n counts counts_RN[r, n] times.
CountedScore = Callable[[np.ndarray], np.ndarray]


class Score(TypedDict):
    """A score over examples.

    Attributes:
        value: The score, in its own unit.
        se: Its standard error over the examples.
        ci95: The ends of its 95 % interval.
    """

    value: float
    se: float
    ci95: tuple[float, float]


def interval(
    values: Values | CountedScore, n: int | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> Score:
    """Return a score over examples with its interval.

    Numbers give their mean, with Student's t. Booleans give their share, by `wilson`. A function of counts
    gives its value if each example counts once, with the percentile bootstrap over examples (Efron 1979).

    Args:
        values: One value for each example, or a function of counts.
        n: Number of examples, for a function of counts.
        seed: Seed of the bootstrap. Equal n and seed draw equal examples.
        resamples: Number of draws.

    Raises:
        LoraJaxError: There are no examples, or only one if a spread is needed.
    """
    if callable(values):
        return _bootstrap(values, _check_some(n or 0), seed, resamples)
    array_N = np.asarray(values)
    n = _check_some(len(array_N))
    if array_N.dtype == bool:
        return wilson(int(array_N.sum()), n)
    if n == 1:
        raise LoraJaxError("There is one example, which has no spread: the interval of a mean needs two.")
    from scipy.special import stdtrit

    mean, se = float(array_N.mean()), float(array_N.std(ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.975)) * se
    return Score(value=mean, se=se, ci95=(mean - half, mean + half))


def wilson(n_hits: int, n: int) -> Score:
    """Return a proportion with Wilson's score interval (1927). It also holds at 0 and 1, where se is 0."""
    p = n_hits / _check_some(n)
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    ends = (max(0.0, centre - half), min(1.0, centre + half))
    return Score(value=p, se=math.sqrt(p * (1 - p) / n), ci95=ends)


def ratio_interval(losses: np.ndarray, weights: np.ndarray) -> Score:
    """Return the mean loss per token.

    Its standard error over examples is that of a ratio, by the delta method.

    Args:
        losses: Summed loss of each example (N,).
        weights: Tokens of each example (N,).
    """
    mean = float(losses.sum() / weights.sum())
    n = len(losses)
    se = math.sqrt(n / (n - 1) * float(np.square(losses - mean * weights).sum())) / float(weights.sum())
    return Score(value=mean, se=se, ci95=(mean - Z95 * se, mean + Z95 * se))


def difference(
    ours: Values | CountedScore,
    theirs: Values | CountedScore,
    n: int | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Score:
    """Return ours - theirs on the same examples, with its interval. What is hard for both does not widen it.

    Two lists of values (right and wrong as 1 and 0) use Student's t on the differences. Two functions of
    counts use the paired bootstrap (Koehn 2004), in which each draw of examples serves both.

    Args:
        ours: Values or a function of counts, as in `interval`.
        theirs: The same of the other score.
        n: Number of examples, for functions of counts.
        seed: Seed of the bootstrap.
        resamples: Number of draws.

    Raises:
        LoraJaxError: The two are not alike, differ in length, or are empty.
    """
    if callable(ours) and callable(theirs):
        return interval(
            lambda counts_RN: ours(counts_RN) - theirs(counts_RN), n, seed=seed, resamples=resamples
        )
    if callable(ours) or callable(theirs):
        raise LoraJaxError(
            "One score is a function and the other is not, but they must be alike: change one."
        )
    check_alike(ours, theirs, "values of one score", "of the other")
    return interval(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))


def check_alike(first: Sized, second: Sized, one: str, other: str) -> None:
    """Check that two lists have one length and are not empty.

    Raises:
        LoraJaxError: They differ in length or are empty.
    """
    if len(first) != len(second):
        raise LoraJaxError(f"There are {len(first)} {one} and {len(second)} {other}: give one for each.")
    _check_some(len(first))


def _check_some(n: int) -> int:
    if n < 1:
        raise LoraJaxError("There are no examples to score: give at least one.")
    return n


def _bootstrap(score: CountedScore, n: int, seed: int, resamples: int) -> Score:
    (value,) = score(np.ones((1, n)))
    scores_R = np.concatenate([score(counts_RN) for counts_RN in _draw_counts(n, seed, resamples)])
    low, high = np.quantile(scores_R, [0.025, 0.975])
    return Score(value=float(value), se=float(scores_R.std(ddof=1)), ci95=(float(low), float(high)))


@lru_cache(maxsize=2)  # several scores use the same examples, one after another
def _draw_rows(n: int, seed: int, resamples: int) -> np.ndarray:
    """Return the examples of each resample, int32 (R, N)."""
    return np.random.Generator(np.random.PCG64([seed, n])).integers(0, n, (resamples, n), dtype=np.int32)


def _draw_counts(n: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    rows_RN = _draw_rows(n, seed, resamples)
    step = max(1, BLOCK // n)
    for start in range(0, resamples, step):
        block = rows_RN[start : start + step]
        yield np.stack([np.bincount(rows_N, minlength=n) for rows_N in block]).astype(np.float64)
