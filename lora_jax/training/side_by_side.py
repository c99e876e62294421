"""Drive several runs through their lanes. Each asks for its next steps and receives their losses.

A run is a generator, its trial. It yields a `StepRequest`: the steps until it next has something to do (a
branch, a score, its end). After each turn of steps it is sent a `StepResult`. So a run does not know which
runs train beside it, and the same code drives a single run.
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

# We fetch losses from the device after so many steps, because fetching more often would stall a fast step. If
# steps are slow, we fetch after about a second.
STEPS_PER_READ, SECONDS_PER_READ = 10, 1.0


class Stopped(Exception):
    """Training was asked to stop. The state is saved, and a later call continues from it."""


@dataclass(frozen=True)
class StepRequest:
    """Steps that a run asks for.

    Attributes:
        n_steps: The largest number of steps to take.
        make: Makes the input of the i-th step, counted from 0, as host arrays.
    """

    n_steps: int
    make: Callable[[int], Any]


@dataclass(frozen=True)
class StepResult:
    """What one turn of steps gave a run.

    Attributes:
        losses: Losses of the steps that it took, in order.
        gradient_norms: L2 norm of each step's gradient.
        update_ratios: Size of each step's update relative to the weights (`training.step.Measured`).
        stopping: Whether the run must save its state and return.
        seconds: Time of the turn, which `n_lanes` runs share. None if something was compiled in it.
        n_lanes: Number of runs in the turn.
        elapsed: Time of the turn with compilation, in seconds.
        data_seconds: This run's share of the time spent waiting for batches, in seconds.
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
    """A score to compare with those of rivals, for successive halving. Lower is better.

    A run that yields a rung waits for the others. Then it is sent whether it continues. Among the runs at the
    rung of the same step the best `n_kept` continue. With a fixed number the choice does not depend on which
    runs are still there. So a sweep that was killed at a rung comes to the same choice.

    Attributes:
        score: The score.
        step: Steps taken so far.
        n_kept: How many continue. None keeps the better half.

    Reference: Jamieson & Talwalkar 2016 (arXiv 1502.07943).
    """

    score: float
    step: int = 0
    n_kept: int | None = None


Trial = Generator[StepRequest | Rung, Any, None]  # receives a StepResult for a StepRequest, a bool for a Rung


class Lane:
    """A run's access to its own state. Its number changes when lanes are moved to a narrower program."""

    def __init__(self, lanes: Lanes, number: int) -> None:
        self._lanes, self.number = lanes, number

    def read(self) -> TrainState:
        """Return a copy of the state. Later steps do not change it."""
        return self._lanes.read(self.number)

    def write(self, state: TrainState) -> None:
        """Continue from a copy of another state."""
        self._lanes.write(self.number, state)


@dataclass
class _Running:
    """A trial that has not ended, and what it waits for."""

    lane: Lane
    trial: Trial
    wants: StepRequest | Rung
    waiting: TrainState | None = None  # state at a rung, because its lane is stepped while the others arrive


def drive(lanes: Lanes, begin: Sequence[Callable[[Lane], Trial]], should_stop: Callable[[], bool]) -> None:
    """Run one trial in each lane to its end.

    A lane whose trial has ended is idle. When half of the lanes are idle, the others continue in a narrower
    program.

    Args:
        lanes: The lanes.
        begin: For each lane, the function that begins its trial.
        should_stop: Training stops soon after this returns True.

    Raises:
        Stopped: `should_stop` returned True. Every trial was told and could save its state.
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
    """How many steps we take before we fetch their losses. It follows from the time of earlier steps."""

    n_steps: int = STEPS_PER_READ

    def note(self, n_steps: int, seconds: float) -> None:
        """Adjust to the time of a turn in which nothing was compiled."""
        self.n_steps = int(min(STEPS_PER_READ, max(1, SECONDS_PER_READ * n_steps / max(seconds, 1e-9))))


def _take_turn(
    lanes: Lanes, running: list[_Running], pace: _Pace, should_stop: Callable[[], bool]
) -> list[_Running]:
    """Step until some trial has what it asked for. Lanes that are idle or wait at a rung compute in vain."""
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
        if stopping or not warm:  # a step that compiles is a turn of its own, which is not timed
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
    """Return how many steps to take, and whether they are the last.

    A single process asks after each step whether to stop. Several processes have to take the same steps. So
    the first one asks before each turn, for all of them.
    """
    n_steps = min(pace.n_steps, *wanted)
    if is_alone():
        return n_steps, False
    n_steps, stopping = decide(lambda: (n_steps, should_stop()))
    return n_steps, stopping


def _make(lanes: Lanes, stepping: dict[int, StepRequest], i: int) -> list[Any]:
    """Return the i-th input of every lane. An idle lane gets the input of another."""
    given = {number: wants.make(i) for number, wants in stepping.items()}
    spare = next(iter(given.values()))
    return [given.get(number, spare) for number in range(lanes.n_lanes)]


def _halve(running: list[_Running]) -> list[_Running]:
    """Tell the best of the trials at the earliest rung to continue, and the others there to end.

    After a kill, checkpoints may be of different steps. So some trials may already be at a later rung. They
    keep waiting.
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
    """Send a trial what it waited for. Add it to the running ones unless it ends or stops."""
    try:
        wants = trial.send(value)
    except (StopIteration, Stopped):
        return
    running.append(_Running(lane, trial, wants, lane.read() if isinstance(wants, Rung) else None))
