"""A worker: a process that works on a results folder, and shows by a heartbeat that it still does.

Its file workers/NAME.json holds a number that grows every few seconds. We never compare clocks of different
machines. Another process waits on its own clock for that number to change (`witness.py`).
"""

import contextlib
import threading
import uuid
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.workers.process import ProcessId, awake, this_process

FOLDER = "workers"  # in a results folder
# After this many seconds without a beat, a worker is taken to be gone. NFS may show a change 60 s late.
STALE_SECONDS = 180.0
BEATS = 15  # number of beats in that time
TRUST = 0.75  # after this share of that time without a beat, a worker no longer trusts its own leases

Ending = Literal["finished", "stopped"]


@dataclass(frozen=True)
class WorkerState:
    """What a worker's file says.

    Attributes:
        name: Its name, which no other worker has.
        process: Its process.
        code: Digest of the code that it runs.
        task: Digest of its task.
        beat: Number of its beats.
        doing: What it does now, for people.
        ended: How it ended. None while it works.
    """

    name: str
    process: ProcessId
    code: str
    task: str
    beat: int = 0
    doing: str = "starting"
    ended: Ending | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"process {self.process.pid} on {self.process.host}"


class Worker:
    """This process as a worker on a results folder."""

    def __init__(self, folder: Path, code: str, task: str, stale_seconds: float = STALE_SECONDS) -> None:
        """Put the worker's file into the folder.

        Raises:
            LoraJaxError: It cannot be written.
        """
        process = this_process()
        name = f"{process.host}-{process.pid}-{uuid.uuid4().hex[:6]}"
        self.folder, self.stale_seconds = folder, stale_seconds
        self._state = WorkerState(name, process, code, task)
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._beaten = awake()  # when the last beat that succeeded began
        self._trouble: str | None = None
        self._lost = self._gone = self._leaving = False
        try:
            self._write()
        except OSError as error:
            raise LoraJaxError(
                f"{folder / FOLDER} cannot be written ({error.strerror}), and the others could not see this"
                " worker: mend that, or choose another folder with --out."
            ) from error

    @property
    def state(self) -> WorkerState:
        """What the worker's file says, or will say with the next beat."""
        return self._state

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._state.name

    @contextlib.contextmanager
    def beating(self) -> Generator[None]:
        """Beat during the block. Afterwards the file says how it ended, unless `leave` was called."""
        heart = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        heart.start()
        ended: Ending = "stopped"
        try:
            yield
            ended = "finished"
        finally:
            self._stopping.set()
            heart.join()
            self._state = replace(self._state, ended=ended, doing=ended)
            with contextlib.suppress(OSError):  # a worker that cannot write cannot say how it ended
                self._end()

    def _end(self) -> None:
        """Write how it ended, or remove the file, and the folder too unless others have files there."""
        path = worker_path(self.folder, self.name)
        if not path.exists():
            return  # the folder is gone, and writing would make it again
        if not self._leaving:
            self._write()
            return
        path.unlink()
        path.parent.rmdir()

    def leave(self) -> None:
        """Remove the worker's file at the end.

        Call it if the sweep is finished and nobody else is at work.
        """
        self._leaving = True

    def tell(self, doing: str) -> None:
        """Set what it does now. The next beat writes it."""
        self._state = replace(self._state, doing=doing)

    def require_pulse(self) -> None:
        """Refuse to go on if this worker was silent for so long that others may have its leases.

        Raises:
            LoraJaxError: Its last beat is too old, or its file is gone.
        """
        path = worker_path(self.folder, self.name)
        if self._gone or not path.exists():
            raise LoraJaxError(
                f"{path} is gone, by which this worker is known: its folder was deleted or moved; put it back"
                " and start the worker again, or leave it ended."
            )
        silent = awake() - self._beaten
        if self._lost or silent > TRUST * self.stale_seconds:
            why = self._trouble or "the process was suspended"
            raise LoraJaxError(
                f"This worker could not show for {silent:.0f} s that it works on {self.folder} ({why}), and"
                f" others take its runs over after {self.stale_seconds:.0f} s: start it again, it goes on"
                " from what is saved."
            )

    def _beat_on(self) -> None:
        while not self._stopping.wait(self.stale_seconds / BEATS):
            began = awake()
            if began - self._beaten > self.stale_seconds:
                self._lost = True  # it slept so long that others have taken over
                return
            if not worker_path(self.folder, self.name).exists():
                self._gone = True  # writing the file would make the folder again
                return
            self._state = replace(self._state, beat=self._state.beat + 1)
            try:
                self._write()
            except OSError as error:
                self._trouble = f"its file cannot be written: {error.strerror}"
                continue
            self._beaten, self._trouble = began, None

    def _write(self) -> None:
        with self._writing:
            write_atomically(worker_path(self.folder, self.name), to_sealed_json(to_document(self._state)))


def worker_path(folder: Path, name: str) -> Path:
    """Return the path of a worker's file in a results folder."""
    return folder / FOLDER / f"{name}.json"


def read_worker(folder: Path, name: str) -> WorkerState | None:
    """Return what a worker's file says. None if there is none.

    Raises:
        LoraJaxError: It cannot be read, or is damaged.
    """
    path, remedy = worker_path(folder, name), "delete it"
    if not path.exists():
        return None
    with reading(path, remedy):
        return from_document(WorkerState, read_object(path, remedy))


def read_workers(folder: Path) -> list[WorkerState]:
    """Return what the files of all workers of a folder say, in the order of their names."""
    names = sorted(path.stem for path in (folder / FOLDER).glob("*.json") if not path.name.startswith("."))
    found = [read_worker(folder, name) for name in names]
    return [state for state in found if state is not None]
