"""What a long computation says of itself while it runs: which step it is at, and how much of that is done.

Nothing is printed here. Who wants to show it listens; without a listener nothing happens.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_showing = threading.RLock()  # held by whoever shows something, and where nothing may be shown
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


class Watcher(threading.Thread):
    """A thread that looks at the progress now and then, to show it, until it is ended.

    look: called every so many seconds, as `look` itself then says, first after `seconds`.
    """

    def __init__(self, look: Callable[[], float], seconds: float) -> None:
        super().__init__(daemon=True)
        self._look, self._seconds, self._ended = look, seconds, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._seconds):
            with _showing:
                self._seconds = self._look()

    def end(self) -> None:
        self._ended.set()


@contextmanager
def stand_still() -> Iterator[bool]:
    """Let no Watcher do anything inside; yield whether no other thread runs than this one and Watchers.

    A process can then be forked: its copy has this thread alone, and no other holds a lock that it may want.
    """
    with _showing:
        others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
        yield all(isinstance(thread, Watcher) for thread in others)
