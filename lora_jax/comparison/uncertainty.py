"""Intervals of a score that depends on both seeds and test examples.

Every run answers the same test examples. So seeds and examples are crossed random effects: x_SN = mean +
seed_S + example_N + rest_SN. A new test set and new seeds would give another mean.
"""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import stdtr

from lora_jax.comparison.estimates import Difference, Score

Array = NDArray[np.float64]
SEED = 20_406  # seed of the bootstrap, so that the same records give the same interval
CROSSED = (
    "the mean over seeds and test examples, as two-way random effects. Its variance has two parts. The seeds'"
    " part is the variance of the runs' scores / seeds. The examples' part is the variance of an example's"
    " mean over seeds / examples. The residual variance / (seeds x examples) would be in both, so we take it"
    " out of the examples' part. The interval is that of a sum: Student's t with seeds - 1 degrees of freedom"
    " for the seeds' part, and a normal for the examples' (the Behrens-Fisher distribution). With one seed it"
    " is Student's t over the examples alone"
)
PER_RUN = (
    "the mean over seeds. Its variance has two parts. The seeds' part is the variance of the runs' scores /"
    " seeds. The examples' part is the mean over runs of ((high - low) / 2 / 1.96)^2, where low and high come"
    " from each run's own interval of 95 %. The interval is that of a sum: Student's t with seeds - 1 degrees"
    " of freedom for the seeds' part, and a normal for the examples'"
)
PAIRED = (
    "the mean of the differences at each test example and seed. Its variance has the same two parts. For the"
    " examples' part we draw test examples anew (a bootstrap). For the seeds' part we take Student's t with"
    " seeds - 1 degrees of freedom, because drawing three seeds anew would lose a third of their variance"
)


@dataclass(frozen=True)
class _Parts:
    """The parts of a table (seeds, examples).

    Attributes:
        mean: Its mean.
        seeds: Variance of its row means. It is that of a seed's effect + residual / examples.
        examples: Variance of its column means. It is own + residual / seeds.
        own: Variance of an example's effect.
        residual: Variance of what is left.
    """

    mean: float
    seeds: float
    examples: float
    own: float
    residual: float


def _split(values_SN: Array) -> _Parts:
    n_seeds, n = values_SN.shape
    mean, by_seed, by_example = values_SN.mean(), values_SN.mean(1), values_SN.mean(0)
    variance = float(by_example.var(ddof=1))
    if n_seeds == 1:
        return _Parts(float(mean), 0.0, variance, variance, 0.0)
    rest = values_SN - by_seed[:, None] - by_example[None] + mean
    residual = float((rest**2).sum() / ((n_seeds - 1) * (n - 1)))
    own = max(0.0, variance - residual / n_seeds)
    return _Parts(float(mean), float(by_seed.var(ddof=1)), variance, own, residual)


def crossed_mean(values_SN: Array, bounds: tuple[float, float] | None = None) -> Score:
    """Return the mean over seeds and examples with its interval (see CROSSED and `_with_interval`).

    Args:
        values_SN: One value for each seed and test example.
        bounds: Smallest and largest possible score. The interval is cut there.
    """
    n_seeds, n = values_SN.shape
    parts = _split(values_SN)
    if n_seeds == 1:
        found = _with_interval(parts.mean, 0.0, parts.examples / n, 1)
        half = float(stats.t.ppf(0.975, n - 1)) * (parts.examples / n) ** 0.5
        found = replace(found, df=n - 1, ci95=(parts.mean - half, parts.mean + half))
    else:
        found = _with_interval(parts.mean, parts.seeds / n_seeds, parts.own / n, n_seeds)
        found = replace(found, seed_sd=max(0.0, parts.seeds - parts.residual / n) ** 0.5)
    if bounds is not None:
        found = replace(found, ci95=(max(found.low, bounds[0]), min(found.high, bounds[1])))
    return found


def mean_of_runs(scores_S: Array, ses_S: Array) -> Score:
    """Return the mean of runs' scores that have standard errors of their own, such as BLEU (see PER_RUN).

    We average the sampling variances and do not divide them by the number of seeds, because all runs answer
    the same examples. The spread between runs may already contain a part of them. We do not know how large
    that part is, so this interval is on the wide side.

    Args:
        scores_S: The scores (S,).
        ses_S: Their standard errors (S,).
    """
    n_seeds = len(scores_S)
    between = float(scores_S.var(ddof=1)) if n_seeds > 1 else 0.0
    found = _with_interval(float(scores_S.mean()), between / n_seeds, float((ses_S**2).mean()), n_seeds)
    return replace(found, seed_sd=between**0.5 if n_seeds > 1 else None)


def _with_interval(mean: float, of_seeds: float, of_examples: float, n_seeds: int) -> Score:
    """Return a score from the variances of its two parts. `seed_sd` is not known yet."""
    half = _quantile(0.975, of_seeds**0.5, of_examples**0.5, n_seeds - 1)
    return Score(
        mean,
        (of_seeds + of_examples) ** 0.5,
        (mean - half, mean + half),
        seed_se=of_seeds**0.5,
        test_se=of_examples**0.5,
        df=n_seeds - 1 or None,
        seed_sd=None,
    )


def _quantile(share: float, of_seeds: float, of_examples: float, df: int) -> float:
    """Return the quantile of of_seeds T + of_examples Z.

    T is Student's t with df degrees of freedom, Z is normal.
    """
    if of_seeds == 0 or df == 0:
        return float(stats.norm.ppf(share)) * of_examples
    above = 2 * (float(stats.t.ppf(share, df)) * of_seeds + float(stats.norm.ppf(share)) * of_examples)
    return cast(float, brentq(lambda x: _chance(x, of_seeds, of_examples, df) - share, 0.0, above))


def _chance(x: float, of_seeds: float, of_examples: float, df: int) -> float:
    """Return the probability that of_seeds T + of_examples Z is at most x, by the trapezoid rule over Z."""
    if of_seeds == 0 or df == 0:
        return float(stats.norm.cdf(x / of_examples)) if of_examples > 0 else float(x >= 0)
    z = np.linspace(-8.0, 8.0, 801)
    weights = np.exp(-(z**2) / 2) / (2 * np.pi) ** 0.5 * (z[1] - z[0])
    return float(weights @ stdtr(df, (x - of_examples * z) / of_seeds))


def paired_difference(differences_SN: Array, n_draws: int = 4000) -> Difference:
    """Return the mean of paired differences with its interval (see PAIRED).

    The residual counts for the seeds' part and is taken out of the examples' part. p is two-sided: twice the
    share of draws beyond 0, and at least 2 / n_draws.

    Args:
        differences_SN: One difference for each seed and test example.
        n_draws: Number of bootstrap draws.
    """
    n_seeds, n = differences_SN.shape
    parts = _split(differences_SN)
    rng = np.random.default_rng(SEED)
    by_example = differences_SN.mean(0) - parts.mean
    moved = np.concatenate(
        [by_example[rng.integers(n, size=(200, n), dtype=np.int32)].mean(1) for _ in range(n_draws // 200)]
    )
    if parts.examples > 0:
        moved *= (parts.own / parts.examples) ** 0.5
    variance = parts.own / n
    if n_seeds > 1:
        # We take one draw from each stratum of probability. Otherwise long tails would make the ends noisy.
        chance = (rng.permutation(len(moved)) + 0.5) / len(moved)
        moved = moved + stats.t.ppf(chance, n_seeds - 1) * (parts.seeds / n_seeds) ** 0.5
        variance += parts.seeds / n_seeds
    draws = parts.mean + moved
    beyond = min(float((draws <= 0).mean()), float((draws >= 0).mean()))
    low, high = np.quantile(draws, [0.025, 0.975])
    p = min(1.0, max(2 * beyond, 2 / n_draws))
    return Difference(parts.mean, variance**0.5, (float(low), float(high)), p=p)


def unpaired_difference(ours: Score, theirs: Score) -> Difference:
    """Return the difference of two scores as if their errors were independent.

    The interval is on the wide side.

    The variances of both parts add up. Student's t has the degrees of freedom of the score with fewer seeds.
    """
    of_seeds = (ours.seed_se**2 + theirs.seed_se**2) ** 0.5
    of_examples = (ours.test_se**2 + theirs.test_se**2) ** 0.5
    df = min((score.df or 0 for score in (ours, theirs) if score.seed_se > 0), default=0)
    value = ours.value - theirs.value
    half = _quantile(0.975, of_seeds, of_examples, df)
    p = min(1.0, 2 * (1 - _chance(abs(value), of_seeds, of_examples, df)))
    return Difference(value, (of_seeds**2 + of_examples**2) ** 0.5, (value - half, value + half), p=p)


def holm(p_values: list[float], level: float = 0.05) -> list[bool]:
    """Return which differences stand after correcting for their number (Holm 1979)."""
    stands = [False] * len(p_values)
    for k, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[i] > level / (len(p_values) - k):
            break
        stands[i] = True
    return stands
