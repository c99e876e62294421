"""A worker's command as a child process. We ask it to stop once, and it may take its time."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.2


class Child:
    """A child process. You may call its methods from a signal handler, even one that interrupts them."""

    def __init__(
        self, command: Sequence[str], log: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start the process.

        Args:
            command: The command.
            log: A file that its output is added to. Ctrl-C at the terminal then does not reach the child,
                where it would be a second signal. None leaves the output with this process's own.
            env: The environment. None takes this process's.
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
        """Its process id."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    @property
    def has_ended(self) -> bool:
        """Whether it has ended. This does not take its status.

        Popen.poll holds a lock, which a signal handler may run into.
        """
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def ask_to_stop(self) -> None:
        """Send SIGTERM, but only once. A second one would end the child before it has saved its state."""
        if not self._asked and not self.has_ended:
            self._asked = True
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        if not self.has_ended:
            self._process.kill()

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most this many seconds. Return whether it has."""
        end = time.monotonic() + seconds
        while not self.has_ended:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(POLL_SECONDS, left))
        return True

    def take_status(self) -> int:
        """Return its exit status once it has ended, or 128 + N if signal N ended it."""
        status = self._process.wait()
        return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _without_preemption() -> Generator[None]:
    """Block SIGUSR2 during the block. What is started there keeps it blocked for good.

    SLURM sends SIGUSR2 to all processes of a job, and only the one that started the child may answer it. A
    child inherits blocked signals. So no code has to run between fork and exec, where JAX's threads would not
    exist.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
