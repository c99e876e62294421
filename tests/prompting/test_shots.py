"""Draws of demonstrations: balanced where asked, nested in k, orders that keep the set."""

from collections import Counter
from itertools import pairwise

import pytest

from lora_jax.data.tasks import Example
from lora_jax.errors import LoraJaxError
from lora_jax.prompting.shots import Shots, draw_shots

# Three labels, unevenly: 60, 30 and 10 of them.
LABELS = [0] * 60 + [1] * 30 + [2] * 10
TRAIN = tuple(Example(f"text {i}", None, label) for i, label in enumerate(LABELS))


def draw(k: int, **fields: int | bool) -> tuple[Example, ...]:
    return draw_shots(TRAIN, Shots(k, **fields), 3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("seed", range(5))
def test_balanced_draws_are_balanced(seed: int) -> None:
    for k in range(31):
        counts = Counter(e.label for e in draw(k, balanced=True, seed=seed))
        of_each = [counts[label] for label in range(3)]
        assert sum(of_each) == k
        assert max(of_each) - min(of_each) <= (k % 3 > 0)


@pytest.mark.parametrize("balanced", [False, True])
def test_fewer_shots_of_a_seed_are_a_subset_of_more(balanced: bool) -> None:
    for seed in range(3):
        sets = [set(draw(k, balanced=balanced, seed=seed)) for k in range(31)]
        assert [len(s) for s in sets] == list(range(31)), "no example twice"
        assert all(a < b for a, b in pairwise(sets))


@pytest.mark.parametrize("balanced", [False, True])
def test_orders_keep_the_set_and_seeds_do_not(balanced: bool) -> None:
    orders = {draw(8, balanced=balanced, order=order) for order in range(20)}
    assert len(orders) == 20
    assert len({frozenset(o) for o in orders}) == 1
    assert len({frozenset(draw(8, balanced=balanced, seed=seed)) for seed in range(20)}) == 20
    assert draw(8, balanced=balanced, seed=3, order=2) == draw(8, balanced=balanced, seed=3, order=2)


def test_no_label_has_a_place_of_its_own_in_balanced_prompts() -> None:
    """Recency would make the last label likelier (arXiv 2102.09690): each stands last about equally often."""
    last = Counter(draw(6, balanced=True, seed=s, order=o)[-1].label for s in range(20) for o in range(15))
    assert all(70 <= last[label] <= 130 for label in range(3)), last  # 100 of 300, sd 8


def test_random_draws_follow_the_training_set() -> None:
    counts = Counter(e.label for seed in range(100) for e in draw(10, seed=seed))
    assert 550 <= counts[0] <= 650  # 600 of 1000, sd below 15


@pytest.mark.parametrize(
    ("shots", "n_labels", "message"),
    [
        (Shots(101), 3, "shots.k is 101 and the training set has 100 examples"),
        (Shots(33, balanced=True), 3, "balanced 11 of them of label 2, and the training set has 10"),
        (Shots(4, balanced=True), 0, "this one has none"),
    ],
)
def test_more_than_there_are_is_refused(shots: Shots, n_labels: int, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        draw_shots(TRAIN, shots, n_labels)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"shots.k is -1"):
        Shots(-1)
