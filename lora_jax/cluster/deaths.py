"""Workers that died: which of them are started again, and the note about each death."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.files import write_atomically

FOLDER = "slurm/deaths"  # in a results folder
SOON = 60.0  # seconds: a worker that dies earlier has not begun to work, and would die again
MOST = 3  # how many deaths in a row, each later than that, end a worker for good
MISTAKE = 2  # the status of a program that has told the user in a sentence what to mend
LONGEST_LINE = 300  # how many characters of a log's line a message repeats
STOPPED = (130, 143)  # ended by SIGINT or SIGTERM, with its state saved


@dataclass(frozen=True)
class Death:
    """How a worker ended before its work was done.

    Attributes:
        worker: Its name. On SLURM it is the job, such as "1234_0".
        status: Its exit status, or 128 + N if signal N ended it.
        seconds: How long it ran.
        n_before: Earlier deaths of the same worker, without a stop or a time-out between them.
        log: The file with its output.
        said: The last line of its output, cut.
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
        """Whether it is useless to start the worker again."""
        return self.status == MISTAKE or self.seconds < SOON or self.n_before + 1 >= MOST

    @property
    def how(self) -> str:
        """How it ended, and with which words."""
        words = f' with "{self.said}"' if self.said else ""
        return f"worker {self.worker} ended{words} (status {self.status}) after {self.seconds:.0f} s"

    @property
    def sentence(self) -> str:
        """What happened, what comes next, and where to read more."""
        if not self.is_last:
            return f"{self.how}: it is started again; its log is {self.log}."
        times = f", for the {MOST}rd time" if self.n_before + 1 >= MOST else ""
        return (
            f"{self.how}{times}, and is not started again: read its log, {self.log}, and mend what it says."
        )


def describe_death(worker: str, status: int, seconds: float, n_before: int, log: Path) -> Death:
    """Return the death of a worker that has just ended.

    Args:
        worker: Its name.
        status: Its exit status.
        seconds: How long it ran.
        n_before: Its earlier deaths in a row.
        log: The file with its output.
    """
    return Death(worker, status, seconds, n_before, str(log), _last_line(log), now())


def _last_line(log: Path) -> str:
    """Return the last line of a log that is not blank. It is empty if the log cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4 * LONGEST_LINE))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return next((line[:LONGEST_LINE] for line in reversed(lines) if line), "")


def note_death(folder: Path, death: Death) -> None:
    """Write a death into a results folder. It replaces an earlier death of the same worker."""
    write_atomically(folder / FOLDER / f"{death.worker}.json", to_sealed_json(to_document(death)))


def forget_death(folder: Path, worker: str) -> None:
    """Remove the note about a worker's death, because it works again or its work is done."""
    (folder / FOLDER / f"{worker}.json").unlink(missing_ok=True)


def count_deaths(folder: Path, worker: str) -> int:
    """Return how many deaths in a row a worker had that begins now. A stop or a time-out leaves no note."""
    path = folder / FOLDER / f"{worker}.json"
    return _read_death(path).n_before + 1 if path.exists() else 0


def read_deaths(folder: Path) -> tuple[Death, ...]:
    """Return the deaths that a results folder has notes about, by the names of the workers."""
    return tuple(_read_death(path) for path in sorted((folder / FOLDER).glob("*.json")))


def _read_death(path: Path) -> Death:
    remedy = "delete it"
    with reading(path, remedy):
        return from_document(Death, read_object(path, remedy))


def now() -> str:
    """Return the time in the form of the notes."""
    return datetime.now(UTC).isoformat(timespec="seconds")
