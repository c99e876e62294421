"""Programs of ours as child processes, forked from an interpreter that has imported what they need.

A fork starts in milliseconds where a new interpreter needs seconds, and is a process of its own all the same:
it can be killed at any moment. No accelerator or thread pool may have been started before the fork.
"""

import atexit
import contextlib
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 120.0  # seconds; a child that takes longer hangs
LOOK = 0.002  # seconds between two looks at a child


@dataclass(frozen=True)
class Outcome:
    """How a child ended. status: its exit status, negative for the signal that killed it. hung: had to be."""

    status: int
    out: str
    err: str
    seconds: float
    hung: bool

    @property
    def has_trace(self) -> bool:
        return "Traceback (most recent call last)" in self.err or "Fatal Python error" in self.err

    @property
    def sentence(self) -> str | None:
        """Return the one line in which the program refuses; None where there is none, or several."""
        lines = [line for line in self.err.splitlines() if line.startswith("lora-jax: ")]
        return lines[0] if len(lines) == 1 else None


@dataclass(frozen=True)
class Child:
    """A running child and the files of its output."""

    pid: int
    out: Path
    err: Path
    began: float

    def wait(self, seconds: float = PATIENCE) -> Outcome:
        """Wait for the end; after `seconds` the child is killed and counts as hung."""
        status = self.poll_until(self.began + seconds)
        hung = status is None
        if status is None:
            self.send(signal.SIGKILL)
            status = self.poll_until(time.monotonic() + PATIENCE)
        took = time.monotonic() - self.began
        out, err = (path.read_text(errors="replace") for path in (self.out, self.err))
        return Outcome(-signal.SIGKILL if status is None else status, out, err, took, hung)

    def poll_until(self, moment: float) -> int | None:
        """Return the exit status once the child has ended; None where it still runs at `moment`."""
        while True:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(code)
            if time.monotonic() > moment:
                return None
            time.sleep(LOOK)

    def send(self, signum: int) -> bool:
        """Send a signal to the child and whatever it has started; False where it is gone."""
        try:
            os.killpg(self.pid, signum) if signum == signal.SIGKILL else os.kill(self.pid, signum)
        except ProcessLookupError:
            return False
        return True


def start(
    program: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    largest_file: int | None = None,
) -> Child:
    """Fork a child that calls program(arguments) in `folder`. largest_file: bytes that a file may have."""
    out, err = folder / "out.txt", folder / "err.txt"
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of any fork; here it has no thread yet
        pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # whichever of the two is first
            os.setpgid(pid, pid)
        return Child(pid, out, err, time.monotonic())
    status = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(folder)
        os.environ.update(environment)
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        status = _call(program, arguments)
    finally:
        os._exit(status)


def _call(program: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run the program as an interpreter of its own would, to the last of its exit handlers."""
    from lora_jax.runs.signals import end_at_once

    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    end_at_once()
    try:
        status = program(arguments)
    except SystemExit as request:
        status = request.code if isinstance(request.code, int) else int(request.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status
