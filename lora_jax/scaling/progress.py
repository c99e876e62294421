"""What a long computation reports while it runs: the current step, and how much of it is done.

Nothing is printed here. A caller who wants to show the progress listens. Without a listener nothing happens.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

_showing = threading.RLock()  # held while something is shown, and while nothing may be shown
Listener = Callable[[str, int, int], None]  # the step in words, parts that are done, parts in all
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Call `listener` when a step begins inside the block, and each time that some of its parts are done."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def unheard() -> Generator[None]:
    """Report no step that begins inside the block.

    Use it if those steps are parts of one that is reported already.
    """
    before = _listener.set(None)
    try:
        yield
    finally:
        _listener.reset(before)


def begin_step(words: str, parts: int) -> Callable[[int], None]:
    """Begin a step and return the function that reports its progress.

    Args:
        words: The step in words.
        parts: How many parts it has.

    Returns:
        A function, to be called with the number of parts that have ended since its last call. Any thread may
        call it.
    """
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
    """A thread that looks at the progress now and then and shows it, until it is ended.

    Args:
        look: Shows the progress, and returns the seconds until its next call.
        seconds: Seconds until the first call.
    """

    def __init__(self, look: Callable[[], float], seconds: float) -> None:
        super().__init__(daemon=True)
        self._look, self._seconds, self._ended = look, seconds, threading.Event()

    def run(self) -> None:
        """Look until the thread is ended."""
        while not self._ended.wait(self._seconds):
            with _showing:
                self._seconds = self._look()

    def end(self) -> None:
        """Ask the thread to end. It does not look again."""
        self._ended.set()


@contextmanager
def stand_still() -> Generator[bool]:
    """Keep every Watcher still inside the block, and yield whether only this thread and Watchers run.

    If so, the process can be forked. The copy has this thread only, and no other thread holds a lock that the
    copy may need.
    """
    with _showing:
        others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
        yield all(isinstance(thread, Watcher) for thread in others)
