"""Who judges whether a worker still works, by this process's own clock alone."""

import time
from collections.abc import Callable
from pathlib import Path

from lora_jax.workers.process import is_neighbour, is_running
from lora_jax.workers.worker import STALE_SECONDS, WorkerState, read_worker

FRESH_SECONDS = 0.5  # a worker's file is not read again so soon: it may hold hundreds of leases


def is_over(state: WorkerState) -> bool:
    """Has a worker said that it ended, or has its process on this machine ended without a word?"""
    return state.ended is not None or (is_neighbour(state.process) and not is_running(state.process))


class Witness:
    """Remembers when each worker's beat was first seen as it is now.

    A worker of this machine has ended as soon as its process has. One of another machine is gone when its
    beat has not changed for `stale_seconds`. A worker that is seen for the first time is alive until then.
    """

    def __init__(
        self,
        folder: Path,
        stale_seconds: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._stale, self._clock = folder, stale_seconds, clock
        self._seen: dict[str, tuple[int | None, float]] = {}  # by worker: its beat, and since when
        self._read: dict[str, tuple[WorkerState | None, float]] = {}  # by worker: its file, and when

    def is_alive(self, name: str) -> bool:
        """Does the worker of this name still work? One without a file is given the time to write it."""
        now, known = self._clock(), self._read.get(name)
        if known is None or now - known[1] >= FRESH_SECONDS:
            known = self._read[name] = (read_worker(self._folder, name), now)
        return self.judge(name, known[0])

    def judge(self, name: str, state: WorkerState | None) -> bool:
        """Say the same of what its file says; None where it has none."""
        if state is not None and is_over(state):
            return False
        beat, now = None if state is None else state.beat, self._clock()
        known = self._seen.get(name)
        if known is None or known[0] != beat:
            known = self._seen[name] = (beat, now)
        return now - known[1] < self._stale
