"""Disks that get full, or cannot be written."""

import os
import random
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.attempts import Attempt, Reference, Tally, finish
from tests.faults.products import whole_folder
from tests.faults.spawn import Outcome
from tests.faults.workshop import Subject, Workshop


def crowd(
    workshop: Workshop, subject: Subject, reference: Reference, chance: random.Random, tally: Tally
) -> None:
    """Run a subject where no file may grow beyond a few bytes, then without the limit."""
    attempt = Attempt(subject, workshop.attempt(subject), reference)
    limit = int(2 ** chance.uniform(8, 18))
    attempt.story.append(f"no file beyond {limit} bytes")
    tally.add("disk: files cut off")
    outcome = workshop.begin(subject, attempt.folder, largest_file=limit).wait()
    _after_disk(workshop, attempt, outcome, tally)


def fill(
    workshop: Workshop, subject: Subject, reference: Reference, chance: random.Random, tally: Tally
) -> None:
    """Run a subject on a disk that gets full, then on one with room; or on one that cannot be written."""
    attempt = Attempt(subject, workshop.attempt(subject), reference)
    place = attempt.folder / chance.choice(["out", "cache"])
    forbidden = chance.random() < 0.3
    size = int(2 ** chance.uniform(13, 19))
    attempt.story.append(
        f"{place.name} is on a disk " + ("for reading only" if forbidden else f"of {size} bytes")
    )
    tally.add("disk: read-only" if forbidden else "disk: full")
    with small_disk(place, size, forbidden):
        outcome = workshop.run(subject, attempt.folder)
        if outcome.status == 2 and not outcome.sentence:
            tally.find(attempt, "no sentence", outcome)
        kept_aside = attempt.folder / "aside"
        shutil.copytree(place, kept_aside)
    shutil.rmtree(place)
    kept_aside.rename(place)
    _after_disk(workshop, attempt, outcome, tally)


def _after_disk(workshop: Workshop, attempt: Attempt, outcome: Outcome, tally: Tally) -> None:
    if outcome.hung or outcome.has_trace or outcome.status not in (0, 2):
        tally.find(attempt, f"it ended with {outcome.status}", outcome)
    elif outcome.status == 2 and not outcome.sentence:
        tally.find(attempt, "no sentence, or several", outcome)
    else:
        tally.add("refused in a sentence" if outcome.status else "ran in the room there was")
        out = attempt.folder / "out"
        if attempt.subject.makes_once and out.exists() and not whole_folder(out):
            out.rmdir()
        finish(workshop, attempt, tally)


def shell(command: str) -> int:
    return subprocess.run(command, shell=True).returncode


def can_mount() -> bool:
    return os.geteuid() == 0 and shell("mount -t tmpfs -o size=64k none /mnt 2>/dev/null && umount /mnt") == 0


@contextmanager
def small_disk(place: Path, size: int, forbidden: bool) -> Generator[None]:
    place.mkdir(parents=True, exist_ok=True)
    options = f"size={size}" + (",ro" if forbidden else "")
    if shell(f"mount -t tmpfs -o {options} none '{place}'"):
        raise RuntimeError(f"no disk can be mounted at {place}")
    try:
        yield
    finally:
        shell(f"umount -l '{place}'")
