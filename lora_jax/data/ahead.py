"""Batches made in a thread, ahead of the loop that trains on them, so that it does not wait for data."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

AHEAD = 8  # batches; a batch that comes late because a block is first read and hashed finds others there


class BatchesAhead(Generic[T]):
    """The batches of some steps, in their order, a few of them made before they are asked for.

    An exception of making batch n is raised in the place of batch n. Use it as a context manager, or call
    `close`: then its thread ends.

    Attributes:
        waited_seconds: How long `next` has waited for batches in all.
    """

    def __init__(self, make: Callable[[int], T], steps: Iterable[int], n_ahead: int = AHEAD) -> None:
        """Start making batches.

        Args:
            make: Returns the batch of a step; a pure function, called in another thread.
            steps: The steps in the order in which their batches are asked for.
            n_ahead: Most batches that are ready and not asked for yet.
        """
        self.waited_seconds = 0.0
        self._make, self._steps, self._n_ahead = make, steps, n_ahead
        self._ready: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_closed = self._is_done = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="batches-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        began = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_done)
            self.waited_seconds += time.perf_counter() - began
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """End the thread; batches that were not asked for are dropped."""
        with self._changed:
            self._is_closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        try:
            for step in self._steps:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed or len(self._ready) < self._n_ahead)
                    if self._is_closed:
                        return
                batch = self._make(step)
                with self._changed:
                    if not self._is_closed:
                        self._ready.append(batch)
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._is_done = True
                self._changed.notify_all()
