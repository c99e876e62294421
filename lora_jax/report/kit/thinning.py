"""What a page shows of very many: some of them, evenly, and a sentence of where all of them are."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def choose_evenly(items: Sequence[T], most: int, first: Callable[[T], bool]) -> list[T]:
    """Return at most `most` items in their order: those for which `first` holds, then others, evenly.

    Where more than `most` are first, these are chosen from evenly.
    """
    if len(items) <= most:
        return list(items)
    wanted = [i for i, item in enumerate(items) if first(item)]
    chosen = set(spread(wanted, most))
    rest = [i for i in range(len(items)) if i not in chosen]
    if len(wanted) < most:
        chosen |= set(spread(rest, most - len(chosen)))
    return [items[i] for i in sorted(chosen)]


def say_left_out(shown: int, n: int, what: str, where: str) -> str:
    """Return such as "500 of 10,000 runs are shown; runs.csv has all.", or nothing where all are shown."""
    return "" if shown == n else f"{shown:,} of {n:,} {what} are shown; {where} has all."


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the items, evenly, the first and the last among them."""
    n = len(items)
    if n <= most:
        return list(items)
    return [items[round(i * (n - 1) / max(1, most - 1))] for i in range(most)]
