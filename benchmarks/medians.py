"""The median of repetitions with an interval that assumes nothing of how they are distributed."""

import math
import statistics
from collections.abc import Sequence

from lora_jax.errors import LoraJaxError
from lora_jax.report.latency.results import Median

COVERAGE = 0.95
FEWEST = 6  # the range of fewer holds the true median less often: 1 - 2 / 2^5 is 0.94


def estimate_median(samples: Sequence[float]) -> Median:
    """Return the median with its interval, whose ends are two of the samples themselves, by their rank.

    The true median lies between the k-th smallest and the k-th largest of n independent samples unless fewer
    than k fall on one side of it: with probability 1 - 2 P(binomial(n, 1/2) < k). k is the largest for which
    that is at least 95 % (David and Nagaraja, Order Statistics, 3rd edition, section 7.1).

    Raises:
        LoraJaxError: fewer samples than an interval of 95 % needs.
    """
    n = len(samples)
    if n < FEWEST:
        raise LoraJaxError(f"got {n} samples, the 95 % interval of a median needs {FEWEST}: take more.")
    ranked = sorted(samples)
    k = find_rank(n)
    return Median(statistics.median(ranked), (ranked[k - 1], ranked[n - k]))


def find_rank(n: int) -> int:
    """Return k, counted from 1, of n samples."""
    below = 0  # of 2^n equally likely patterns of sides: those with fewer than k on a given one
    for k in range(n):
        below += math.comb(n, k)
        if 2 * below > (1 - COVERAGE) * 2**n:
            return k
    raise AssertionError("half of all patterns are more than the interval leaves out")
