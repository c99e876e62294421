"""Work dealt to processes: a copy of this one for each part, which sends back its answer.

The parts are forked: a child has all that its parent holds, laws with their functions too, and only answers
are sent. Who deals makes parts whose answers do not depend on who else is in them, so that the number of
processes changes no bit of any result.

All is done in this process where a fork could not be trusted (`may_fork`): not on Linux; where JAX has been
imported, whose threads hold locks that a copy would wait for; where any other thread runs but those that show
progress (`progress.Watcher`); inside a child. So it is where there is one core.
"""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, NoReturn, TypeVar

from lora_jax.errors import ProcessLost
from lora_jax.scaling.progress import stand_still, unheard

Part = TypeVar("Part")
Answer = TypeVar("Answer")
Done = Callable[[int], None]  # told how many parts of a step are done
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def may_fork() -> bool:
    """Whether a copy of this process could compute (see the head of this file)."""
    if sys.platform != "linux" or "jax" in sys.modules or multiprocessing.parent_process() is not None:
        return False
    with stand_still() as is_alone:
        return is_alone


def deal(
    work: Callable[[Part, Done], Answer], parts: Sequence[Part], done: Done | None = None
) -> list[Answer]:
    """Return the answers to the parts, in their order.

    Args:
        work: What is done of a part. It is given what to tell how many members have their answer.
        parts: The parts. As many are worked on at a time as there are cores.
        done: Is told what `work` tells.

    Raises:
        ProcessLost: A process ended before its answer was there.
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
        """Return the next message; raises what the child raised, and ProcessLost where there is none."""
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
def _children() -> Iterator[list[_Child]]:
    """Yield where the children are kept; none outlives the block, however it is left."""
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
    # a signal waits until the child has left this process's handlers behind
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with stand_still(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of 3.12, for any thread, one of BLAS too
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    writer.close()
    return _Child(number, process, reader)


def _compute(work: Callable[[Part, Done], Any], part: Part, writer: Connection) -> NoReturn:
    """Do a part in the child and send its answer, or the exception; end without a word if nobody hears."""
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
