"""A refused command leaves no results folder behind: one that it made is removed."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from lora_jax.workers import leases, task, worker

BEGINNING = (task.NAME, "sweep.json")  # files that a folder has before its first run


def make_folder(folder: Path) -> tuple[Path, ...]:
    """Make a folder, and return what was not there before: the folder and those above it."""
    made = tuple(path for path in (folder, *folder.parents) if not path.exists())
    folder.mkdir(parents=True, exist_ok=True)
    return made


def withdraw(folder: Path, made: Collection[Path]) -> None:
    """Remove a results folder again, if it holds no more than workers leave there before they train.

    Nothing is removed if another process made the folder, a worker is at work in it, or it holds anything
    else, such as a record, a log or a checkpoint.

    Args:
        folder: The results folder.
        made: What `make_folder` of this process returned.
    """
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    if folder not in made or not all(_is_beginning(path.relative_to(folder)) for path in files):
        return
    if any(state.ended is None for state in worker.read_workers(folder)):
        return
    for path in files:
        path.unlink(missing_ok=True)
    below = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    for path in (*below, *made):
        with contextlib.suppress(OSError):  # another process has put something there
            path.rmdir()


def _is_beginning(path: Path) -> bool:
    is_of_a_worker = path.parts[0] == worker.FOLDER and path.suffix == ".json"
    return str(path) in BEGINNING or path.parts[0] == leases.FOLDER or is_of_a_worker
