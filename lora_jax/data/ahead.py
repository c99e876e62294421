"""Batches made ahead in a thread, so that the loop that trains on them does not wait for data."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

AHEAD = 8  # batches that are ready ahead; one is late when it has to read and hash a block for the first time


class BatchesAhead(Generic[T]):
    """The batches of some steps, in their order. A few of them are made before they are asked for.

    If making batch n raises an exception, it is raised in the place of batch n. Use this as a context manager
    or call `close`, so that its thread ends.

    Attributes:
        waited_seconds: How long `next` has waited for batches, in total.
    """

    def __init__(self, make: Callable[[int], T], steps: Iterable[int], n_ahead: int = AHEAD) -> None:
        """Start making batches.

        Args:
            make: Returns the batch of a step. It must be a pure function, because another thread calls it.
            steps: The steps, in the order in which their batches are asked for.
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
        """End the thread. Batches that were not asked for are dropped."""
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
