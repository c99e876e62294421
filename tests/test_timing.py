"""Things are timed in turns, and ratios are taken pair by pair."""

import statistics
import time

import pytest

from lora_jax.timing import divide, interleave


def test_actions_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    seconds = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert {name: len(samples) for name, samples in seconds.items()} == {"a": 3, "b": 3}


def test_what_is_slow_is_slow() -> None:
    delays = iter([0.2, 0.0, 0.05])  # the first is the warm-up's
    seconds = interleave({"sleep": lambda: time.sleep(next(delays))}, repeats=2)["sleep"]
    assert seconds[0] < 0.05 <= seconds[1] < 0.2


def test_a_ratio_is_taken_within_a_round() -> None:
    # Three times slower for a while: the pairs say 2, the medians by themselves would say 6.
    step, floor = [2.0, 6.0, 6.0], [1.0, 1.0, 3.0]
    assert divide(step, floor) == [2.0, 6.0, 2.0]
    assert statistics.median(divide(step, floor)) == 2.0
    with pytest.raises(ValueError, match="argument 2"):
        divide([1.0], [1.0, 2.0])
