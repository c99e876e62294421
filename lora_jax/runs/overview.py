"""The state of a sweep, read only from the files of its results folder: planned, running, finished."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lora_jax.errors import LoraJaxError
from lora_jax.runs.record import RunRecord
from lora_jax.runs.sinks.live_file import FOLDER, LiveRows, read_live
from lora_jax.runs.sinks.state_file import SILENT_SECONDS, PlannedSteps, SweepState, read_plan, read_state
from lora_jax.runs.store import RunStore
from lora_jax.training.rows import Row
from lora_jax.workers.process import is_neighbour
from lora_jax.workers.witness import is_over
from lora_jax.workers.worker import WorkerState, read_workers, worker_path

Standing = Literal["planned", "running", "interrupted", "done", "diverged", "halted"]


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """Where one run stands.

    Attributes:
        run_id: Its id.
        standing: "running" includes a run whose trunk is in training. "interrupted" means that it has begun
            and no process continues it.
        step: Steps that it has taken, by its rows.
        n_steps: Steps that are planned.
        row: Its last row. None before the first.
        heldout_loss: Its last held-out loss, from its record or else from its rows.
        age_seconds: Time since its last row, if it is in training.
    """

    run_id: str
    standing: Standing
    step: int
    n_steps: int
    row: Row | None = None
    heldout_loss: float | None = None
    age_seconds: float | None = None


@dataclass(frozen=True)
class SeenWorker:
    """A worker of a results folder, as its file shows it.

    Attributes:
        state: What the file says.
        age_seconds: Time since it was written. Clocks of two machines may differ by more than this.
        is_alive: Whether it works. On another machine we judge by the age.
    """

    state: WorkerState
    age_seconds: float
    is_alive: bool


@dataclass(frozen=True)
class Overview:
    """The state of a sweep.

    Attributes:
        runs: Where each run stands.
        state: What the process that wrote last reports.
        workers: All workers of the folder.
    """

    runs: tuple[RunStanding, ...]
    state: SweepState | None
    workers: tuple[SeenWorker, ...] = ()

    @property
    def living(self) -> tuple[SeenWorker, ...]:
        """The workers that are alive."""
        return tuple(worker for worker in self.workers if worker.is_alive)

    @property
    def is_training(self) -> bool:
        """Does any process train it now?"""
        return bool(self.living) or (self.state is not None and self.state.is_alive)

    def count(self, standing: Standing) -> int:
        """Return how many runs have this standing."""
        return sum(run.standing == standing for run in self.runs)


@dataclass(frozen=True)
class _Stream:
    live: LiveRows
    changed: float  # when its file changed last, in seconds since 1970


def look(folder: Path) -> Overview:
    """Return where the runs of a results folder stand.

    Raises:
        LoraJaxError: It is no results folder, or one of its files is damaged.
    """
    records, state, workers = RunStore(folder).finished(), read_state(folder), see_workers(folder)
    if not records and state is None and not workers:
        raise LoraJaxError(
            f"{folder} holds no run, but it must be a results folder: name one that a sweep trains into."
        )
    planned = {item.run_id: item for item in read_plan(folder)}
    streams = _read_streams(folder, records)
    alive = Overview((), state, workers).is_training
    found = []
    for run_id in dict.fromkeys([*planned, *records]):
        if run_id in records:
            found.append(_of_record(records[run_id]))
        else:
            found.append(_of_stream(planned[run_id], streams.get(run_id), alive))
    return Overview(tuple(found), state, workers)


def see_workers(folder: Path) -> tuple[SeenWorker, ...]:
    """Return the workers of a results folder, including those that ended."""
    found = []
    for state in read_workers(folder):
        path = worker_path(folder, state.name)
        age = time.time() - path.stat().st_mtime if path.exists() else SILENT_SECONDS
        is_alive = not is_over(state) and (is_neighbour(state.process) or age < SILENT_SECONDS)
        found.append(SeenWorker(state, age, is_alive))
    return tuple(found)


def _read_streams(folder: Path, finished: Collection[str]) -> dict[str, _Stream]:
    """Return the stream of each run that has begun: its own, or else that of its trunk.

    A finished run needs only its record. A sweep may have thousands of them.
    """
    found: dict[str, _Stream] = {}
    for path in sorted((folder / FOLDER).glob("*.jsonl")):
        live = None if path.stem in finished else read_live(folder, path.stem)
        if live is None:
            continue
        stream = _Stream(live, path.stat().st_mtime)
        for run_id in live.head.run_ids:
            if run_id not in found or path.stem == run_id:
                found[run_id] = stream
    return found


def _of_record(record: RunRecord) -> RunStanding:
    return RunStanding(
        run_id=record.run_id,
        standing=record.status,
        step=record.n_steps,
        n_steps=record.n_steps,
        heldout_loss=record.heldout_loss,
    )


def _of_stream(planned: PlannedSteps, stream: _Stream | None, alive: bool) -> RunStanding:
    if stream is None:
        return RunStanding(run_id=planned.run_id, standing="planned", step=0, n_steps=planned.n_steps)
    rows = stream.live.rows
    measured = [row.heldout.loss for row in rows if row.heldout is not None]
    return RunStanding(
        run_id=planned.run_id,
        standing="running" if alive else "interrupted",
        step=min(stream.live.last_step, planned.n_steps),
        n_steps=planned.n_steps,
        row=rows[-1] if rows else None,
        heldout_loss=measured[-1] if measured else None,
        age_seconds=time.time() - stream.changed if alive else None,
    )
