"""Fine-tuning runs, one or several side by side: train them to their ends, then score the test split."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lora_jax.data.tasks import Encoded
from lora_jax.finetuning.config import FinetuneConfig
from lora_jax.finetuning.evaluate import score_completions
from lora_jax.finetuning.group import TuneRun, start_group
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.trial import DevScores, FinetuneTrial, score_together
from lora_jax.metrics import Scores
from lora_jax.params import Params
from lora_jax.peft.method import Adapted, Method
from lora_jax.peft.stacking import pad
from lora_jax.training.heldout import HeldOut
from lora_jax.training.result import RunResult
from lora_jax.training.rows import UNWATCHED, Watching
from lora_jax.training.side_by_side import drive

# (the run, its base and task, its weights) -> scores of the test split. It replaces our own scoring.
Tester = Callable[[FinetuneConfig, Prepared, Adapted], Scores]


@dataclass(frozen=True, kw_only=True)
class FinetuneResult(RunResult):
    """The result of one fine-tuning run. It has no test scores if the run diverged or was halted.

    `weights` are the trainable weights with the best dev score. `cost.n_lanes` is the number of runs side by
    side at the start.

    Attributes:
        config: The run.
        method: Its method, built for the model.
        planned_steps: Steps that it was to train for.
        dev: Dev scores of the kept weights. None if it diverged or was never scored.
        test: Test scores of the kept weights.
        completions: What a language model wrote for the first test examples. None for a classifier.
        dev_curve: [step, loss, score] of every dev score.
        kept_step: The step of the kept weights.
        stopped_early: Whether it ran out of patience.
        source: Scores of the kept weights on `TuneRun.source`.
    """

    config: FinetuneConfig
    method: Method
    planned_steps: int
    dev: Scores | None
    test: Scores | None
    completions: list[str] | None
    dev_curve: list[list[float]]
    kept_step: int
    stopped_early: bool
    source: Scores | None = None


def finetune(
    config: FinetuneConfig,
    prepared: Prepared,
    folder: Path,
    should_stop: Callable[[], bool],
    watching: Watching = UNWATCHED,
    test: Tester | None = None,
) -> FinetuneResult:
    """Train one run and score it.

    If an earlier call left a state in `folder`, training resumes from it, to the same bits.

    Args:
        config: The run.
        prepared: The base and the task, prepared for it.
        folder: Where the state is saved.
        should_stop: Training stops soon after this returns True.
        watching: Who watches.
        test: Another way to score the test split. Its scores include a "loss".

    Raises:
        Stopped: `should_stop` returned True. The state is saved.
    """
    return finetune_group([TuneRun(config, prepared, folder)], should_stop, watching, test=test)[0]


def finetune_group(
    runs: Sequence[TuneRun],
    should_stop: Callable[[], bool],
    watching: Watching = UNWATCHED,
    *,
    n_rivals: int = 0,
    test: Tester | None = None,
) -> list[FinetuneResult]:
    """Train runs of one base and one method's shape together, and score them.

    The runs may differ in learning rate, decay, clipping, epochs, seed, rank, alpha, start and examples. Each
    gives what it would give alone, up to rounding. A run that trains alone gives the same bits every time.

    Args:
        runs: The runs.
        should_stop: Training stops soon after this returns True.
        watching: Who watches.
        n_rivals: Number of runs that successive halving began with. `runs` are those that are left. The
            better half continues at every dev score but the last (Jamieson & Talwalkar 2016, arXiv
            1502.07943). 0 does not halve.
        test: Another way to score the test split.

    Returns:
        The results, in the order of the runs.

    Raises:
        LoraJaxError: The runs are not of one shape.
        Stopped: `should_stop` returned True. The states are saved in the runs' folders.
    """
    started = time.monotonic()
    lanes, placed = start_group(runs)
    dev_scores = DevScores()
    trials = [FinetuneTrial(place, dev_scores, watching, len(runs), n_rivals) for place in placed]
    with ExitStack() as closed:
        for trial in trials:
            closed.callback(trial.saved.close)
        drive(lanes, [trial.train for trial in trials], should_stop)
    sources = _score(trials, [run.source for run in runs])
    if test is None:
        tested = _score(trials, [run.prepared.test for run in runs])
        found = [_complete(trial, scores) for trial, scores in zip(trials, tested, strict=True)]
    else:
        found = [(_test_by(test, trial), None) for trial in trials]
    seconds, n_steps = time.monotonic() - started, sum(trial.timer.steps for trial in trials)
    shares = [trial.timer.steps / n_steps if n_steps else 1 / len(runs) for trial in trials]
    return [
        replace(_conclude(trial, scores, completions, share * seconds), source=source)
        for trial, (scores, completions), source, share in zip(trials, found, sources, shares, strict=True)
    ]


def _kept(trial: FinetuneTrial) -> Params | None:
    """Return the weights to test. None if the run did not come to its end."""
    history = trial.history
    return history.kept if history.diverged_at is None and history.halted_at is None else None


def _test_by(test: Tester, trial: FinetuneTrial) -> Scores | None:
    kept, place = _kept(trial), trial.placed
    if kept is None:
        return None
    return test(trial.config, trial.prepared, Adapted(pad(kept, place.group_shapes), place.frozen))


def _score(trials: Sequence[FinetuneTrial], splits: Sequence[Encoded | None]) -> list[Scores | None]:
    """Score the kept weights of the runs that came to their end, each on its split, in common calls."""
    kept: dict[int, Params] = {}
    wanted: list[Encoded] = []
    for number, (trial, split) in enumerate(zip(trials, splits, strict=True)):
        weights = _kept(trial)
        if weights is not None and split is not None:
            kept[number] = weights
            wanted.append(split)
    scores = score_together([trials[number] for number in kept], list(kept.values()), wanted)
    found = dict(zip(kept, scores, strict=True))
    return [found.get(number) for number in range(len(trials))]


def _complete(trial: FinetuneTrial, test: Scores | None) -> tuple[Scores | None, list[str] | None]:
    """Let a language model complete test examples.

    Returns:
        The test scores with those of its completions, and the completions. A classifier has none.
    """
    config, prepared, kept = trial.config, trial.prepared, trial.history.kept
    if test is None or kept is None or prepared.task.kind != "generation":
        return test, None
    place = trial.placed
    best = Adapted(pad(kept, place.group_shapes), place.frozen)
    extra, completions = score_completions(
        prepared, place.program, best, config.task.max_tokens, config.optim.n_completions
    )
    return Scores({**test.scores, **extra}, test.values), completions


def _conclude(
    trial: FinetuneTrial, test: Scores | None, completions: list[str] | None, seconds: float
) -> FinetuneResult:
    history = trial.history
    return FinetuneResult(
        config=trial.config,
        method=trial.placed.method,
        planned_steps=trial.feed.n_steps,
        losses=np.asarray(history.losses, np.float32),
        tokens=np.asarray(history.tokens, np.int64),
        diverged_at=history.diverged_at,
        halted_at=history.halted_at,
        heldout=HeldOut(test.loss, test.scores["loss"]["se"]) if test else None,
        weights=history.kept,
        dev=history.dev if history.diverged_at is None else None,
        test=test,
        completions=completions,
        dev_curve=history.dev_curve,
        kept_step=history.kept_step,
        stopped_early=trial.stopped_early,
        cost=trial.timer.cost(seconds),
    )
