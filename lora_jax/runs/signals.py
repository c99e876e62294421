"""Ctrl-C and SIGTERM as a request that training answers at the next step."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Set by the first SIGINT or SIGTERM; a second one ends the program at once."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self) -> bool:
        return self.signum is not None

    @property
    def exit_status(self) -> int:
        """The shell's convention for a program that a signal ended: 128 + its number."""
        return 128 + (self.signum or 0)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self.signum = signum
        name = signal.Signals(signum).name
        # Straight to the descriptor: a print in a handler fails where the signal came in the middle of one.
        os.write(2, f"\n{name}: saving, then stopping (once more: stop at once)\n".encode())


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a StopRequest for the duration of the block."""
    request = StopRequest()
    before = {s: signal.signal(s, request._receive) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
