"""What one run comes to: its losses so far, their cost, and at its end the result.

Pretraining and fine-tuning (`finetune/history.py`, `finetune/loop.py`) add to these what is theirs alone.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.params import Params
from lora_jax.train.evaluate import HeldOut, evaluate
from lora_jax.train.side_by_side import StepRequest, StepResult

# Called with the run's configuration, its steps so far, the latest loss, and the tokens trained since the
# call before.
OnProgress = Callable[[Any, int, float, int], None]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one run gave, in pretraining as in fine-tuning.

    losses (n_steps,): in nats per token (of a classifier per example), shorter where the run diverged or was
    halted. wall_seconds: its share of the time that the runs beside it took together.
    """

    losses: np.ndarray
    diverged_at: int | None = None
    halted_at: int | None = None  # step of the rung at which others were better
    n_lanes: int = 1
    wall_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PretrainResult(RunResult):
    """What one run of pretraining gave.

    wall_seconds: its share of the time of every step that it took, and its evaluation. tokens_per_second: its
    own, of the at most n_lanes runs that shared the machine.
    """

    run: RunConfig
    heldout: HeldOut | None = None
    trained_tokens: int = 0
    tokens_per_second: float | None = None
    params: Params | None = None  # the final weights; None where the run diverged or was halted


@dataclass
class LossHistory:
    """Training in progress, its state in a lane: every loss so far, and whether it came to an early end."""

    losses: list[float] = field(default_factory=list)
    diverged_at: int | None = None  # the first loss that was not finite
    halted_at: int | None = None

    @property
    def ended(self) -> bool:
        return self.diverged_at is not None or self.halted_at is not None

    def take(self, losses: Sequence[float]) -> None:
        """Take in the losses of the steps of a turn."""
        first, finite = len(self.losses), np.isfinite(losses)
        self.losses += losses
        if not finite.all():
            self.diverged_at = first + int(np.argmin(finite))


@dataclass
class StepTimer:
    """What this process has spent on one run; a turn in which something was compiled is not timed."""

    started: float = field(default_factory=time.monotonic)
    others_seconds: float = 0.0  # since then, on the runs beside it
    steps: int = 0
    timed_steps: int = 0
    timed_seconds: float = 0.0  # that these took
    timed_share: float = 0.0  # its share of that, where others ran beside it
    n_lanes: int = 1

    def wait(self, request: StepRequest) -> Generator[StepRequest, StepResult, StepResult]:
        """Ask for a request, and count what it took of this run's time and of others'."""
        asked = time.monotonic()
        taken = yield request
        self.others_seconds += time.monotonic() - asked - taken.elapsed / taken.n_lanes
        self.n_lanes = max(self.n_lanes, taken.n_lanes)
        self.steps += len(taken.losses)
        if taken.seconds is not None:
            self.timed_steps += len(taken.losses)
            self.timed_seconds += taken.seconds
            self.timed_share += taken.seconds / taken.n_lanes
        return taken

    @property
    def own_seconds(self) -> float:
        return time.monotonic() - self.started - self.others_seconds

    @property
    def seconds_per_step(self) -> float | None:
        """Of all runs that took it together; None where no step was timed."""
        return self.timed_seconds / self.timed_steps if self.timed_steps else None

    @property
    def share_per_step(self) -> float | None:
        """This run's share of the seconds of a step; None where none was timed."""
        return self.timed_share / self.timed_steps if self.timed_steps else None


def make_result(
    run: RunConfig, history: LossHistory, params: Params | None, dataset: Dataset, timer: StepTimer
) -> PretrainResult:
    """Evaluate a run that has ended; params: its final weights, None where it came to an early end."""
    diverged_at, heldout = history.diverged_at, None
    if not history.ended and final_train_loss(history.losses) > history.losses[0]:
        diverged_at = len(history.losses)  # it ended worse than it began: no number of it means anything
    elif params is not None:
        heldout = evaluate(run.model, params, dataset.heldout_WT, dataset.heldout_documents_W)
        if not np.isfinite(heldout.loss):
            diverged_at, heldout = len(history.losses), None
    return PretrainResult(
        run=run,
        losses=np.asarray(history.losses, np.float32),
        diverged_at=diverged_at,
        heldout=heldout,
        trained_tokens=timer.steps * run.tokens_per_step,
        wall_seconds=timer.own_seconds,
        tokens_per_second=(
            timer.timed_steps * run.tokens_per_step / timer.timed_seconds if timer.timed_steps else None
        ),
        params=params if heldout is not None else None,
        n_lanes=timer.n_lanes,
        halted_at=history.halted_at,
    )


def final_train_loss(losses: Sequence[float] | np.ndarray) -> float:
    """Return the mean loss over the last twentieth of the steps."""
    last = np.asarray(losses[-max(1, len(losses) // 20) :], np.float64)
    return float(last.mean())
