"""Of very many a page shows some: in their order, the wanted ones first, evenly, and it says so."""

import random
from itertools import pairwise

from lora_jax.report.kit.thinning import choose_evenly, say_left_out


def test_some_of_many_are_chosen_in_their_order_and_the_wanted_ones_first() -> None:
    rng = random.Random(0)
    for _ in range(300):
        items = list(range(rng.randrange(60)))
        first = {i for i in items if rng.random() < rng.choice([0.0, 0.1, 0.9])}
        most = rng.randrange(1, 60)
        chosen = choose_evenly(items, most, lambda i, first=first: i in first)
        assert chosen == sorted(set(chosen))
        assert len(chosen) == min(most, len(items))
        assert first <= set(chosen) or set(chosen) <= first


def test_those_that_are_chosen_are_spread_evenly_from_the_first_to_the_last() -> None:
    chosen = choose_evenly(range(10_000), 500, lambda _: False)
    assert (chosen[0], chosen[-1]) == (0, 9999)
    gaps = {b - a for a, b in pairwise(chosen)}
    assert gaps <= {20, 21}


def test_what_is_left_out_is_said() -> None:
    assert say_left_out(36, 36, "runs", "runs.csv") == ""
    said = say_left_out(500, 10_000, "runs", "runs.csv")
    assert said == "500 of 10,000 runs are shown; runs.csv has all."
