"""live/plan.json, what a sweep planned, and live/state.json, who trains it. `lora-jax watch` reads both.

Each process that trains writes the plan once and the state every few seconds.
"""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.files import write_atomically
from lora_jax.runs.progress import Progress
from lora_jax.runs.sinks.live_file import FOLDER
from lora_jax.training.rows import Row, Source

BEAT_SECONDS = 5.0  # time between two writings
REMEDY = "delete it, it is written anew when the sweep is trained"
OLDER_PLAN = "planned"  # the field of state.json in which older versions kept the plan
SILENT_SECONDS = 600.0  # after so long without a writing, a process elsewhere is taken to be gone


@dataclass(frozen=True)
class PlannedSteps:
    """A run of the plan.

    Attributes:
        run_id: Its id.
        n_steps: Its number of steps.
    """

    run_id: str
    n_steps: int


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep.

    Attributes:
        planned: Its runs, including those that were finished before.
    """

    planned: tuple[PlannedSteps, ...]


@dataclass(frozen=True)
class SweepState:
    """What a process reports about the sweep that it trains.

    Attributes:
        host: Name of its machine.
        pid: Its process id there.
        updated: When it last wrote this, in seconds since 1970.
        seconds_left: Its estimate of the time left.
        ended: How it ended. None while it trains.
    """

    host: str
    pid: int
    updated: float
    seconds_left: float
    ended: Literal["finished", "stopped"] | None = None

    @property
    def is_alive(self) -> bool:
        """Does the process still train? On another machine we judge by when it last wrote."""
        if self.ended is not None:
            return False
        if self.host == socket.gethostname():
            return _is_running(self.pid)
        return time.time() - self.updated < SILENT_SECONDS


class StateFile:
    """The sink that writes live/plan.json once and keeps live/state.json up to date."""

    def __init__(self, folder: Path, planned: Sequence[PlannedSteps], progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._unwritten: SweepPlan | None = SweepPlan(tuple(planned))
        long_ago = time.time() - BEAT_SECONDS  # the first call then writes
        self._state = SweepState(socket.gethostname(), os.getpid(), long_ago, progress.seconds_left())

    def begin(self, source: Source, step: int) -> None:
        """Write the state if it is due."""
        self._beat()

    def take(self, source: Source, row: Row) -> None:
        """Write the state if it is due."""
        self._beat()

    def end(self, source: Source) -> None:
        """Write the state if it is due."""
        self._beat()

    def close(self, ended: Literal["finished", "stopped"]) -> None:
        """Write how the process ended."""
        self._state = replace(self._state, ended=ended)
        self._write()

    def _beat(self) -> None:
        if time.time() - self._state.updated >= BEAT_SECONDS:
            self._write()

    def _write(self) -> None:
        left = 0.0 if self._state.ended == "finished" else self._progress.seconds_left()
        self._state = replace(self._state, updated=time.time(), seconds_left=left)
        if self._unwritten is not None:
            write_atomically(plan_path(self._folder), to_sealed_json(to_document(self._unwritten)))
            self._unwritten = None
        write_atomically(state_path(self._folder), to_sealed_json(to_document(self._state)))


def state_path(folder: Path) -> Path:
    """Return the path of a sweep's state in its results folder."""
    return folder / FOLDER / "state.json"


def plan_path(folder: Path) -> Path:
    """Return the path of a sweep's plan in its results folder."""
    return folder / FOLDER / "plan.json"


def read_state(folder: Path) -> SweepState | None:
    """Return the state that the last process wrote into a folder. None if there is none."""
    path = state_path(folder)
    if not path.exists():
        return None
    with reading(path, REMEDY):
        return from_document(SweepState, read_object(path, REMEDY))


def read_plan(folder: Path) -> tuple[PlannedSteps, ...]:
    """Return the runs that the last process planned in a folder. Empty if there is no plan."""
    path = plan_path(folder)
    if path.exists():
        document = read_object(path, REMEDY)
    else:
        path = state_path(folder)
        document = read_object(path, REMEDY) if path.exists() else {}
        document = {OLDER_PLAN: document.get(OLDER_PLAN, [])}
    with reading(path, REMEDY):
        return from_document(SweepPlan, document).planned


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs under another user
        return True
    return True
