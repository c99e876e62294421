"""Ctrl-C and SIGTERM.

In training they are a request that the next step answers. Elsewhere they end the program.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
TICK = 0.05  # seconds between two looks at whether a signal has been answered
AGAIN = 1.0  # seconds that cleaning up may take before the signal is raised once more
PATIENCE = 5.0  # seconds after which the process ends, answered or not
# Within so many seconds a second SIGTERM is an echo of the first one. A cluster's scheduler may signal a job
# and all of its processes, and the process that started this one passes on what it got.
ECHO = 10.0


class StopRequest:
    """Set by the first SIGINT or SIGTERM. A second one ends the program at once, unless it is an echo."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._asked_at = 0.0

    def __call__(self) -> bool:
        return self.signum is not None

    @property
    def exit_status(self) -> int:
        """The exit status of a program that a signal ended: 128 + its number, as the shell has it."""
        return 128 + (self.signum or 0)

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Note a signal. A second one of the same run ends the process at once."""
        if self.signum == signum == signal.SIGTERM and time.monotonic() < self._asked_at + ECHO:
            return
        if self.signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self.signum, self._asked_at = signum, time.monotonic()
        name = signal.Signals(signum).name
        # We write straight to the descriptor. A print in a handler fails if the signal interrupted a print.
        os.write(2, f"\n{name}: saving, then stopping (once more: stop at once)\n".encode())


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Turn SIGINT and SIGTERM into a StopRequest for the duration of the block."""
    request = StopRequest()
    before = {s: signal.signal(s, request.receive) for s in ENDING}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class Terminated(BaseException):
    """SIGTERM outside training, where there is no state to save. No handler of errors may swallow it."""


class EndRequest:
    """A SIGINT or SIGTERM that is raised inside one call, again and again, until that call is left.

    An exception that a handler raises can get lost. Python ignores exceptions in some places (`__del__`,
    callbacks of the garbage collector). A library may catch everything. An import may turn it into an
    ImportError. So we do not raise it in an import, and we raise it again if it was lost. After PATIENCE, or
    at a second signal, the process ends without it.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._ends_at = self._raises_at = 0.0

    def run(self, action: Callable[[], int]) -> int:
        """Call `action`. Exceptions are raised only inside this frame, so that its caller can catch them."""
        return action()

    def note_lost(self) -> None:
        """Note that an exception was ignored, so that it is raised again soon."""
        self._raises_at = 0.0

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Ask the main thread to end. A second signal ends the process at once."""
        if self.signum is not None:
            _leave(self.signum, frame)
        self.signum = signum
        self._ends_at = time.monotonic() + PATIENCE
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        self._raise(frame)

    def _tick(self, _: int, frame: FrameType | None) -> None:
        assert self.signum is not None  # only a signal sets the timer
        if signal.getsignal(self.signum) != self.receive:  # training has begun, and it saves its state
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(self.signum)
        elif time.monotonic() > self._ends_at:
            _leave(self.signum, frame)
        elif time.monotonic() > self._raises_at:
            self._raise(frame)

    def _raise(self, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not EndRequest.run.__code__:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return  # it is raised at a later tick
            frame = frame.f_back
        if frame is not None:
            self._raises_at = time.monotonic() + AGAIN
            raise KeyboardInterrupt if self.signum == signal.SIGINT else Terminated


@contextmanager
def end_requests() -> Generator[EndRequest]:
    """Raise SIGINT and SIGTERM inside EndRequest.run during the block. Use it in the main thread only."""
    request = EndRequest()
    report = sys.unraisablehook

    def hear(lost: "sys.UnraisableHookArgs") -> None:
        if request.signum is None:
            report(lost)
        else:  # it is the signal or follows from it, so its stack trace helps nobody
            request.note_lost()

    before = {s: signal.getsignal(s) for s in (*ENDING, signal.SIGALRM)}
    sys.unraisablehook = hear
    for signum in ENDING:
        signal.signal(signum, request.receive)
    try:
        yield request
    finally:
        if request.signum is not None:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # an alarm on its way would end the process
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        sys.unraisablehook = report


def end_at_once() -> None:
    """Let SIGINT and SIGTERM end this process with one line. Use it at a program's start and very end.

    There is nothing to clean up then. An exception would only be a stack trace from an import or from the
    interpreter's last steps.
    """
    for signum in ENDING:
        signal.signal(signum, _leave)


def say_stopped(signum: int) -> str:
    """Return the line that a program prints if a signal stopped it."""
    name = signal.Signals(signum).name
    return f"lora-jax: stopped by {name}; every finished run is kept, the same command goes on from here."


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f"{say_stopped(signum)}\n".encode())
    os._exit(128 + signum)
