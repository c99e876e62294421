"""Mixing and shuffling are exact: every sample comes once, in proportion, and looks random."""

import numpy as np
import pytest
from scipy import stats

from lora_jax.data.order import count_draws, order_key, permute, share_units

WEIGHTS = ([1.0], [0.6, 0.3, 0.1], [429, 67, 3], [1, 1, 1, 1, 1e-4])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 255, 256, 257, 1000, 4099])
def test_permute_is_a_bijection(n: int) -> None:
    for epoch in range(5):
        order = permute(np.arange(n), n, order_key(1, 0, epoch))
        assert sorted(order) == list(range(n))


def test_permute_does_not_depend_on_company() -> None:
    keys = order_key(3, 1, 0)
    together = permute(np.arange(1000), 1000, keys)
    assert [int(permute(np.array([i]), 1000, keys)[0]) for i in range(0, 1000, 37)] == list(together[::37])


def test_permute_holds_for_corpora_beyond_32_bits() -> None:
    n = 2**33 + 5
    places = permute(np.arange(2000) + 2**32, n, order_key(0, 0, 0))
    assert len(set(places)) == 2000
    assert places.min() >= 0
    assert n // 2 < places.max() < n


def test_permute_is_fixed_for_all_time() -> None:
    """A change of these numbers would silently change every run that is resumed."""
    assert permute(np.arange(8), 1000, order_key(0, 0, 0)).tolist() == FIXED


FIXED = [628, 941, 104, 627, 595, 11, 832, 256]


@pytest.mark.parametrize("n", [5, 12, 30])
def test_every_place_is_equally_likely(n: int) -> None:
    trials = 4000
    orders = np.array([permute(np.arange(n), n, order_key(seed, 0, 0)) for seed in range(trials)])
    for column in (0, n // 2, n - 1):
        assert stats.chisquare(np.bincount(orders[:, column], minlength=n)).pvalue > 1e-4
    following = (orders[:, 1] - orders[:, 0]) % n
    assert stats.chisquare(np.bincount(following, minlength=n)[1:]).pvalue > 1e-4


def test_orders_of_other_seeds_sources_and_epochs_are_unrelated() -> None:
    n = 5000
    orders = [
        permute(np.arange(n), n, order_key(seed, source, epoch))
        for seed in range(2)
        for source in range(2)
        for epoch in range(3)
    ]
    for i, one in enumerate(orders):
        assert abs(np.corrcoef(np.arange(n), one)[0, 1]) < 0.06
        for other in orders[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
            assert np.mean(one == other) < 0.002


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("start", [0, 10**10])
def test_each_sample_is_one_draw_and_shares_are_kept(weights: list[float], start: int) -> None:
    units = share_units(weights)
    n = start + np.arange(5001)
    counts = count_draws(n, units)
    assert (counts.sum(axis=1) == n).all()
    steps = np.diff(counts, axis=0)
    assert (steps.sum(axis=1) == 1).all()
    assert set(np.unique(steps)) <= {0, 1}
    exact = n[:, None] * (np.array(units) / sum(units))
    assert np.abs(counts - exact).max() < len(weights)
    assert np.array(units) / sum(units) == pytest.approx(np.array(weights) / sum(weights), rel=3e-3)
