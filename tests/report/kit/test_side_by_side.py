"""Points of one size stand side by side: apart, in order, about where they belong."""

import itertools

import numpy as np
import pytest

from lora_jax.report.kit.side_by_side import side_by_side


@pytest.mark.parametrize("seed", range(5))
def test_places_are_apart_in_order_and_about_where_they_were(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = list(map(float, np.round(rng.uniform(0, 5, 30))))
    moved = side_by_side(places, 0.1)
    order = sorted(range(30), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 0.1 - 1e-12 for a, b in itertools.pairwise(order))
    assert np.mean(moved) == pytest.approx(np.mean(places))
    assert max(abs(m - p) for m, p in zip(moved, places, strict=True)) < 30 * 0.1


def test_what_is_apart_does_not_move_and_equals_are_spread_evenly() -> None:
    assert side_by_side([3.0, 1.0, 2.0], 0.5) == [3.0, 1.0, 2.0]
    assert side_by_side([1.0, 5.0, 1.0, 1.0], 0.5) == pytest.approx([0.5, 5.0, 1.0, 1.5])
    assert side_by_side([], 1.0) == []


def test_no_other_places_are_nearer() -> None:
    """The sum of squares is the least: no move of one block of neighbours makes it smaller."""
    places, gap = [0.0, 0.05, 0.1, 0.6, 0.62], 0.2
    moved = side_by_side(places, gap)
    least = sum((m - p) ** 2 for m, p in zip(moved, places, strict=True))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        other = np.sort(np.asarray(moved) + rng.normal(0, 0.05, 5))
        if np.all(np.diff(other) >= gap):
            assert np.sum((other - places) ** 2) >= least - 1e-12
