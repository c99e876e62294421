"""Deal work to processes. A forked copy of this process computes each part and sends its answer back.

A child has everything that its parent holds, functions of laws included. So only answers are sent. The caller
makes parts so that no answer depends on what else is in its part. So the number of processes changes no bit
of any result.

We compute everything in this process if there is one core, or if a fork would not be safe (`may_fork`). A
fork is not safe outside Linux. It is not safe after JAX was imported, because JAX has threads whose locks a
copy would wait for. It is not safe while other threads run, except those that show progress
(`progress.Watcher`). And a child does not fork again.
"""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, NoReturn, TypeVar

from lora_jax.errors import ProcessLost
from lora_jax.scaling.progress import stand_still, unheard

Part = TypeVar("Part")
Answer = TypeVar("Answer")
Done = Callable[[int], None]  # called with the number of members that have ended since its last call
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def may_fork() -> bool:
    """Return whether it is safe to fork this process. The head of this file lists the conditions."""
    if sys.platform != "linux" or "jax" in sys.modules or multiprocessing.parent_process() is not None:
        return False
    with stand_still() as is_alone:
        return is_alone


def deal(
    work: Callable[[Part, Done], Answer], parts: Sequence[Part], done: Done | None = None
) -> list[Answer]:
    """Compute the parts, in processes if we may fork, and return their answers in order.

    Args:
        work: Computes one part. It also gets a function, to be called with the number of members that have
            ended since the last call.
        parts: The parts. We compute as many at a time as there are cores.
        done: Called with every number that `work` reports.

    Raises:
        ProcessLost: A process ended before it sent its answer.
    """
    tell = done or (lambda n: None)
    if cores() < 2 or len(parts) < 2 or not may_fork():
        return [work(part, tell) for part in parts]
    answers: dict[int, Answer] = {}
    waiting = list(enumerate(parts))[::-1]
    with _children() as children:
        while waiting or children:
            while waiting and len(children) < cores():
                number, part = waiting.pop()
                children.append(_start(work, part, number))
            ready = wait([child.reader for child in children])
            for child in [child for child in children if child.reader in ready]:
                message = child.hear()
                if isinstance(message, _Answer):
                    answers[child.number] = message.value
                    children.remove(child)
                    child.end()
                else:
                    tell(message)
    return [answers[number] for number in range(len(parts))]


@dataclass(frozen=True)
class _Answer:
    value: Any


@dataclass(frozen=True)
class _Child:
    number: int
    process: ForkProcess
    reader: Connection

    def hear(self) -> "_Answer | int":
        """Return the next message of the child.

        Raises:
            ProcessLost: The child ended without a message.
            Exception: Whatever the child raised.
        """
        try:
            message = self.reader.recv()
        except (EOFError, OSError):
            self.process.join()
            raise ProcessLost(_say_lost(self.process.exitcode)) from None
        if isinstance(message, BaseException):
            raise message
        return message

    def end(self) -> None:
        self.process.join()
        self.reader.close()
        self.process.close()


def _say_lost(status: int | None) -> str:
    how = f"ended by {signal.Signals(-status).name}" if status is not None and status < 0 else "ended"
    return (
        f"A process that computed a part of this was {how} before its answer was there, as where the memory"
        " does not suffice: run the same command again."
    )


@contextmanager
def _children() -> Generator[list[_Child]]:
    """Yield a list for the children. However the block ends, no child outlives it."""
    children: list[_Child] = []
    try:
        yield children
    finally:
        for child in children:
            child.process.kill()
        for child in children:
            child.end()


def _start(work: Callable[[Part, Done], Any], part: Part, number: int) -> _Child:
    reader, writer = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_compute, args=(work, part, writer), daemon=True)
    # block signals until the child has replaced the handlers that it inherits
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with stand_still(), warnings.catch_warnings():
            # Python 3.12 warns about any thread, BLAS's too
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    writer.close()
    return _Child(number, process, reader)


def _compute(work: Callable[[Part, Done], Any], part: Part, writer: Connection) -> NoReturn:
    """Compute a part in the child and send its answer, or the exception.

    If nobody listens any more, the child ends in silence.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its children
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        with unheard():
            try:
                message: object = _Answer(work(part, writer.send))
            except Exception as error:
                message = error
        writer.send(message)
    except BrokenPipeError:
        os._exit(1)  # the parent was killed
    os._exit(0)
