"""One fine-tuning run in its lane: steps, scores on the dev split, the best weights, savings."""

import time
from collections.abc import Sequence

import numpy as np

from lora_jax.data.tasks import Encoded
from lora_jax.finetune.evaluate import evaluate_many
from lora_jax.finetune.feed import Feed
from lora_jax.finetune.group import Placed
from lora_jax.finetune.history import History, is_better, rung_score
from lora_jax.finetune.resume import SavedTrial
from lora_jax.metrics import Scores, primary_metric
from lora_jax.params import Params
from lora_jax.peft.method import Adapted
from lora_jax.peft.stacking import cut, pad
from lora_jax.train.checkpoint import SAVE_SECONDS
from lora_jax.train.result import OnProgress, StepTimer
from lora_jax.train.side_by_side import Lane, Rung, StepRequest, StepResult, Trial
from lora_jax.train.step import TrainState


class DevScores:
    """Scores of the dev split; runs that come to a mark at the same step are scored in one call."""

    def __init__(self) -> None:
        self._due: dict[int, tuple[FinetuneTrial, Lane, int]] = {}
        self._found: dict[int, Scores] = {}

    def expect(self, run: "FinetuneTrial", lane: Lane, mark: int) -> None:
        """Take note that a run will ask for its score after `mark` steps."""
        self._due[id(run)] = (run, lane, mark)

    def forget(self, run: "FinetuneTrial") -> None:
        """A run has ended: its lane may become another's."""
        self._due.pop(id(run), None)

    def score(self, run: "FinetuneTrial") -> Scores:
        """Return the score of a run that is at its mark."""
        if id(run) not in self._found:
            self._score_all(run)
        return self._found.pop(id(run))

    def _score_all(self, first: "FinetuneTrial") -> None:
        arrived: list[FinetuneTrial] = []
        weights: list[Params] = []
        for other, lane, mark in list(self._due.values()):
            if other.prepared.dev is first.prepared.dev:
                state = lane.read()
                if int(state.step) == mark:
                    arrived.append(other)
                    weights.append(state.trainable)
                    del self._due[id(other)]
        scores = score_together(arrived, weights, [other.prepared.dev for other in arrived])
        self._found |= {id(other): found for other, found in zip(arrived, scores, strict=True)}


class FinetuneTrial:
    """One run of a group in training.

    n_lanes: of the group. n_rivals: runs that successive halving began with, 0 where there is none: at every
    mark but the last the better half of them goes on.
    """

    def __init__(
        self, placed: Placed, dev_scores: DevScores, on_progress: OnProgress, n_lanes: int, n_rivals: int
    ) -> None:
        self.placed, self.config, self.prepared = placed, placed.run.config, placed.run.prepared
        self.history, self.timer, self.feed = History(), StepTimer(), Feed(self.config, self.prepared)
        self.saved = SavedTrial(placed.run.folder, self.config.method, placed.run.say)
        self._dev_scores, self._on_progress = dev_scores, on_progress
        self.n_lanes, self._n_rivals = n_lanes, n_rivals
        turns, n_steps = self.config.optim.evaluations, self.feed.n_steps
        self.marks = sorted({round(n_steps * (turn + 1) / turns) for turn in range(turns)} - {0})
        self._metric = primary_metric(self.prepared.task.kind)
        self._saved_at = time.monotonic()

    @property
    def out_of_patience(self) -> bool:
        patience = self.config.optim.patience
        return patience is not None and self.history.worse >= patience

    @property
    def stopped_early(self) -> bool:
        return self.out_of_patience and len(self.history.losses) < self.feed.n_steps

    def train(self, lane: Lane) -> Trial:
        """Train to the end, until it diverges, is halted, or has not improved for long.

        What was saved in the run's folder is gone on from. An end beside others is saved, since the
        others may take long until the group is recorded.
        """
        self._restore(lane)
        history, goes_on = self.history, True
        while goes_on and len(history.losses) < self.feed.n_steps and not self.out_of_patience:
            if history.halted_at is not None:
                return
            if self._is_at_rung():
                assert history.dev is not None  # it has been scored at the mark
                history.n_rungs += 1
                step, n_kept = len(history.losses), -(-self._n_rivals // 2**history.n_rungs)
                if not (yield Rung(rung_score(history.dev, self._metric), step, n_kept)):
                    history.halted_at = step
                self._save(lane)
                continue
            n_done = len(history.losses)
            mark = next(mark for mark in self.marks if mark > n_done)
            self._dev_scores.expect(self, lane, mark)
            request = StepRequest(mark - n_done, lambda i, n_done=n_done: self.feed.make(n_done + i))
            taken = yield from self.timer.wait(request)
            goes_on = self._take(taken, lane, mark)
        self._dev_scores.forget(self)
        if self.n_lanes > 1 and history.diverged_at is None:
            self._save(lane)

    def _is_at_rung(self) -> bool:
        """Has it been scored at a mark but the last, and not been compared yet?"""
        passed = sum(mark <= len(self.history.losses) for mark in self.marks[:-1])
        return self._n_rivals > 1 and passed > self.history.n_rungs

    def _take(self, taken: StepResult, lane: Lane, mark: int) -> bool:
        """Take in what a turn gave: losses, and the dev score at a mark; save; does the run go on?"""
        history, values = self.history, taken.losses
        first = len(history.losses)
        history.take(values)
        history.tokens += [self.feed.n_tokens.pop(first + i) for i in range(len(values))]
        self._on_progress(self.config, first + len(values), values[-1], sum(history.tokens[first:]))
        if history.diverged_at is not None:
            return False
        if len(history.losses) == mark:
            self._keep_best(lane, mark)
            if history.diverged_at is not None:
                return False
        if taken.stopping or time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save(lane)
        return not taken.stopping

    def _keep_best(self, lane: Lane, step: int) -> None:
        """Score the dev split and keep the weights if they are the best so far."""
        history, scores = self.history, self._dev_scores.score(self)
        if not np.isfinite(scores.loss):
            history.diverged_at = len(history.losses)
        elif history.dev is None or is_better(scores, history.dev, self._metric):
            history.dev, history.kept_step, history.worse = scores, step, 0
            history.kept = cut(lane.read().trainable, self.placed.shapes)
        else:
            history.worse += 1

    def _save(self, lane: Lane) -> None:
        self.saved.save(self.history, self._own_state(lane))
        self._saved_at = time.monotonic()

    def _own_state(self, lane: Lane) -> TrainState:
        return cut(lane.read(), self.placed.shapes)

    def _restore(self, lane: Lane) -> None:
        state = self.saved.restore(self.history, self._own_state(lane))
        if state is not None:
            lane.write(pad(state, self.placed.group_shapes))
        if self.history.kept is not None:
            self.history.dev = score_together([self], [self.history.kept], [self.prepared.dev])[0]


def score_together(
    runs: Sequence[FinetuneTrial], weights: Sequence[Params], splits: Sequence[Encoded]
) -> list[Scores]:
    """Score trainable weights of runs of one group, each on its split, those of one split together."""
    found: dict[int, Scores] = {}
    for split in {id(split): split for split in splits}.values():
        numbers = [i for i, its_own in enumerate(splits) if its_own is split]
        placed = [runs[i].placed for i in numbers]
        adapted = [
            Adapted(pad(weights[i], place.group_shapes), place.frozen)
            for i, place in zip(numbers, placed, strict=True)
        ]
        scores = evaluate_many(runs[numbers[0]].prepared, placed[0].program, adapted, split)
        found |= dict(zip(numbers, scores, strict=True))
    return [found[i] for i in range(len(runs))]
