"""What one run comes to: its losses so far, their cost, and at its end the outcome."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.params import Params
from lora_jax.train.evaluate import HeldOut, evaluate
from lora_jax.train.side_by_side import Answer, Stretch


@dataclass(frozen=True)
class Outcome:
    """What one run gave. losses (n_steps,) in nats per token, shorter where the run diverged or was halted.

    wall_seconds: its share of the time of every step that it took, and its evaluation. tokens_per_second: its
    own, of the at most n_lanes runs that shared the machine.
    """

    run: RunConfig
    losses: np.ndarray
    diverged_at: int | None
    heldout: HeldOut | None
    trained_tokens: int
    wall_seconds: float
    tokens_per_second: float | None
    params: Params | None  # the final weights; None where the run diverged or was halted
    n_lanes: int = 1
    halted_at: int | None = None


@dataclass
class Leg:
    """Training in progress, its state in a lane: every loss so far, and whether it came to an early end."""

    losses: list[float] = field(default_factory=list)
    diverged_at: int | None = None
    halted_at: int | None = None

    @property
    def ended(self) -> bool:
        return self.diverged_at is not None or self.halted_at is not None


@dataclass
class Meter:
    """What this process has spent on one run; a turn in which something was compiled is not timed."""

    started: float = field(default_factory=time.monotonic)
    others_seconds: float = 0.0  # since then, on the runs beside it
    steps: int = 0
    timed_steps: int = 0
    timed_seconds: float = 0.0
    n_lanes: int = 1

    def wait(self, stretch: Stretch) -> Generator[Stretch, Answer, Answer]:
        """Ask for a stretch, and count what it took of this run's time and of others'."""
        asked = time.monotonic()
        answer = yield stretch
        self.others_seconds += time.monotonic() - asked - answer.elapsed / answer.n_lanes
        self.n_lanes = max(self.n_lanes, answer.n_lanes)
        self.steps += len(answer.losses)
        if answer.seconds is not None:
            self.timed_steps += len(answer.losses)
            self.timed_seconds += answer.seconds
        return answer

    @property
    def own_seconds(self) -> float:
        return time.monotonic() - self.started - self.others_seconds


def judge(run: RunConfig, leg: Leg, params: Params | None, dataset: Dataset, meter: Meter) -> Outcome:
    """Evaluate a run that has ended; params: its final weights, None where it came to an early end."""
    diverged_at, heldout = leg.diverged_at, None
    if not leg.ended and final_train_loss(leg.losses) > leg.losses[0]:
        diverged_at = len(leg.losses)  # it ended worse than it began: no number of it means anything
    elif params is not None:
        heldout = evaluate(run.model, params, dataset.heldout_WT, dataset.heldout_documents_W)
        if not np.isfinite(heldout.loss):
            diverged_at, heldout = len(leg.losses), None
    return Outcome(
        run=run,
        losses=np.asarray(leg.losses, np.float32),
        diverged_at=diverged_at,
        heldout=heldout,
        trained_tokens=meter.steps * run.tokens_per_step,
        wall_seconds=meter.own_seconds,
        tokens_per_second=(
            meter.timed_steps * run.tokens_per_step / meter.timed_seconds if meter.timed_steps else None
        ),
        params=params if heldout is not None else None,
        n_lanes=meter.n_lanes,
        halted_at=leg.halted_at,
    )


def final_train_loss(losses: Sequence[float] | np.ndarray) -> float:
    """Return the mean loss over the last twentieth of the steps."""
    last = np.asarray(losses[-max(1, len(losses) // 20) :], np.float64)
    return float(last.mean())
