"""Ctrl-C and SIGTERM: in training a request that the next step answers, elsewhere the end of the program."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
TICK = 0.05  # seconds between two looks at whether a signal has been answered
AGAIN = 1.0  # seconds that whatever is cleaned up has before the signal is raised once more
PATIENCE = 5.0  # seconds after which the process ends, answered or not
# Seconds in which a second SIGTERM is the first one once more: a cluster's scheduler may signal a job and all
# of its processes, and the process that started this one passes on what it got.
ECHO = 10.0


class StopRequest:
    """Set by the first SIGINT or SIGTERM; a second one ends the program at once, if it is no echo."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._asked_at = 0.0

    def __call__(self) -> bool:
        return self.signum is not None

    @property
    def exit_status(self) -> int:
        """The shell's convention for a program that a signal ended: 128 + its number."""
        return 128 + (self.signum or 0)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.signum == signum == signal.SIGTERM and time.monotonic() < self._asked_at + ECHO:
            return
        if self.signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self.signum, self._asked_at = signum, time.monotonic()
        name = signal.Signals(signum).name
        # Straight to the descriptor: a print in a handler fails where the signal came in the middle of one.
        os.write(2, f"\n{name}: saving, then stopping (once more: stop at once)\n".encode())


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a StopRequest for the duration of the block."""
    request = StopRequest()
    before = {s: signal.signal(s, request._receive) for s in ENDING}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class Terminated(BaseException):
    """SIGTERM outside training, where no state is to be saved; no handler of errors may swallow it."""


class EndRequest:
    """A SIGINT or SIGTERM that is raised inside one call until that call is left, however often it is lost.

    An exception that a handler raises is lost where Python ignores exceptions (`__del__`, callbacks of the
    garbage collector) and where a library catches everything, and an import may turn it into an ImportError.
    So it is not raised in an import, is raised again where it was lost, and after PATIENCE, or a second
    signal, the process ends without it.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._ends_at = self._raises_at = 0.0

    def run(self, action: Callable[[], int]) -> int:
        """Call `action`; only inside this frame is anything raised, so that who calls it can catch it."""
        return action()

    def note_lost(self) -> None:
        """Raise again soon: an exception was ignored."""
        self._raises_at = 0.0

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            _leave(self.signum, frame)
        self.signum = signum
        self._ends_at = time.monotonic() + PATIENCE
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        self._raise(frame)

    def _tick(self, _: int, frame: FrameType | None) -> None:
        assert self.signum is not None  # the timer is set by a signal alone
        if signal.getsignal(self.signum) != self._receive:  # training has begun meanwhile: it saves its state
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(self.signum)
        elif time.monotonic() > self._ends_at:
            _leave(self.signum, frame)
        elif time.monotonic() > self._raises_at:
            self._raise(frame)

    def _raise(self, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not EndRequest.run.__code__:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return  # at a later tick
            frame = frame.f_back
        if frame is not None:
            self._raises_at = time.monotonic() + AGAIN
            raise KeyboardInterrupt if self.signum == signal.SIGINT else Terminated


@contextmanager
def end_requests() -> Iterator[EndRequest]:
    """Raise SIGINT and SIGTERM inside EndRequest.run for the duration of the block; main thread only."""
    request = EndRequest()
    report = sys.unraisablehook

    def hear(lost: "sys.UnraisableHookArgs") -> None:
        if request.signum is None:
            report(lost)
        else:  # it is the signal, or follows from it: its stack trace says nothing to anybody
            request.note_lost()

    before = {s: signal.getsignal(s) for s in (*ENDING, signal.SIGALRM)}
    sys.unraisablehook = hear
    for signum in ENDING:
        signal.signal(signum, request._receive)
    try:
        yield request
    finally:
        if request.signum is not None:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that is under way would end the process
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        sys.unraisablehook = report


def end_at_once() -> None:
    """Let SIGINT and SIGTERM end this process with their line, for a program's start and its very end.

    Before any work and after all of it there is nothing to clean up, and an exception would only be a stack
    trace out of an import or of the interpreter's own last steps.
    """
    for signum in ENDING:
        signal.signal(signum, _leave)


def say_stopped(signum: int) -> str:
    """Return the line that a program stopped by a signal leaves behind."""
    name = signal.Signals(signum).name
    return f"lora-jax: stopped by {name}; every finished run is kept, the same command goes on from here."


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f"{say_stopped(signum)}\n".encode())
    os._exit(128 + signum)
