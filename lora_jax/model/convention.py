"""Trace a model in the way its FLOPs are counted: with every attention score, and with sums as sums."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_counting = ContextVar("counting", default=False)


def is_counting() -> bool:
    """Return whether the program is traced to count its FLOPs and not to run."""
    return _counting.get()


@contextmanager
def counting() -> Generator[None]:
    """Trace without the shortcuts for a CPU, so that the count is the same on every machine.

    On a CPU attention leaves out scores that nothing sees, but the convention counts them (Hoffmann et al.
    2022, appendix F). And norms take their means by products, which the convention does not count.
    """
    token = _counting.set(True)
    try:
        yield
    finally:
        _counting.reset(token)
