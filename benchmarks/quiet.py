"""How much else ran on the machine while something was timed: what makes a figure not worth keeping.

It falls unevenly: PyTorch's threads wait for one another at the end of each operation, and on a busy machine
its step was 20 times as long where ours was twice (docs/performance.md).
"""

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")


class Watch:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.perf_counter(), read_busy_seconds(), read_own_seconds()

    def others(self) -> float | None:
        """Return how many cores other processes kept busy on average; None where the system does not tell.

        Processes that this one started count as its own once they have ended and were waited for.
        """
        busy = read_busy_seconds()
        if busy is None or self._busy is None:
            return None
        own = read_own_seconds() - self._own
        return max(0.0, busy - self._busy - own) / (time.perf_counter() - self._started)


def read_busy_seconds() -> float | None:
    """Return the seconds that all cores together have worked since the machine began; None but on Linux."""
    if not STAT.exists():
        return None
    user, nice, system, _idle, _waiting, *interrupts = STAT.read_text().splitlines()[0].split()[1:8]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


def read_own_seconds() -> float:
    """Return the seconds that this process and its ended children have worked."""
    return sum(os.times()[:4])
