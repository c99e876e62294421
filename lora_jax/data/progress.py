"""Lines that say how far a long piece of work is and how long it will take."""

import time
from collections.abc import Callable

SAY_SECONDS = 5.0

Say = Callable[[str], None]


class Progress:
    """Says every few seconds how much is done, how fast it goes, and what is left."""

    def __init__(self, doing: str, total: float, unit: str, say: Say, done: float = 0.0) -> None:
        """Begin to count.

        Args:
            doing: What is done, in words.
            total: The whole work, in `unit`.
            unit: Name of the unit.
            say: Called with each line.
            done: What an earlier process did, in `unit`. It does not count for the speed.
        """
        self._doing, self._total, self._unit, self._say = doing, total, unit, say
        self._done = self._before = done
        self._began = self._said = time.monotonic()

    def add(self, amount: float) -> None:
        """Count work that is done, and say a line if one is due."""
        self._done += amount
        now = time.monotonic()
        if now - self._said < SAY_SECONDS or self._done >= self._total:
            return
        self._said = now
        speed = (self._done - self._before) / (now - self._began)
        self._say(
            f"{self._doing}: {self._done:,.0f} of {self._total:,.0f} {self._unit},"
            f" {speed:,.{1 if speed < 100 else 0}f} {self._unit}/s,"
            f" {_words((self._total - self._done) / speed)} left"
        )


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
