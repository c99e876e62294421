"""One run in its lane: what it produced so far, what it cost, and the inner loop that takes its steps.

Pretraining (`training/trunk.py`) and fine-tuning (`finetuning/trial.py`) are made of these. They differ in
when they stop to branch or to be scored.
"""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field

from lora_jax.data.ahead import BatchesAhead
from lora_jax.training.history import LossHistory
from lora_jax.training.processes import decide
from lora_jax.training.saving import DEFAULT, Saving
from lora_jax.training.side_by_side import Rung, StepRequest, StepResult, Stopped, Trial
from lora_jax.training.step import StepInput
from lora_jax.training.stream import Stream


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run cost in this process. We do not count what an earlier process spent on it.

    Attributes:
        wall_seconds: Its share of the time that it and the runs beside it took together.
        n_lanes: The largest number of runs that shared the machine.
        trained_tokens: Tokens of the steps that it took in this process.
        tokens_per_second: Its own speed. None if no step was timed.
        step_seconds: Its share of the time of a step. None if no step was timed.
    """

    wall_seconds: float
    n_lanes: int
    trained_tokens: int
    tokens_per_second: float | None
    step_seconds: float | None


@dataclass
class StepTimer:
    """Adds up what this process spends on one run. A turn in which something was compiled is not timed.

    Attributes:
        n_lanes: The largest number of runs side by side so far.
        started: When it began, by the monotonic clock.
        others_seconds: Time spent since then on the runs beside it.
        steps: Steps taken.
        tokens: Tokens of these steps.
        timed_steps: Steps that were timed.
        timed_tokens: Tokens of the timed steps.
        timed_seconds: Time of the turns that were timed.
        timed_share: This run's share of that time, if other runs were beside it.
    """

    n_lanes: int = 1
    started: float = field(default_factory=time.monotonic)
    others_seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    timed_steps: int = 0
    timed_tokens: int = 0
    timed_seconds: float = 0.0
    timed_share: float = 0.0

    def wait(self, request: StepRequest) -> Generator[StepRequest, StepResult, StepResult]:
        """Ask for steps. Note how much time they took for this run and for the others."""
        asked = time.monotonic()
        taken = yield request
        self.others_seconds += time.monotonic() - asked - taken.elapsed / taken.n_lanes
        self.n_lanes = max(self.n_lanes, taken.n_lanes)
        return taken

    def count(self, taken: StepResult, n_tokens: int) -> None:
        """Add the steps and the tokens of a turn."""
        self.steps += len(taken.losses)
        self.tokens += n_tokens
        if taken.seconds is not None:
            self.timed_steps += len(taken.losses)
            self.timed_tokens += n_tokens
            self.timed_seconds += taken.seconds
            self.timed_share += taken.seconds / taken.n_lanes

    def cost(self, wall_seconds: float | None = None) -> Cost:
        """Return the cost so far.

        Args:
            wall_seconds: The run's wall time, if it is known from elsewhere. None takes the time from the
                start to now, without that of other runs.
        """
        own = time.monotonic() - self.started - self.others_seconds
        return Cost(
            wall_seconds=own if wall_seconds is None else wall_seconds,
            n_lanes=self.n_lanes,
            trained_tokens=self.tokens,
            tokens_per_second=self.timed_tokens / self.timed_seconds if self.timed_steps else None,
            step_seconds=self.timed_share / self.timed_steps if self.timed_steps else None,
        )


@dataclass
class TrainingRun:
    """A run in training: the inputs of its steps, its results so far, and where both are reported and saved.

    Attributes:
        history: Its losses and tokens so far.
        timer: What it cost so far.
        make_input: Makes the input of a step, counted from 0.
        count_tokens: Counts the tokens of a step, counted from 0. It is called after the step.
        stream: The rows that it reports.
        save: Saves its state.
        measure_at: The steps at which `measure` is called.
        measure: Measures the held-out loss and reports it.
        saving: How often `save` is called.
        kept_steps: The steps after which `save` is called in any case.
        saved_at: When it was saved last, by the monotonic clock.
    """

    history: LossHistory
    timer: StepTimer
    make_input: Callable[[int], StepInput]
    count_tokens: Callable[[int], int]
    stream: Stream
    save: Callable[[], None]
    measure_at: Sequence[int] = ()
    measure: Callable[[], None] = lambda: None
    saving: Saving = DEFAULT
    kept_steps: Collection[int] = ()
    saved_at: float = field(default_factory=time.monotonic)

    def advance(self, until: int, arrive: Callable[[], None] | None = None) -> Trial:
        """Train to step `until`, and save now and then. The run ends early if it diverges.

        Args:
            until: The step to train to.
            arrive: Called at step `until`, before anything is saved there. It may end the run.

        Raises:
            Stopped: It was told to stop. The run is saved.
        """
        steps = range(len(self.history.losses), until)
        with BatchesAhead(self.make_input, steps) as inputs:
            yield from self._advance(until, inputs, arrive)

    def _advance(
        self, until: int, inputs: BatchesAhead[StepInput], arrive: Callable[[], None] | None
    ) -> Trial:
        history = self.history
        if len(history.losses) in self.kept_steps:
            self.save()  # the run may have been killed after it was saved and before the state was kept
        while len(history.losses) < until and not history.ended:
            first = len(history.losses)
            due = self.saving.next_save(first, self.kept_steps)
            stop = int(min(due, *(step for step in self.measure_at if step > first), until))
            taken = yield from self.timer.wait(StepRequest(stop - first, lambda _: next(inputs)))
            tokens = [self.count_tokens(first + i) for i in range(len(taken.losses))]
            history.take(taken.losses, tokens)
            self.timer.count(taken, sum(tokens))
            step = len(history.losses)
            self.stream.take(taken, sum(tokens), hold=step == until or step in self.measure_at)
            if step in self.measure_at and not history.ended:
                self.measure()
            if arrive is not None and step == until and not history.ended:
                arrive()
            if history.ended:
                return
            if taken.stopping or step == due or decide(self._is_late):
                self.save()
                self.saved_at = time.monotonic()
            if taken.stopping:
                raise Stopped

    def _is_late(self) -> bool:
        return time.monotonic() - self.saved_at > self.saving.every_seconds

    def compete(self, score: float, n_kept: int | None) -> Trial:
        """Wait at a rung for the rivals. The run ends there if `n_kept` of them have a lower score."""
        step, asked = len(self.history.losses), time.monotonic()
        goes_on = yield Rung(score, step, n_kept)
        self.timer.others_seconds += time.monotonic() - asked
        if not goes_on:
            self.history.halted_at = step
