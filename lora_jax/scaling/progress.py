"""What a long computation says of itself while it runs: which step it is at, and how much of that is done.

Nothing is printed here. Who wants to show it listens; without a listener nothing happens.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]  # the step in words, parts that are done, parts in all
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every step that begins inside, and each time that some of its parts are done."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def unheard() -> Iterator[None]:
    """Tell nobody of the steps that begin inside, as where they are parts of one that is told of."""
    before = _listener.set(None)
    try:
        yield
    finally:
        _listener.reset(before)


def begin_step(words: str, parts: int) -> Callable[[int], None]:
    """Begin a step of so many parts; return what is told how many more are done, by any thread."""
    listener = _listener.get()
    if listener is None:
        return lambda n: None
    lock, done = threading.Lock(), 0

    def tell(n: int) -> None:
        nonlocal done
        with lock:
            done += n
            listener(words, done, parts)

    listener(words, 0, parts)
    return tell
