"""Workers that died: which are started again, and the note that is left of each death."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.files import write_atomically

FOLDER = "slurm/deaths"  # in a results folder
SOON = 60.0  # seconds: what dies before has not begun to work, and would die again
MOST = 3  # deaths in a row, each of them later than that
MISTAKE = 2  # the status of a program that has told in a sentence what the user is to mend
LONGEST_LINE = 300  # characters of a log's line that a message repeats
STOPPED = (130, 143)  # by SIGINT or SIGTERM, with its state saved


@dataclass(frozen=True)
class Death:
    """How a worker ended before its work was done.

    Attributes:
        worker: Its name: of SLURM the job, as in "1234_0".
        status: Its exit status; 128 + N where signal N ended it.
        seconds: How long it ran.
        n_before: Deaths of the same worker before it, without a stop or a time-out between them.
        log: The file with what it printed.
        said: The last line of it, cut.
        at: When it died, as ISO 8601.
    """

    worker: str
    status: int
    seconds: float
    n_before: int
    log: str
    said: str
    at: str

    @property
    def is_last(self) -> bool:
        """Whether it is of no use to start the worker again."""
        return self.status == MISTAKE or self.seconds < SOON or self.n_before + 1 >= MOST

    @property
    def how(self) -> str:
        """How it ended, and with which words."""
        words = f' with "{self.said}"' if self.said else ""
        return f"worker {self.worker} ended{words} (status {self.status}) after {self.seconds:.0f} s"

    @property
    def sentence(self) -> str:
        """What happened, what comes next and where to read more."""
        if not self.is_last:
            return f"{self.how}: it is started again; its log is {self.log}."
        times = f", for the {MOST}rd time" if self.n_before + 1 >= MOST else ""
        return (
            f"{self.how}{times}, and is not started again: read its log, {self.log}, and mend what it says."
        )


def describe_death(worker: str, status: int, seconds: float, n_before: int, log: Path) -> Death:
    """Return the death of a worker whose log has just been written."""
    return Death(worker, status, seconds, n_before, str(log), _last_line(log), now())


def _last_line(log: Path) -> str:
    """Return the last line of a log that says something; empty where the log cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4 * LONGEST_LINE))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return next((line[:LONGEST_LINE] for line in reversed(lines) if line), "")


def note_death(folder: Path, death: Death) -> None:
    """Write a death into a results folder, in place of an earlier one of the same worker."""
    write_atomically(folder / FOLDER / f"{death.worker}.json", to_sealed_json(to_document(death)))


def forget_death(folder: Path, worker: str) -> None:
    """Take away the note of a death: the worker works again, or its work is done."""
    (folder / FOLDER / f"{worker}.json").unlink(missing_ok=True)


def count_deaths(folder: Path, worker: str) -> int:
    """Return how often a worker that begins now died in a row before: a stop or a time-out leaves no note."""
    path = folder / FOLDER / f"{worker}.json"
    return _read_death(path).n_before + 1 if path.exists() else 0


def read_deaths(folder: Path) -> tuple[Death, ...]:
    """Return the deaths that a results folder has notes of, by the names of the workers."""
    return tuple(_read_death(path) for path in sorted((folder / FOLDER).glob("*.json")))


def _read_death(path: Path) -> Death:
    remedy = "delete it"
    with reading(path, remedy):
        return from_document(Death, read_object(path, remedy))


def now() -> str:
    """Return the time as the notes have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
