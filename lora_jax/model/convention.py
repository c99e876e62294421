"""Trace a model as its FLOPs are counted: every attention score, and sums that are no products."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_counting = ContextVar("counting", default=False)


def is_counting() -> bool:
    """Is the program traced to be counted, and not to be run?"""
    return _counting.get()


@contextmanager
def counting() -> Iterator[None]:
    """Trace without the ways of a CPU, so that the count is the same on every machine.

    There attention leaves out scores that nobody sees, which the convention counts (Hoffmann et al. 2022,
    appendix F), and norms take their means by products, which it does not.
    """
    token = _counting.set(True)
    try:
        yield
    finally:
        _counting.reset(token)
