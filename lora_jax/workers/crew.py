"""The workers of a results folder: how this process joins them, and whom it finds there."""

import contextlib
import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from lora_jax.errors import LoraJaxError
from lora_jax.temporaries import sweep
from lora_jax.workers.leases import Leases
from lora_jax.workers.process import is_neighbour
from lora_jax.workers.worker import STALE_SECONDS, Worker, WorkerState, read_workers, worker_path

MATTERS = ("jax", "jaxlib", "numpy")  # packages whose version can change the bits of a result


@dataclass(frozen=True)
class Joining:
    """How a process joins the workers of a folder.

    Attributes:
        task: Digest of its task. All workers have the same.
        invited: Whether it was started to work beside others. If not, another process of this machine that
            works on the folder is taken for an accident, and this process is refused.
        stale_seconds: If another worker has no heartbeat for this long, we take it to be gone.
    """

    task: str = ""
    invited: bool = False
    stale_seconds: float = STALE_SECONDS


class Crew:
    """This process among the workers of a folder.

    Args:
        worker: This process as a worker.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker, self.leases = worker, Leases(worker)

    def others(self) -> list[WorkerState]:
        """Return the other workers that are alive."""
        return [
            state
            for state in read_workers(self.worker.folder)
            if state.name != self.worker.name and self.leases.witness.judge(state.name, state)
        ]

    def disband(self) -> None:
        """If nobody else is at work, remove the leases, and the files of workers that have ended."""
        if self.others():
            return
        self.leases.clear()
        for state in read_workers(self.worker.folder):
            if state.name != self.worker.name:
                worker_path(self.worker.folder, state.name).unlink(missing_ok=True)
        self.worker.leave()


@contextlib.contextmanager
def joined(folder: Path, joining: Joining, say: Callable[[str], None]) -> Generator[Crew]:
    """Be a worker on a folder during the block.

    Args:
        folder: The results folder.
        joining: How to join.
        say: Called with a line about the other workers.

    Raises:
        LoraJaxError: Another worker has other code or another task, or this process was not invited and
            another one of this machine is at work.
    """
    worker = Worker(folder, code_digest(), joining.task, joining.stale_seconds)
    with worker.beating():
        crew = Crew(worker)
        others = crew.others()
        for other in others:
            _check_alike(worker.state, other, folder)
            if not joining.invited:
                _refuse_neighbour(worker.state, other, folder)
        if others:
            names = ", ".join(other.place for other in others)
            n = len(others)
            say(f"{n} other worker{'s' if n > 1 else ''} on {folder}: {names}.")
        else:
            sweep(folder)  # remove what killed processes left; beside other workers it may be theirs
        yield crew


def _check_alike(own: WorkerState, other: WorkerState, folder: Path) -> None:
    """Refuse to work beside other code or another task, because the runs would not belong to one sweep."""
    if other.code == own.code and other.task == own.task:
        return
    what = "other code (lora_jax, jax or numpy)" if other.code != own.code else "another config or options"
    raise LoraJaxError(
        f"The worker {other.place} works on {folder} with {what} than this one, but all must have the same:"
        f" stop it first, or choose another folder with --out; if it is gone, delete"
        f" {worker_path(folder, other.name)}."
    )


def _refuse_neighbour(own: WorkerState, other: WorkerState, folder: Path) -> None:
    """Refuse if a process of this machine was here first, because the same command was then started twice."""
    mine, its = own.process, other.process
    if is_neighbour(its) and (its.started, its.pid) < (mine.started, mine.pid):
        raise LoraJaxError(
            f"Another process is training into {folder} ({its.pid} on this machine): wait for it, let this"
            f" one help with `lora-jax work {folder}`, or choose another folder with --out."
        )


@cache
def code_digest() -> str:
    """Return a digest of this package's source and of the packages that its numbers depend on."""
    package = Path(__file__).resolve().parents[1]
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(str(path.relative_to(package)).encode())
        found.update(path.read_bytes())
    for name in MATTERS:
        found.update(f"{name} {metadata.version(name)}".encode())
    return found.hexdigest()[:16]
