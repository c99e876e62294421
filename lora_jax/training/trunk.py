"""Trunks with a cooldown branch for each D. Several trunks of one shape train side by side.

With the schedule warmup-stable-decay, runs that differ only in n_tokens share every step up to the cooldown
of the shortest. So several D cost little more than the longest (Haegele et al. 2024, arXiv 2405.18392). A
trunk is a trial of `side_by_side.drive`. It trains along the trunk, leaves it for each branch, and returns.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from lora_jax.config import ClassesConfig, ModelConfig, RunConfig, run_id, trunk_id
from lora_jax.data import Dataset
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import flops_per_token
from lora_jax.params import Params
from lora_jax.training.checkpoint import Checkpoints, do_nothing, say_nothing
from lora_jax.training.heldout_points import HeldoutPoints, choose_points, measure_heldout
from lora_jax.training.history import LossHistory
from lora_jax.training.lanes import Lanes
from lora_jax.training.mesh import init_on, join_on, spread_step
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Optimizer
from lora_jax.training.pretraining import make_input, make_pretraining_step
from lora_jax.training.processes import decide
from lora_jax.training.repeat import steps_per_call
from lora_jax.training.result import PretrainResult, final_train_loss, make_result
from lora_jax.training.rows import UNWATCHED, Source, Watching
from lora_jax.training.saving import DEFAULT, KEPT, KeptStates, Saving
from lora_jax.training.schedules import cooldown_start, peak_learning_rate, unit_rate
from lora_jax.training.side_by_side import Lane, Trial, drive
from lora_jax.training.step import evaluation_weights
from lora_jax.training.stream import Stream
from lora_jax.training.trial import StepTimer, TrainingRun


class Shape(NamedTuple):
    """What the compiled step depends on. Runs with equal shapes can be trained side by side."""

    model: ModelConfig
    batch_size: int
    seq_len: int
    optimizer: Optimizer
    classes: ClassesConfig | None
    accumulate: int


def shape_of(run: RunConfig) -> Shape:
    """Return what the compiled step of a run depends on. Its rates, decay, clip, seed and D are data."""
    optim = run.optim
    optimizer = make_optimizer(optim)
    return Shape(run.model, optim.batch_size, run.data.seq_len, optimizer, optim.classes, optim.accumulate)


class RungAt(NamedTuple):
    """A rung of successive halving on a trunk.

    Attributes:
        step: Steps of the trunk after which rivals are compared.
        n_kept: How many of the rivals continue.
    """

    step: int
    n_kept: int


@dataclass(frozen=True)
class Trunk:
    """Runs that differ only in `n_tokens`.

    Attributes:
        runs: The runs.
        dataset: The text they read.
        folder: Where their state is saved.
        rungs: Where successive halving may end them.
        say: Called with a line if a damaged checkpoint is dropped.
        saving: When their state is saved, and which states are kept.
        guard: Called before anything is written. It raises LoraJaxError if another worker trains them now.
    """

    runs: tuple[RunConfig, ...]
    dataset: Dataset
    folder: Path
    rungs: tuple[RungAt, ...] = ()
    say: Callable[[str], None] = say_nothing
    saving: Saving = DEFAULT
    guard: Callable[[], None] = do_nothing


def train_trunks(
    trunks: Iterable[Trunk],
    n_lanes: int,
    *,
    on_result: Callable[[PretrainResult], None],
    should_stop: Callable[[], bool],
    watching: Watching = UNWATCHED,
    mesh: Mesh | None = None,
) -> None:
    """Train trunks of one shape, at most `n_lanes` at a time.

    A lane that has finished its trunk takes the next one. When none are left, the others continue in narrower
    programs. Each run starts from the same weights and reads the same batches as it would alone. Its losses
    also agree with those, within 1e-5, unless the learning rate is so high that training magnifies a rounding
    error.

    If training was stopped or killed, it resumes from the trunks' folders. A single lane resumes to the same
    bits. Several lanes resume within 1e-5, because a sum may be rounded differently in a narrower program.

    Args:
        trunks: The trunks. Each is asked for when a lane is free for it.
        n_lanes: Largest number of lanes.
        on_result: Called with each run's result as it ends.
        should_stop: Training stops soon after this returns True.
        watching: Who watches.
        mesh: Devices to spread the state and the batches of one lane over.

    Raises:
        LoraJaxError: The shapes differ.
        Stopped: `should_stop` returned True. The state is saved.
    """
    coming = iter(trunks)
    begun = list(islice(coming, n_lanes))
    if not begun:
        return
    check_shapes([trunk.runs[0] for trunk in begun])
    first, n_lanes = begun[0].runs[0], len(begun)
    waiting = chain(begun, coming)

    def work(lane: Lane) -> Trial:
        for trunk in waiting:
            check_shapes([first, trunk.runs[0]])
            yield from _TrunkTrial(trunk, lane, on_result, watching, mesh).train()

    start = init_on(mesh, first.model, first.optim, first.seed)  # every trunk replaces it by its own
    step = make_pretraining_step(first.model, first.optim)
    step = step if mesh is None else spread_step(mesh, first.model, step)
    flops = n_lanes * first.tokens_per_step * flops_per_token(first.model, first.data.seq_len)
    at_once = steps_per_call(flops) if mesh is None else 1
    lanes = Lanes(step, [start] * n_lanes, join=join_on(mesh), steps_per_call=at_once)
    drive(lanes, [work] * n_lanes, should_stop)


def check_shapes(runs: Sequence[RunConfig]) -> None:
    """Raise LoraJaxError unless one compiled step serves all runs."""
    first = shape_of(runs[0])
    for run in runs[1:]:
        shape = shape_of(run)
        differing = [name for name in Shape._fields if getattr(shape, name) != getattr(first, name)]
        if differing:
            name = differing[0]
            raise LoraJaxError(
                f"{len(runs)} runs were to be trained side by side whose {name} differs"
                f" ({getattr(first, name)} and {getattr(shape, name)}), but they must have one shape: group"
                " them by train.trunk.shape_of."
            )


@dataclass(frozen=True)
class _TrunkTrial:
    """One trunk in one lane."""

    trunk: Trunk
    lane: Lane
    on_result: Callable[[PretrainResult], None]
    watching: Watching
    mesh: Mesh | None

    def train(self) -> Trial:
        """Train the runs, the shortest first. If told to stop, save the state and raise `Stopped`."""
        folder, runs = self.trunk.folder, sorted(self.trunk.runs, key=lambda run: run.n_tokens)
        shared = {step for run in runs for step in self._kept_steps(run) if step <= cooldown_start(run)}
        kept = KeptStates(folder / KEPT, frozenset(shared))
        with closing(self._open(folder / "trunk", kept)) as checkpoints:
            reached = checkpoints.latest_step() or 0
            early = [run for run in runs if cooldown_start(run) < reached]
            if early:  # runs that were added after the trunk had passed their branch get a trunk of their own
                with closing(self._open(folder / "early", kept)) as others:
                    yield from self._climb(early, others, f"{trunk_id(early[0])}-early")
            if len(early) < len(runs):
                yield from self._climb(runs[len(early) :], checkpoints, trunk_id(runs[0]))

    def _climb(self, runs: Sequence[RunConfig], checkpoints: Checkpoints, name: str) -> Trial:
        """Train along one trunk, and train the branch of each run where it leaves."""
        self.lane.write(init_on(self.mesh, runs[0].model, runs[0].optim, runs[0].seed))
        history = LossHistory()
        self._resume(runs[0], history, checkpoints)
        ids, longest = tuple(run_id(run) for run in runs), runs[-1]
        source = Source(name=name, run=runs[0], run_ids=ids, n_steps=cooldown_start(longest))
        stream, points = self._open_stream(source, longest, history), self._choose_points(longest)
        rungs = deque(rung for rung in self.trunk.rungs if rung.step >= len(history.losses))
        for run in runs:
            stream.lead(run)
            training = self._begin(stream, history, StepTimer(), checkpoints, points)
            start = cooldown_start(run)
            while rungs and rungs[0].step <= start and not history.ended:
                yield from self._contend(training, rungs.popleft())
            yield from training.advance(start)
            stream.tell()  # the branch's curve begins with the trunk's rows, so they must be complete
            if history.ended:
                self._finish(run, training)
            else:
                yield from self._branch(run, training, name)
        stream.end()
        if not history.ended:  # kept, so that a longer run can be added to the sweep later
            self._save(history, checkpoints)
            checkpoints.keep_newest()

    def _branch(self, run: RunConfig, trunk: TrainingRun, beginning: str) -> Trial:
        """Train a run's cooldown, and put the trunk's state back."""
        forked = self.lane.read()
        history = LossHistory(list(trunk.history.losses), list(trunk.history.tokens))
        folder, name = self.trunk.folder / f"t{run.n_tokens}", run_id(run)
        own = frozenset(step for step in self._kept_steps(run) if step > cooldown_start(run))
        kept = KeptStates(self.trunk.folder / KEPT / folder.name, own)
        with closing(self._open(folder, kept)) as checkpoints:
            self._resume(run, history, checkpoints)
            source = Source(name=name, run=run, run_ids=(name,), n_steps=run.n_steps, beginning=beginning)
            stream = self._open_stream(source, run, history)
            branch = self._begin(stream, history, trunk.timer, checkpoints, self._choose_points(run))
            yield from branch.advance(run.n_steps)
            self._finish(run, branch)
            checkpoints.delete()
        self.lane.write(forked)

    def _kept_steps(self, run: RunConfig) -> frozenset[int]:
        return self.trunk.saving.steps_kept(run.n_steps)

    def _open(self, folder: Path, kept: KeptStates) -> Checkpoints:
        return Checkpoints(folder, self.trunk.say, self.trunk.saving, kept)

    def _open_stream(self, source: Source, run: RunConfig, history: LossHistory) -> Stream:
        """Open the rows of a trunk or a branch.

        Args:
            source: Whose rows they are.
            run: The run whose learning rate they show. On a trunk this is the longest run.
            history: What was trained so far.
        """
        peak = peak_learning_rate(run)
        flops = flops_per_token(run.model, run.data.seq_len)
        return Stream(source, self.watching, history, flops, lambda step: peak * unit_rate(run, step))

    def _choose_points(self, run: RunConfig) -> HeldoutPoints:
        return choose_points(run, len(self.trunk.dataset.heldout_WT), self.watching.measuring)

    def _measure(self, stream: Stream, points: HeldoutPoints) -> None:
        """Measure the held-out loss of the weights in the lane, and give a row with it."""
        found = measure_heldout(
            stream.source.run, self._weights(stream.source.run), self.trunk.dataset, points.chosen_W
        )
        stream.tell(found.whole, found.by_source)

    def _contend(self, training: TrainingRun, rung: RungAt) -> Trial:
        """Advance to a rung and wait there for the rivals. The run ends if enough of them are better."""
        yield from training.advance(rung.step)
        if not training.history.ended:
            training.save()  # it may be killed while it waits
            yield from training.compete(final_train_loss(training.history.losses), rung.n_kept)

    def _begin(
        self,
        stream: Stream,
        history: LossHistory,
        timer: StepTimer,
        checkpoints: Checkpoints,
        points: HeldoutPoints,
    ) -> TrainingRun:
        """Return a run in training that continues from a history, on the trunk or on its branch."""
        run: RunConfig = stream.source.run
        return TrainingRun(
            history=history,
            timer=timer,
            make_input=partial(make_input, run, self.trunk.dataset),
            count_tokens=lambda step: run.tokens_per_step,
            stream=stream,
            save=partial(self._save, history, checkpoints),
            measure_at=points.steps,
            measure=partial(self._measure, stream, points),
            saving=self.trunk.saving,
            kept_steps=checkpoints.kept_steps,
        )

    def _weights(self, run: RunConfig) -> Params:
        """Return the weights to evaluate and keep, from the state in the lane."""
        return evaluation_weights(self.lane.read(), make_optimizer(run.optim))

    def _save(self, history: LossHistory, checkpoints: Checkpoints) -> None:
        decide(self.trunk.guard)
        checkpoints.save(self.lane.read(), np.asarray(history.losses))

    def _resume(self, run: RunConfig, history: LossHistory, checkpoints: Checkpoints) -> None:
        """Continue from the newest checkpoint, if there is one."""
        latest = checkpoints.latest_step()
        if latest is not None and latest > len(history.losses):
            state, losses = checkpoints.restore(self.lane.read())
            self.lane.write(state)
            history.losses = [float(value) for value in losses]
            history.tokens = [run.tokens_per_step] * len(losses)

    def _finish(self, run: RunConfig, training: TrainingRun) -> None:
        decide(self.trunk.guard)
        history, timer = training.history, training.timer
        weights = None if history.ended else self._weights(run)
        result = make_result(run, history, weights, self.trunk.dataset, timer)
        if training.stream.source.beginning is not None:  # a branch has its own stream, the trunk's continues
            training.stream.end(result.heldout, result.heldout_by_source)
        self.on_result(result)
