"""One fine-tuning run in its lane: its steps, its dev scores, its best weights and when it is saved."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from lora_jax.data.tasks import Encoded
from lora_jax.finetuning.config import finetune_id
from lora_jax.finetuning.evaluate import evaluate_many
from lora_jax.finetuning.feed import Feed, unit_rate
from lora_jax.finetuning.group import Placed
from lora_jax.finetuning.history import History, is_better, rung_score
from lora_jax.finetuning.resume import SavedTrial
from lora_jax.metrics import Scores, primary_metric
from lora_jax.params import Params
from lora_jax.peft.method import Adapted
from lora_jax.peft.stacking import cut, pad
from lora_jax.peft.summary import training_flops_per_token
from lora_jax.training.heldout import HeldOut
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.rows import Source, Watching
from lora_jax.training.side_by_side import Lane, Trial
from lora_jax.training.step import TrainState, evaluation_weights
from lora_jax.training.stream import Stream
from lora_jax.training.trial import StepTimer, TrainingRun


class DevScores:
    """Scores of the dev split. Runs that reach a score at the same step are scored in one call."""

    def __init__(self) -> None:
        self._due: dict[int, tuple[FinetuneTrial, Lane, int]] = {}
        self._found: dict[int, Scores] = {}

    def expect(self, run: "FinetuneTrial", lane: Lane, step: int) -> None:
        """Note that a run will ask for its score after `step` steps."""
        self._due[id(run)] = (run, lane, step)

    def forget(self, run: "FinetuneTrial") -> None:
        """Forget a run that has ended, because its lane may become another's."""
        self._due.pop(id(run), None)

    def score(self, run: "FinetuneTrial") -> Scores:
        """Return the scores of a run that has come to its step."""
        if id(run) not in self._found:
            self._score_all(run)
        return self._found.pop(id(run))

    def _score_all(self, first: "FinetuneTrial") -> None:
        arrived: list[FinetuneTrial] = []
        weights: list[Params] = []
        for other, lane, step in list(self._due.values()):
            if other.prepared.dev is first.prepared.dev:
                state = lane.read()
                if int(state.step) == step:
                    arrived.append(other)
                    weights.append(evaluation_weights(state, other.optimizer))
                    del self._due[id(other)]
        scores = score_together(arrived, weights, [other.prepared.dev for other in arrived])
        self._found |= {id(other): found for other, found in zip(arrived, scores, strict=True)}


class FinetuneTrial:
    """One run of a group, in training."""

    def __init__(
        self, placed: Placed, dev_scores: DevScores, watching: Watching, n_lanes: int, n_rivals: int
    ) -> None:
        """Take a run's place in its group.

        Args:
            placed: The place.
            dev_scores: Scores of the dev split, shared by the group.
            watching: Who watches.
            n_lanes: Number of lanes of the group.
            n_rivals: Number of runs that successive halving began with, or 0 without halving. At every dev
                score but the last, the better half continues.
        """
        self.placed, self.config, self.prepared = placed, placed.run.config, placed.run.prepared
        self.history, self.timer = History(), StepTimer(n_lanes)
        self.optimizer = make_optimizer(self.config.optim.numbers)
        self.feed = Feed(self.config, self.prepared)
        self.saved = SavedTrial(placed.run, self.feed.n_steps)
        self._dev_scores, self._watching = dev_scores, watching
        self._n_lanes, self._n_rivals = n_lanes, n_rivals
        times, n_steps = self.config.optim.evaluations, self.feed.n_steps
        self._scored_at = sorted({round(n_steps * (k + 1) / times) for k in range(times)} - {0})
        self._metric = primary_metric(self.prepared.task.kind)

    @property
    def out_of_patience(self) -> bool:
        """Were the last `patience` dev scores no better than the best?"""
        patience = self.config.optim.patience
        return patience is not None and self.history.worse >= patience

    @property
    def stopped_early(self) -> bool:
        """Did the run end before its last step because it ran out of patience?"""
        return self.out_of_patience and len(self.history.losses) < self.feed.n_steps

    @property
    def _goes_on(self) -> bool:
        left = len(self.history.losses) < self.feed.n_steps
        return left and not self.history.ended and not self.out_of_patience

    def train(self, lane: Lane) -> Trial:
        """Train until the run ends, diverges, is halted or runs out of patience.

        If the run's folder holds a state, training continues from it. If runs train beside it, its end is
        saved too, because it can take long until the whole group is recorded.

        Raises:
            Stopped: It was told to stop. The run is saved.
        """
        self._restore(lane)
        stream = self._open_stream()
        training = self._begin(lane, stream)
        try:
            while self._goes_on:
                if self._is_at_rung():
                    yield from self._contend(training)
                else:
                    scored_at = next(step for step in self._scored_at if step > len(self.history.losses))
                    self._dev_scores.expect(self, lane, scored_at)
                    yield from training.advance(scored_at, arrive=partial(self._score, lane, stream))
        finally:
            self._dev_scores.forget(self)
        stream.end()
        if self._n_lanes > 1 and not self.history.ended:
            training.save()

    def _open_stream(self) -> Stream:
        config, name, n_steps = self.config, finetune_id(self.config), self.feed.n_steps
        source = Source(name=name, run=config, run_ids=(name,), n_steps=n_steps)
        flops = training_flops_per_token(self.prepared.model, self.placed.method, self.prepared.mean_length)

        def rate_at(step: int) -> float:
            return config.optim.learning_rate * unit_rate(config.optim, n_steps, step)

        return Stream(source, self._watching, self.history, flops, rate_at)

    def _begin(self, lane: Lane, stream: Stream) -> TrainingRun:
        return TrainingRun(
            history=self.history,
            timer=self.timer,
            make_input=self.feed.make,
            count_tokens=self.feed.n_tokens.pop,
            stream=stream,
            save=lambda: self.saved.save(self.history, self._own_state(lane)),
            saving=self.placed.run.saving,
            kept_steps=self.saved.kept_steps,
        )

    def _is_at_rung(self) -> bool:
        """Has it a dev score, other than the last, that was not compared yet?"""
        passed = sum(step <= len(self.history.losses) for step in self._scored_at[:-1])
        return self._n_rivals > 1 and passed > self.history.n_rungs

    def _contend(self, training: TrainingRun) -> Trial:
        """Wait at a rung for the rivals. Then save whether the run continues."""
        history = self.history
        assert history.dev is not None  # a rung comes after a score
        history.n_rungs += 1
        n_kept = -(-self._n_rivals // 2**history.n_rungs)
        yield from training.compete(rung_score(history.dev, self._metric), n_kept)
        training.save()

    def _score(self, lane: Lane, stream: Stream) -> None:
        """Score the dev split, report the scores, and keep the weights if they are the best so far."""
        history, scores = self.history, self._dev_scores.score(self)
        step = len(history.losses)
        history.dev_curve.append([step, scores.loss, scores.scores[self._metric]["value"]])
        if not np.isfinite(scores.loss):
            history.diverged_at = step
        elif history.dev is None or is_better(scores, history.dev, self._metric):
            history.dev, history.kept_step, history.worse = scores, step, 0
            history.kept = cut(evaluation_weights(lane.read(), self.optimizer), self.placed.shapes)
        else:
            history.worse += 1
        if history.diverged_at is None:
            loss = scores.scores["loss"]
            others = {name: number["value"] for name, number in scores.scores.items() if name != "loss"}
            stream.tell(HeldOut(loss["value"], loss["se"]), scores=others)

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
    """Score trainable weights of runs of one group, each on its split.

    Runs with the same split share calls.
    """
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
