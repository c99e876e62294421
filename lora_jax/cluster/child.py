"""A worker's command as a child process, which is asked to stop once and may take its time."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.2


class Child:
    """A child process. Its methods may be called from a signal's handler, also one that interrupts them."""

    def __init__(
        self, command: Sequence[str], log: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        log: a file that its output is added to; None leaves it with this process's own. With a log it is out
        of reach of a Ctrl-C at the terminal, which would be a second signal. env: in place of our own.
        """
        self.started = time.monotonic()
        self._asked = False
        with contextlib.nullcontext() if log is None else log.open("ab") as out, _without_preemption():
            self._process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=None if out is None else subprocess.STDOUT,
                start_new_session=log is not None,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, without taking its status: Popen.poll holds a lock, which a handler meets."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once however often this is called: a second one would cost it its state."""
        if not self._asked and not self.has_ended:
            self._asked = True
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        if not self.has_ended:
            self._process.kill()

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most so long; return whether it has."""
        end = time.monotonic() + seconds
        while not self.has_ended:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(POLL_SECONDS, left))
        return True

    def take_status(self) -> int:
        """Return its exit status once it has ended, 128 + N where signal N ended it."""
        status = self._process.wait()
        return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _without_preemption() -> Iterator[None]:
    """Hold SIGUSR2 back during the block, and in what is started in it for good.

    SLURM sends it to all processes of a job, and only their starter is to answer it. A signal that is blocked
    stays so in a child. So no code has to run between fork and exec, where JAX's threads would not be.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
