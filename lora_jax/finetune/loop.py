"""One fine-tuning run: steps, scores on the dev split, the best weights, and the test split at the end."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.data.tasks import Batch, Batches, make_batches
from lora_jax.finetune.config import FinetuneConfig, TuneConfig
from lora_jax.finetune.course import Course
from lora_jax.finetune.evaluate import (
    SMALLER_IS_BETTER,
    Scores,
    choose_metric,
    evaluate_split,
    score_completions,
)
from lora_jax.finetune.prepare import Prepared
from lora_jax.finetune.resume import SavedCourse
from lora_jax.finetune.step import init_tuning, make_tune_step
from lora_jax.params import Params, init
from lora_jax.peft.method import Adapted, Method, adapt

STEPS_PER_READ = 10  # losses are fetched from the device this often; more often would stall a fast step

# Called with the run, its steps so far, the latest loss, and the tokens trained since the call before.
OnProgress = Callable[[FinetuneConfig, int, float, int], None]


SAVE_SECONDS = 60.0  # between two savings of a run in progress


class Stopped(Exception):
    """Training was asked to stop; its course is saved and a later call goes on from there."""


@dataclass(frozen=True)
class TuneOutcome:
    """What one run gave; no scores where it diverged. losses (n_steps,): of each step's batch, in nats."""

    config: FinetuneConfig
    method: Method
    kept: Params | None  # the trainable weights of the best dev score
    losses: np.ndarray
    tokens: np.ndarray  # (n_steps,) not padding, of each step
    planned_steps: int
    diverged_at: int | None
    dev: Scores | None
    test: Scores | None
    completions: list[str] | None  # of the first test examples, by a language model
    kept_step: int
    stopped_early: bool
    wall_seconds: float
    seconds_per_step: float | None


def unit_rate(optim: TuneConfig, n_steps: int, step: int) -> float:
    """Return a step's learning rate as a share of the peak: linear warmup, then linear to zero."""
    warmup = round(optim.warmup_fraction * n_steps)
    if step < warmup:
        return (step + 1) / warmup
    return (n_steps - step) / max(1, n_steps - warmup)


def draw_base(prepared: Prepared, seed: int) -> Params:
    """Return the base's weights, a classifier's new head drawn from the run's seed."""
    from lora_jax.model.declare import declare

    specs = declare(prepared.model)
    return {**prepared.base, **init({path: specs[path] for path in prepared.pretrained.new}, seed)}


def count_steps(config: FinetuneConfig, prepared: Prepared) -> int:
    """Return the steps of all epochs; every epoch has as many."""
    return config.optim.epochs * len(_epoch(config, prepared, 0))


def _epoch(config: FinetuneConfig, prepared: Prepared, epoch: int) -> Batches:
    packed = config.task.batching == "packed"
    return make_batches(prepared.train, config.optim.batch_size, seed=config.seed, epoch=epoch, packed=packed)


def finetune(
    config: FinetuneConfig,
    prepared: Prepared,
    folder: Path,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> TuneOutcome:
    """Train one run and score it; go on from what an earlier call left in `folder`, to the same bits.

    Raises `Stopped`, with the course saved there, soon after should_stop() becomes true.
    """
    started = time.monotonic()
    method = config.method.build(prepared.model)
    adapted = adapt(draw_base(prepared, config.seed), method, config.seed)
    n_steps = count_steps(config, prepared)
    # The step donates its state; the first of it may be the base's own arrays.
    first = {path: jnp.array(weight, copy=True) for path, weight in adapted.trainable.items()}
    course = Course(init_tuning(Adapted(first, adapted.frozen), method, config.optim.numbers))
    saved = SavedCourse(folder, config.method)
    course.kept = saved.restore(course)
    if course.kept is not None:
        best = Adapted(course.kept, adapted.frozen)
        course.dev = evaluate_split(prepared, config.method, best, prepared.dev)
    with closing(saved):
        stopped_early = _train(
            course, config, prepared, adapted.frozen, n_steps, saved, on_progress, should_stop
        )
    test, completions = None, None
    if course.diverged_at is None and course.kept is not None:
        best = Adapted(course.kept, adapted.frozen)
        test = evaluate_split(prepared, config.method, best, prepared.test)
        if prepared.task.kind == "generation":
            extra, completions = score_completions(
                prepared, config.method, best, config.task.max_tokens, config.optim.n_completions
            )
            test = Scores({**test.scores, **extra}, test.values)
    return TuneOutcome(
        config=config, method=method, kept=course.kept, losses=np.asarray(course.losses, np.float32),
        tokens=np.asarray(course.tokens), planned_steps=n_steps, diverged_at=course.diverged_at,
        dev=course.dev if test else None, test=test, completions=completions, kept_step=course.kept_step,
        stopped_early=stopped_early, wall_seconds=time.monotonic() - started,
        seconds_per_step=course.timed_seconds / course.timed_steps if course.timed_steps else None,
    )  # fmt: skip


def _train(
    course: Course,
    config: FinetuneConfig,
    prepared: Prepared,
    frozen: Params,
    n_steps: int,
    saved: SavedCourse,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> bool:
    """Train to the end, until it diverges, or until the dev score has not improved for long: then True."""
    optim = config.optim
    step_fn = make_tune_step(prepared.model, config.method, optim.numbers)
    marks = {round(n_steps * (turn + 1) / optim.evaluations) for turn in range(optim.evaluations)}
    dropout = jax.random.fold_in(jax.random.key(config.seed), 1)
    unread: list[jax.Array] = []
    seen_shapes: set[tuple[int, ...]] = set()
    clock = saved_at = time.monotonic()
    is_timed = True
    for step, batch in _steps_from(len(course.losses), config, prepared):
        is_timed &= batch.tokens_BT.shape in seen_shapes  # else it compiles
        seen_shapes.add(batch.tokens_BT.shape)
        rate = jnp.float32(optim.learning_rate * unit_rate(optim, n_steps, step))
        course.state, loss = step_fn(course.state, frozen, batch, rate, jax.random.fold_in(dropout, step))
        unread.append(loss)
        course.tokens.append(int((batch.segments_BT != 0).sum()))
        n_done, stopping = step + 1, should_stop()
        if len(unread) < STEPS_PER_READ and n_done not in marks and n_done < n_steps and not stopping:
            continue
        values = [float(value) for value in jax.device_get(unread)]
        if is_timed:
            course.timed_steps += len(values)
            course.timed_seconds += time.monotonic() - clock
        course.losses += values
        on_progress(config, n_done, values[-1], sum(course.tokens[-len(values) :]))
        unread = []
        if not np.isfinite(values).all():
            course.diverged_at = len(course.losses) - len(values) + int(np.argmin(np.isfinite(values)))
            return False
        if n_done in marks and _keep_best(course, config, prepared, frozen, n_done):
            return n_done < n_steps
        if stopping or time.monotonic() - saved_at > SAVE_SECONDS:
            saved.save(course)
            saved_at = time.monotonic()
        if stopping:
            raise Stopped
        clock, is_timed = time.monotonic(), True
    return False


def _steps_from(first: int, config: FinetuneConfig, prepared: Prepared) -> Iterator[tuple[int, Batch]]:
    """Return (step, batch) of every epoch, from step `first` on; what lies before is not even built."""
    per_epoch = len(_epoch(config, prepared, 0))
    for epoch in range(first // per_epoch, config.optim.epochs):
        batches = _epoch(config, prepared, epoch)
        start = max(0, first - epoch * per_epoch)
        yield from ((epoch * per_epoch + i, batches[i]) for i in range(start, per_epoch))


def _keep_best(course: Course, config: FinetuneConfig, prepared: Prepared, frozen: Params, step: int) -> bool:
    """Score the dev split and keep the weights if they are the best so far; is it time to stop?"""
    scores = evaluate_split(prepared, config.method, Adapted(course.state.trainable, frozen), prepared.dev)
    if not math.isfinite(scores.loss):
        course.diverged_at = len(course.losses)
        return True
    if course.dev is None or is_better(scores, course.dev, choose_metric(prepared.task.kind)):
        course.dev, course.kept_step, course.worse = scores, step, 0
        course.kept = jax.tree.map(jnp.copy, course.state.trainable)
        return False
    course.worse += 1
    return config.optim.patience is not None and course.worse >= config.optim.patience


def is_better(new: Scores, old: Scores, metric: str) -> bool:
    """Is the new score better; of equal scores, the one of smaller loss?"""
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    one, two = (sign * scores.scores[metric]["value"] for scores in (new, old))
    return one > two or (one == two and new.loss < old.loss)
