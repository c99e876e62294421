"""Medians with intervals, beside SciPy's binomial."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.medians import FEWEST, estimate_median, find_rank
from lora_jax.errors import LoraJaxError
from lora_jax.report.latency.results import Median


@pytest.mark.parametrize("n", [*range(FEWEST, 40), 99, 100, 101, 1000])
def test_the_rank_is_the_narrowest_that_covers_95_percent(n: int) -> None:
    k = find_rank(n)
    assert k == binom.ppf(0.025, n, 0.5)
    assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.95 > 1 - 2 * binom.cdf(k, n, 0.5)


def test_the_interval_of_100_is_the_40th_and_the_61st() -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 101.0)).tolist()
    assert estimate_median(samples) == Median(50.5, (40.0, 61.0))


def test_it_follows_any_rising_change_of_scale() -> None:
    samples = np.random.default_rng(1).lognormal(size=51).tolist()
    plain, logs = estimate_median(samples), estimate_median(np.log(samples).tolist())
    assert np.log([plain.value, *plain.ci95]) == pytest.approx([logs.value, *logs.ci95])


def test_too_few_are_refused() -> None:
    with pytest.raises(LoraJaxError, match="got 5 samples"):
        estimate_median([1.0] * 5)
