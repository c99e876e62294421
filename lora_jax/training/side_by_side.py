"""Drive several runs through their lanes: each asks for its next steps and is told their losses.

A run is a generator, its trial: it yields a `StepRequest`, the steps until it next has something to do
(a branch, a score, its end), and is sent a `StepResult` after each turn of steps. So a run does not know what
runs beside it, and a single run is driven by the same code.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lora_jax.training.lanes import Lanes
from lora_jax.training.processes import decide, is_alone
from lora_jax.training.step import Measured, TrainState

# Losses are fetched from the device after so many steps, as more often would stall a fast step. Where a step
# is slow, they are fetched after about a second.
STEPS_PER_READ, SECONDS_PER_READ = 10, 1.0


class Stopped(Exception):
    """Training was asked to stop; what it came to is saved and a later call goes on from there."""


@dataclass(frozen=True)
class StepRequest:
    """Steps that a run wants: at most n_steps of them, the i-th with the input make(i), of host arrays."""

    n_steps: int
    make: Callable[[int], Any]


@dataclass(frozen=True)
class StepResult:
    """What one turn gave a run.

    Attributes:
        losses: Losses of the steps that it took, in order.
        gradient_norms: The norm of each step's gradient.
        update_ratios: The size of each step's update beside the weights (`training.step.Measured`).
        stopping: Whether the run must save its state and return.
        seconds: Time of the turn, which `n_lanes` runs share. None if something was compiled in it.
        n_lanes: Number of runs in the turn.
        elapsed: Time of the turn, with compilation.
        data_seconds: Time of it in which the batches were waited for.
    """

    losses: list[float]
    gradient_norms: list[float]
    update_ratios: list[float]
    stopping: bool
    seconds: float | None
    n_lanes: int
    elapsed: float
    data_seconds: float


@dataclass(frozen=True)
class Rung:
    """A score to be compared, less is better: successive halving (Jamieson & Talwalkar 2016, 1502.07943).

    A run that yields it waits for the others, and is sent whether it goes on: among those at the rung of the
    same step the best n_kept do, or the better half where that is None. A number that does not depend on who
    is still there makes a sweep that was killed at a rung come to the same choice.
    """

    score: float
    step: int = 0
    n_kept: int | None = None


Trial = Generator[StepRequest | Rung, Any, None]  # is sent a StepResult for a StepRequest, a bool for a Rung


class Lane:
    """A run's hold on its own state; its number changes when the others are put together anew."""

    def __init__(self, lanes: Lanes, number: int) -> None:
        self._lanes, self.number = lanes, number

    def read(self) -> TrainState:
        """Return a copy of the state, which no later step touches."""
        return self._lanes.read(self.number)

    def write(self, state: TrainState) -> None:
        """Go on from another state, of which a copy is taken."""
        self._lanes.write(self.number, state)


@dataclass
class _Running:
    """A trial that has not ended, and what it waits for."""

    lane: Lane
    trial: Trial
    wants: StepRequest | Rung
    waiting: TrainState | None = None  # at a rung: its lane may be stepped on while the others come there


def drive(lanes: Lanes, begin: Sequence[Callable[[Lane], Trial]], should_stop: Callable[[], bool]) -> None:
    """Run one trial in each lane to its end.

    A lane whose trial has ended is idle; when half of them are, the others go on in a narrower program.
    Raises `Stopped` soon after should_stop() becomes true, every trial having been told.
    """
    running: list[_Running] = []
    pace = _Pace()
    for number, start in enumerate(begin):
        lane = Lane(lanes, number)
        _send(running, lane, start(lane), None)
    while running:
        if 2 * len(running) <= lanes.n_lanes:
            lanes.keep([run.lane.number for run in running])
            for number, run in enumerate(running):
                run.lane.number = number
        if all(isinstance(run.wants, Rung) for run in running):
            running = _halve(running)
            continue
        running = _take_turn(lanes, running, pace, should_stop)


@dataclass
class _Pace:
    """How many steps are taken before their losses are fetched, by the time of those before."""

    n_steps: int = STEPS_PER_READ

    def note(self, n_steps: int, seconds: float) -> None:
        """Take in what a turn took, nothing having been compiled in it."""
        self.n_steps = int(min(STEPS_PER_READ, max(1, SECONDS_PER_READ * n_steps / max(seconds, 1e-9))))


def _take_turn(
    lanes: Lanes, running: list[_Running], pace: _Pace, should_stop: Callable[[], bool]
) -> list[_Running]:
    """Step until some trial has what it wants; lanes that are idle or wait at a rung compute for nothing."""
    stepping = {run.lane.number: run.wants for run in running if isinstance(run.wants, StepRequest)}
    n_steps, stopping = _plan_turn(pace, [wants.n_steps for wants in stepping.values()], should_stop)
    started, warm, unread, done = time.monotonic(), True, [], 0
    data_seconds = 0.0
    while done < n_steps:
        size = lanes.steps_per_call if n_steps - done >= lanes.steps_per_call else 1
        asked = time.monotonic()
        given = [_make(lanes, stepping, done + i) for i in range(size)]
        data_seconds += time.monotonic() - asked
        unread.append(lanes.advance(given))
        done += size
        warm &= lanes.is_warm
        stopping = should_stop() if is_alone() else stopping
        if stopping or not warm:  # what compiles is a turn of its own, which is not timed
            break
    read: Measured = jax.tree.map(lambda *parts: np.concatenate(parts).astype(float), *jax.device_get(unread))
    elapsed = time.monotonic() - started
    seconds = elapsed if warm else None
    if warm:
        pace.note(done, elapsed)
    still: list[_Running] = []
    for run in running:
        if isinstance(run.wants, Rung):
            still.append(run)
            continue
        losses, norms, ratios = (numbers[:, run.lane.number].tolist() for numbers in read)
        taken = StepResult(
            losses, norms, ratios, stopping, seconds, len(stepping), elapsed, data_seconds / len(stepping)
        )
        _send(still, run.lane, run.trial, taken)
    if stopping:
        for run in still:
            run.trial.close()
        raise Stopped
    return still


def _plan_turn(pace: _Pace, wanted: Sequence[int], should_stop: Callable[[], bool]) -> tuple[int, bool]:
    """Return how many steps are taken, and whether they are the last.

    A process by itself asks after each step whether it is to stop. Several have to take the same steps, so
    that the first of them asks before a turn, for all.
    """
    n_steps = min(pace.n_steps, *wanted)
    if is_alone():
        return n_steps, False
    n_steps, stopping = decide(lambda: (n_steps, should_stop()))
    return n_steps, stopping


def _make(lanes: Lanes, stepping: dict[int, StepRequest], i: int) -> list[Any]:
    """Return the i-th input of every lane; one that is idle is given another's."""
    given = {number: wants.make(i) for number, wants in stepping.items()}
    spare = next(iter(given.values()))
    return [given.get(number, spare) for number in range(lanes.n_lanes)]


def _halve(running: list[_Running]) -> list[_Running]:
    """Tell the best of the trials at the earliest rung to go on, and the others there to end.

    Trials that a later rung has already, as after a kill whose checkpoints were not of one step, wait on.
    """
    asked = [(run, run.wants) for run in running if isinstance(run.wants, Rung)]
    earliest = min(rung.step for _, rung in asked)
    there = sorted(
        ((run, rung) for run, rung in asked if rung.step == earliest), key=lambda pair: pair[1].score
    )
    n_kept = there[0][1].n_kept
    n_kept = -(-len(there) // 2) if n_kept is None else n_kept
    goes_on = {id(run): place < n_kept for place, (run, _) in enumerate(there)}
    still: list[_Running] = []
    for run in running:
        if id(run) not in goes_on:
            still.append(run)
            continue
        if run.waiting is not None:
            run.lane.write(run.waiting)
        _send(still, run.lane, run.trial, goes_on[id(run)])
    return still


def _send(running: list[_Running], lane: Lane, trial: Trial, value: Any) -> None:
    """Resume a trial with what it waited for; add it to the running ones unless it ends or stops."""
    try:
        wants = trial.send(value)
    except (StopIteration, Stopped):
        return
    running.append(_Running(lane, trial, wants, lane.read() if isinstance(wants, Rung) else None))
