"""Keep orbax's threads from printing failures on the terminal that orbax also raises."""

import logging
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager


class Quiet:
    """Keeps orbax's threads from printing the stack traces of failures that it raises as well.

    Several threads may ask for quiet at the same time. It lasts until the last of them has left its block.
    """

    def __init__(self) -> None:
        self._lock, self._n_asking, self._for_good = threading.Lock(), 0, False
        self._before: list[tuple[logging.Logger, int]] = []
        self._report = sys.unraisablehook

    @contextmanager
    def while_inside(self, stay_quiet: bool = False) -> Generator[None]:
        """Be quiet in the block.

        Args:
            stay_quiet: Whether to stay quiet after a failure as well. Writes that are under way then answer
                later, to an event loop that is already closed.
        """
        with self._lock:
            if self._n_asking == 0 and not self._for_good:
                self._begin()
            self._n_asking += 1
        failed = True
        try:
            yield
            failed = False
        finally:
            with self._lock:
                self._n_asking -= 1
                self._for_good |= failed and stay_quiet
                if self._n_asking == 0 and not self._for_good:
                    self._end()

    def _begin(self) -> None:
        loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
        self._before = [(logger, logger.level) for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        self._report, sys.unraisablehook = sys.unraisablehook, self._hear

    def _hear(self, lost: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(lost.exc_value, RuntimeError) and "loop is closed" in str(lost.exc_value)):
            self._report(lost)

    def _end(self) -> None:
        sys.unraisablehook = self._report
        for logger, level in self._before:
            logger.setLevel(level)


QUIET = Quiet()
