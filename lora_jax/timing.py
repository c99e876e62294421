"""Time several things in turns, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence

Say = Callable[[str], None]  # prints a line of progress


def interleave(actions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Call each action once a round (A B A B ...), and return the seconds of every call by name.

    We do not count one round before the first.

    Args:
        actions: The actions by name. An action returns when its work is done.
        repeats: Number of rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(repeats):
        for name, action in actions.items():
            seconds[name].append(time_call(action))
    return seconds


def time_call(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def divide(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of every pair. Both members of a pair were timed in one round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]
