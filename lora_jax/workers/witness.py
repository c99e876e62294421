"""Judge whether a worker still works, by this process's own clock alone."""

import time
from collections.abc import Callable
from pathlib import Path

from lora_jax.workers.process import is_neighbour, is_running
from lora_jax.workers.worker import STALE_SECONDS, WorkerState, read_worker

# we do not read a worker's file again within this time, because it may hold hundreds of leases
FRESH_SECONDS = 0.5


def is_over(state: WorkerState) -> bool:
    """Return whether a worker has ended: it said so, or its process on this machine is gone."""
    return state.ended is not None or (is_neighbour(state.process) and not is_running(state.process))


class Witness:
    """Remembers since when each worker's beat has its present value.

    A worker of this machine has ended as soon as its process has. A worker of another machine is gone if its
    beat has not changed for `stale_seconds`. Until then, a worker that we see for the first time counts as
    alive.

    Args:
        folder: The results folder.
        stale_seconds: The time without a new beat after which a worker is gone.
        clock: The clock, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        stale_seconds: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._stale, self._clock = folder, stale_seconds, clock
        # by worker: its beat, and since when it has this value; its file, and when we read it
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._read: dict[str, tuple[WorkerState | None, float]] = {}

    def is_alive(self, name: str) -> bool:
        """Return whether the worker of this name still works.

        A worker without a file gets the time to write it.
        """
        now, known = self._clock(), self._read.get(name)
        if known is None or now - known[1] >= FRESH_SECONDS:
            known = self._read[name] = (read_worker(self._folder, name), now)
        return self.judge(name, known[0])

    def judge(self, name: str, state: WorkerState | None) -> bool:
        """Return whether a worker still works.

        Args:
            name: Its name.
            state: What its file says. None if it has no file.
        """
        if state is not None and is_over(state):
            return False
        beat, now = None if state is None else state.beat, self._clock()
        known = self._seen.get(name)
        if known is None or known[0] != beat:
            known = self._seen[name] = (beat, now)
        return now - known[1] < self._stale
