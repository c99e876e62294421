"""Several workers on this machine, each with a GPU. This process starts and watches them.

submitit's LocalExecutor does not serve here. Each of its jobs has a time limit, and a controller of its own
that goes on after the driver is killed. It passes SIGTERM on to a task that ignores it. One second after
SIGINT it sends SIGKILL, while a worker still saves its state.
"""

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lora_jax.cluster.child import Child
from lora_jax.cluster.deaths import STOPPED, Death, describe_death
from lora_jax.cluster.shares import Share, divide_machine
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import whole

FOLDER = "logs"  # in a results folder
LOCAL_WORKERS = whole(1, 256)
POLL_SECONDS = 0.2
LINE_SECONDS = 10.0  # least time between two lines of progress
PAUSE = 5.0  # seconds until we start a worker again that died


class LocalWorker:
    """A place for a worker on this machine: its command, share and log, and the child that runs now.

    Args:
        name: Name of the worker.
        command: What it runs.
        share: Its GPU and cores.
        log: The file for its output.
    """

    def __init__(self, name: str, command: Sequence[str], share: Share, log: Path) -> None:
        self.name, self._command, self._share, self.log = name, command, share, log
        self.deaths: list[Death] = []
        self.status: int | None = None  # its exit status, once it has ended for good
        self._starts_at = 0.0
        self._child: Child | None = None
        self._start()

    def look(self, is_stopping: bool) -> str | None:
        """Start the worker again if it died and should go on. Return what there is to report, or None.

        Args:
            is_stopping: Whether the workers should stop.
        """
        if self.status is not None:
            return None
        if self._child is None:
            if is_stopping:
                self.status = self.deaths[-1].status
            elif time.monotonic() >= self._starts_at:
                self._start()
            return None
        if not self._child.has_ended:
            if is_stopping:
                self._child.ask_to_stop()
            return None
        status = self._child.take_status()
        if is_stopping or status == 0:
            self.status = status
            return None
        if status in STOPPED:
            self.status = status
            return f"worker {self.name} was stopped by a signal; the others go on."
        death = describe_death(self.name, status, self._child.seconds, len(self.deaths), self.log)
        self.deaths.append(death)
        self._child = None
        self._starts_at = time.monotonic() + PAUSE
        if death.is_last:
            self.status = status
        return death.sentence

    def _start(self) -> None:
        with _on_cores(self._share.cores):
            self._child = Child(self._command, self.log, self._share.environment(os.environ))


def run_workers(
    folder: Path,
    n_workers: int,
    command: Sequence[str],
    stop: Callable[[], bool],
    progress: Callable[[], str] = str,
) -> None:
    """Run workers of a results folder as processes of this machine until all have ended.

    Each runs `command` until it ends with status 0. It has a GPU of its own if there are any, and a share of
    the CPU cores. A worker that dies is started again, unless it died at once. The logs are in FOLDER/logs.

    Args:
        folder: The results folder.
        n_workers: Number of workers.
        command: What each runs.
        stop: Returns whether the workers should stop. They then save their state, and we wait for them.
        progress: Returns a line about the progress. We print it when it has changed.

    Raises:
        LoraJaxError: There are fewer GPUs than workers, or no worker has finished. The message names its log.
    """
    LOCAL_WORKERS.check("--workers", n_workers)
    shares = divide_machine(n_workers, os.environ)
    logs = folder.absolute() / FOLDER
    logs.mkdir(parents=True, exist_ok=True)
    places = [(str(number), share) for number, share in enumerate(shares, 1)]
    workers = [LocalWorker(name, command, share, logs / f"worker-{name}.log") for name, share in places]
    _say(f"{n_workers} workers on this machine{_tell_shares(shares)}; their logs are {logs}/worker-*.log.")
    shown, next_line = "", time.monotonic()
    while any(worker.status is None for worker in workers):
        for worker in workers:
            news = worker.look(stop())
            if news is not None:
                _say(news)
        if time.monotonic() >= next_line and not stop():
            next_line = time.monotonic() + LINE_SECONDS
            line = progress()
            if line != shown:
                _say(line)
                shown = line
        time.sleep(POLL_SECONDS)
    if not stop() and all(worker.status for worker in workers):
        raise _explain_failure(workers)


def _explain_failure(workers: Sequence[LocalWorker]) -> LoraJaxError:
    """Return why none of the workers has finished."""
    deaths = [worker.deaths[-1] for worker in workers if worker.deaths]
    if not deaths:
        return LoraJaxError("All workers were stopped by signals: run the same command again to go on.")
    alike = {(death.status, death.said) for death in deaths}
    others = (
        ""
        if len(workers) == 1
        else ", as all others did"
        if len(alike) == 1
        else ", and all others ended too"
    )
    return LoraJaxError(f"No worker finished: {deaths[0].how}{others}; its log is {deaths[0].log}.")


def _tell_shares(shares: Sequence[Share]) -> str:
    """Return the shares in words, such as ", each with a GPU and 4 CPU cores"."""
    n_cores = min(len(share.cores) for share in shares)
    shared = len({core for share in shares for core in share.cores}) < len(shares)
    cores = "a part of a CPU core" if shared else "1 CPU core" if n_cores == 1 else f"{n_cores} CPU cores"
    parts = ["a GPU"] * (shares[0].gpu is not None) + [cores] * (n_cores > 0)
    return f", each with {' and '.join(parts)}" if parts else ""


@contextmanager
def _on_cores(cores: Sequence[int]) -> Generator[None]:
    """Let processes that are started in the block use these cores.

    XLA makes one thread for each core it may use.
    """
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _say(line: str) -> None:
    print(line, flush=True)
