"""Leases: which worker has a job. They are files that a shared file system creates for one worker only.

The files leases/JOB.1, JOB.2, ... are the generations of a job's lease. Each is created exclusively, holds
its worker's name, and never changes. The newest one counts. A worker that takes a job over creates the next
generation. If several workers find the same stale lease, only one of them gets it.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from lora_jax.errors import LoraJaxError
from lora_jax.workers.witness import Witness
from lora_jax.workers.worker import Worker

FOLDER = "leases"  # in a results folder
RELEASED = ".released"  # suffix of a file's name that says that this generation was given back
POLL_SECONDS = 1.0
_NAME = re.compile(r"[\w+=,.@-]+")


@dataclass(frozen=True)
class Lease:
    """A worker's hold on a job.

    Attributes:
        job: The job.
        generation: How often the job was claimed, counted from 1.
    """

    job: str
    generation: int


class Leases:
    """The leases of a results folder, as one worker sees and takes them."""

    def __init__(self, worker: Worker) -> None:
        """Open the folder of leases.

        Raises:
            LoraJaxError: It cannot be made.
        """
        self._worker, self._folder = worker, worker.folder / FOLDER
        self.witness = Witness(worker.folder, worker.stale_seconds)
        self._newest: dict[str, int] = {}  # by job: a generation that exists, at which to start searching
        self._own: dict[str, Lease] = {}
        with self._explained("folder"):
            self._folder.mkdir(parents=True, exist_ok=True)

    def claim(self, job: str, *, fresh: bool = False) -> Lease | None:
        """Take a job. None if another worker has it and is alive.

        If this worker has the job already, it keeps it.

        Args:
            job: Its name.
            fresh: Whether to take it only if nobody ever had it. This costs one system call.

        Raises:
            LoraJaxError: The lease cannot be made, for example on a full or read-only disk.
        """
        if job in self._own:
            return self._own[job]
        if not _NAME.fullmatch(job):
            raise ValueError(f"{job!r} cannot be the name of a file")
        if job not in self._newest:
            self._newest[job] = 1  # the file is there after this call, whoever made it
            if self._create(self._path(Lease(job, 1)), self._worker.name):
                return self._keep(Lease(job, 1))
        newest = self._find_newest(job)
        if fresh or not self._is_free(job, newest):
            return None
        lease = Lease(job, newest + 1)
        # if several workers find it free, one of them is the fastest
        return self._keep(lease) if self._create(self._path(lease), self._worker.name) else None

    def _keep(self, lease: Lease) -> Lease:
        self._own[lease.job] = lease
        return lease

    def release(self, lease: Lease) -> None:
        """Give a job back, so that others can have it at once."""
        self._own.pop(lease.job, None)
        self._create(str(self._path(lease)) + RELEASED, "")

    def require(self, lease: Lease) -> None:
        """Refuse to go on with a job that another worker may have taken over.

        Raises:
            LoraJaxError: This worker was silent for too long, or the lease has a newer generation.
        """
        self._worker.require_pulse()
        newer = Lease(lease.job, lease.generation + 1)
        if os.path.exists(self._path(newer)):
            self._own.pop(lease.job, None)
            raise LoraJaxError(
                f"Worker {self._read(newer) or 'another one'} has taken {lease.job} over from this one, which"
                " was silent for too long: start this worker again, it takes other runs."
            )

    def holder(self, job: str) -> str | None:
        """Return the name of the worker that has a job, alive or not. None if nobody has it."""
        newest = self._find_newest(job)
        if not newest or os.path.exists(self._path(Lease(job, newest)) + RELEASED):
            return None
        return self._read(Lease(job, newest)) or None

    @contextlib.contextmanager
    def alone(self, job: str, say: Callable[[str], None]) -> Generator[None]:
        """Do in the block what only one worker at a time may do. The others wait, and say so.

        Args:
            job: Name of the job.
            say: Called with a line if this worker has to wait.
        """
        told = False
        while (lease := self.claim(job)) is None:
            if not told:
                told = True
                say(f"Waiting for worker {self.holder(job) or 'another one'}: {job.split('-')[0]}.")
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            self.release(lease)

    def clear(self) -> None:
        """Remove all leases. No other worker may be alive."""
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)
        self._newest.clear()
        self._own.clear()
        with contextlib.suppress(OSError):  # another worker may have joined meanwhile
            self._folder.rmdir()

    def _path(self, lease: Lease) -> str:
        return f"{self._folder}/{lease.job}.{lease.generation}"

    def _find_newest(self, job: str) -> int:
        """Return the newest generation of a job's lease. 0 if there is none."""
        newest = self._newest.get(job, 0)
        while os.path.exists(self._path(Lease(job, newest + 1))):
            newest += 1
        self._newest[job] = newest
        return newest

    def _is_free(self, job: str, generation: int) -> bool:
        lease = Lease(job, generation)
        if os.path.exists(self._path(lease) + RELEASED):
            return True
        # A worker may be killed before it writes its name. Such a lease goes stale by itself.
        return not self.witness.is_alive(self._read(lease) or os.path.basename(self._path(lease)))

    def _read(self, lease: Lease) -> str:
        try:
            return Path(self._path(lease)).read_text(encoding="utf-8")
        except OSError:
            return ""

    def _create(self, path: str, content: str) -> bool:
        """Create a file that is not there yet. False if it is there."""
        with self._explained("file"):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                return False
            try:
                os.write(handle, content.encode())
            finally:
                os.close(handle)
        return True

    @contextlib.contextmanager
    def _explained(self, what: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise LoraJaxError(
                f"A lease's {what} cannot be made in {self._folder} ({error.strerror}): this worker stops;"
                " mend that and start it again, every finished run is kept."
            ) from error
