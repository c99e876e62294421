"""One trunk run per model size, with a cooldown branch for each D.

Under warmup-stable-decay, runs that differ in n_tokens alone share every step up to the cooldown of the
shortest, so that several D cost little more than the longest (Haegele et al. 2024, arXiv 2405.18392).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.params import Params
from lora_jax.train.checkpoint import Checkpoints
from lora_jax.train.evaluate import HeldOut, evaluate
from lora_jax.train.lanes import compile_step
from lora_jax.train.optim import cooldown_start, make_knobs, peak_learning_rate, unit_rate
from lora_jax.train.step import StepInput, TrainState, init_state, make_step

STEPS_PER_READ = 10  # losses are fetched from the device this often; more often would stall a fast step


class Stopped(Exception):
    """Training was asked to stop; its state is saved and a later call goes on from there."""


@dataclass(frozen=True)
class Outcome:
    """What one run gave. losses (n_steps,) in nats per token, shorter where the run diverged."""

    run: RunConfig
    losses: np.ndarray
    diverged_at: int | None
    heldout: HeldOut | None
    trained_tokens: int
    wall_seconds: float
    tokens_per_second: float | None
    params: Params | None  # the final weights; None where the run diverged


# Called with the run, its steps so far, the latest loss, and the tokens trained since the call before.
OnProgress = Callable[[RunConfig, int, float, int], None]


@dataclass
class Leg:
    """Training in progress: the state and every loss so far."""

    state: TrainState
    losses: list[float] = field(default_factory=list)
    diverged_at: int | None = None

    def fork(self) -> "Leg":
        """Copy the state, which the next step donates."""
        return Leg(jax.tree.map(jnp.copy, self.state), list(self.losses))


@dataclass
class Meter:
    """What this process has spent on one run; the first step of a leg may compile and is not timed."""

    started: float = field(default_factory=time.monotonic)
    steps: int = 0
    timed_steps: int = 0
    timed_seconds: float = 0.0


@dataclass(frozen=True)
class Trainer:
    """What every leg of a trunk needs."""

    dataset: Dataset
    on_progress: OnProgress
    should_stop: Callable[[], bool]
    save_seconds: float

    def advance(self, leg: Leg, run: RunConfig, until: int, checkpoints: Checkpoints, meter: Meter) -> None:
        """Train `leg` by `run`'s schedule to step `until`, saving now and then; stop early if it diverges."""
        step_fn, peak = compile_step(make_step(run.model, run.optim), False), peak_learning_rate(run)
        unread: list[jax.Array] = []
        first = step = len(leg.losses)
        saved = read = time.monotonic()
        while step < until:
            windows_BU = self.dataset.batch(step, run.optim.batch_size, run.seed)
            knobs = make_knobs(run.optim, peak * unit_rate(run, step))
            leg.state, loss = step_fn(leg.state, {}, {}, StepInput(windows_BU, knobs))
            unread.append(loss)
            step += 1
            stopping, is_first = self.should_stop(), step == first + 1
            if not (is_first or stopping or len(unread) == STEPS_PER_READ or step == until):
                continue
            values = [float(value) for value in jax.device_get(unread)]
            now = time.monotonic()
            meter.steps += len(values)
            if not is_first:
                meter.timed_steps += len(values)
                meter.timed_seconds += now - read
            leg.losses += values
            self.on_progress(run, step, values[-1], len(values) * run.tokens_per_step)
            unread, read = [], now
            if not np.isfinite(values).all():
                leg.diverged_at = len(leg.losses) - len(values) + int(np.argmin(np.isfinite(values)))
                return
            if stopping or now - saved > self.save_seconds:
                checkpoints.save(leg.state, np.asarray(leg.losses))
                saved = read = time.monotonic()
            if stopping:
                raise Stopped

    def resume(self, leg: Leg, checkpoints: Checkpoints) -> None:
        """Continue from the newest checkpoint, where there is one."""
        latest = checkpoints.latest_step()
        if latest is not None and latest > len(leg.losses):
            leg.state, losses = checkpoints.restore(leg.state)
            leg.losses = [float(value) for value in losses]


def train_trunk(
    runs: Sequence[RunConfig],
    dataset: Dataset,
    folder: Path,
    *,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
    save_seconds: float = 60.0,
) -> Iterator[Outcome]:
    """Train the runs of one trunk, shortest first, and yield each as it finishes.

    Resumes from `folder`; a resumed run gives the same bits as one that was never interrupted. Raises
    `Stopped`, with the state saved, soon after should_stop() becomes true.
    """
    trainer = Trainer(dataset, on_progress, should_stop, save_seconds)
    runs = sorted(runs, key=lambda run: run.n_tokens)
    trunk_folder = Checkpoints(folder / "trunk")
    reached = trunk_folder.latest_step() or 0
    early = [run for run in runs if cooldown_start(run) < reached]
    if early:  # shorter runs, added after the trunk had passed them, start a trunk of their own
        yield from _train(trainer, early, Checkpoints(folder / "early"), folder)
    yield from _train(trainer, runs[len(early) :], trunk_folder, folder)


def _train(
    trainer: Trainer, runs: Sequence[RunConfig], checkpoints: Checkpoints, folder: Path
) -> Iterator[Outcome]:
    if not runs:
        return
    trunk = Leg(init_state(runs[0].model, runs[0].optim, runs[0].seed))
    trainer.resume(trunk, checkpoints)
    for run in runs:
        meter, branch = Meter(), trunk
        if trunk.diverged_at is None:
            trainer.advance(trunk, run, cooldown_start(run), checkpoints, meter)
        if trunk.diverged_at is None:
            branch = trunk.fork()
            branch_checkpoints = Checkpoints(folder / f"t{run.n_tokens}")
            trainer.resume(branch, branch_checkpoints)
            trainer.advance(branch, run, run.n_steps, branch_checkpoints, meter)
            branch_checkpoints.delete()
        yield _finish(trainer.dataset, run, branch, meter)
    if trunk.diverged_at is None:  # kept, so that a longer run can be added to the sweep later
        checkpoints.save(trunk.state, np.asarray(trunk.losses))
    checkpoints.close()


def _finish(dataset: Dataset, run: RunConfig, leg: Leg, meter: Meter) -> Outcome:
    diverged_at, heldout = leg.diverged_at, None
    if diverged_at is None and final_train_loss(leg.losses) > leg.losses[0]:
        diverged_at = len(leg.losses)  # it ended worse than it began: no number of it means anything
    if diverged_at is None:
        params = leg.state.trainable
        heldout = evaluate(run.model, params, dataset.heldout_WT, dataset.heldout_documents_W)
        diverged_at = None if np.isfinite(heldout.loss) else len(leg.losses)
    return Outcome(
        run=run,
        losses=np.asarray(leg.losses, np.float32),
        diverged_at=diverged_at,
        heldout=heldout if diverged_at is None else None,
        trained_tokens=meter.steps * run.tokens_per_step,
        wall_seconds=time.monotonic() - meter.started,
        tokens_per_second=(
            meter.timed_steps * run.tokens_per_step / meter.timed_seconds if meter.timed_steps else None
        ),
        params=leg.state.trainable if diverged_at is None else None,
    )


def final_train_loss(losses: Sequence[float] | np.ndarray) -> float:
    """Return the mean loss over the last twentieth of the steps."""
    last = np.asarray(losses[-max(1, len(losses) // 20) :], np.float64)
    return float(last.mean())
