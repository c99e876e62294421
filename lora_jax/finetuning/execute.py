"""Run a fine-tuning sweep: each method's rates, then its best rate with every seed; a record for each run."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import (
    FinetuneConfig,
    FinetuneSweep,
    best_rate,
    finetune_id,
    finetune_to_dict,
)
from lora_jax.finetuning.experiment import FinetuneExperiment
from lora_jax.finetuning.feed import count_epochs, count_steps
from lora_jax.finetuning.group import TuneRun, check_group, lane_shape
from lora_jax.finetuning.lane_count import TuneGroup, check_lanes, check_memory, settle_lane_count
from lora_jax.finetuning.loop import FinetuneResult, finetune_group
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.recording import find_facts, keep_weights, price
from lora_jax.metrics import SMALLER_IS_BETTER, primary_metric
from lora_jax.runs.lane_count import memory_limit
from lora_jax.runs.machine import present_speed
from lora_jax.runs.progress import Progress
from lora_jax.runs.recording import Recorder
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracking import Tracking
from lora_jax.runs.watching import watched
from lora_jax.training.saving import DEFAULT, Saving


@dataclass(frozen=True)
class PlannedTune:
    """One run of a phase and what it costs, for the bar."""

    run: FinetuneConfig
    run_id: str
    n_steps: int
    own_tokens: int
    seconds: float
    finished: bool

    @property
    def description(self) -> str:
        return f"{self.run.label} lr {self.run.optim.learning_rate:g} seed {self.run.seed}"


@dataclass(frozen=True)
class TuneSettings:
    """How a sweep is trained: what together in one program, and when states are saved.

    Attributes:
        lanes: Largest number of runs of one shape. None measures how many pay.
        halving: Whether to stop the worse half of the runs that choose a method's rate, at every mark but the
            last.
        saving: When the state of a run is saved, and which states are kept.
    """

    lanes: int | None = 1
    halving: bool = False
    saving: Saving = DEFAULT


class Tuner:
    """One sweep in one results folder."""

    def __init__(
        self,
        experiment: FinetuneExperiment,
        prepared: Prepared,
        store: RunStore,
        tracker: Tracking,
        settings: TuneSettings = TuneSettings(),
    ) -> None:
        self.sweep, self.prepared, self.store = experiment.sweep, prepared, store
        self.lanes, self.halving, self._saving = settings.lanes, settings.halving, settings.saving
        self._tracker, self._recorder = tracker, Recorder(experiment.name, store, tracker)
        self._n_tokens = int(prepared.train.lengths_N.sum())

    def check(self) -> None:
        """Refuse what cannot be, before anything compiles: halving without scores, lanes without memory."""
        if self.halving and self.sweep.optim.evaluations < 2:
            raise LoraJaxError(
                f"--halving compares a method's rates at every dev score but the last, and optim.evaluations"
                f" is {self.sweep.optim.evaluations}: make it at least 2, or leave --halving out."
            )
        planned = self.plan(self._first_runs())
        groups, limit = self.form_groups(planned, self.halving), memory_limit()
        check_lanes(groups, self.lanes, limit)
        check_memory(groups, limit)

    def _first_runs(self) -> list[FinetuneConfig]:
        return [run for label in self.sweep.methods for run in self.sweep.first_runs(label)]

    def run_all(self, should_stop: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Train what is not finished: first the rates, then the seeds. Raises `Stopped` where stopped."""
        self.check()
        first = self._first_runs()
        self._run_phase("learning rates, first seed", first, self.halving, should_stop, say)
        chosen = choose_rates(self.sweep, self.prepared, self.store)
        for label in self.sweep.methods.keys() - chosen.keys():
            say(f"{label} diverged at every rate: it has no further seeds.")
        rest = [
            self.sweep.run(label, rate, seed)
            for label, rate in chosen.items()
            for seed in self.sweep.seeds[1:]
        ]
        self._run_phase("further seeds at each method's best rate", rest, False, should_stop, say)

    def _run_phase(
        self,
        title: str,
        runs: list[FinetuneConfig],
        halving: bool,
        should_stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        planned = self.plan(runs)
        pending = [item for item in planned if not item.finished]
        if not pending:
            return
        groups = self.form_groups(planned, halving)
        check_lanes(groups, self.lanes, memory_limit())
        seconds = sum(item.seconds for item in pending)
        say(f"{title}: {len(pending)} of {len(planned)} runs to train, about {seconds / 60:.1f} min")
        progress = Progress(planned)
        self._tracker.announce({item.run_id: finetune_to_dict(item.run) for item in pending})
        with watched(self.store.folder, planned, progress, self._tracker) as watching:
            for group in groups:
                n_lanes = settle_lane_count(group, self.lanes, self.store.folder, progress.say)
                for start in range(0, len(group.runs), n_lanes):
                    part = [replace(run, say=progress.say) for run in group.runs[start : start + n_lanes]]
                    results = finetune_group(part, should_stop, watching, n_rivals=group.n_rivals)
                    for result in results:
                        self._keep(result, progress)

    def plan(self, runs: list[FinetuneConfig]) -> list[PlannedTune]:
        """Price the runs by their FLOPs and this machine's speed; one that was halted is done with."""
        speed, planned = present_speed(), []
        records = self.store.finished().values()
        finished = {record.run_id for record in records if self.halving or record.status != "halted"}
        for run in runs:
            flops = price(self.prepared.model, run.method, self.prepared.mean_length)
            tokens = round(self._n_tokens * count_epochs(run, self.prepared))
            run_id = finetune_id(run)
            steps = count_steps(run, self.prepared)
            planned.append(
                PlannedTune(run, run_id, steps, tokens, tokens * flops / speed, run_id in finished)
            )
        return planned

    def form_groups(self, planned: list[PlannedTune], halving: bool) -> list[TuneGroup]:
        """Put what is left of runs of one shape together, with halving those of one method's rates alone."""
        members: dict[Hashable, list[PlannedTune]] = {}
        for item in planned:
            key = lane_shape(item.run), item.run.label if halving else None
            members.setdefault(key, []).append(item)
        groups = []
        for items in members.values():
            left = list({item.run_id: item for item in items if not item.finished}.values())
            runs = tuple(
                TuneRun(item.run, self.prepared, self._checkpoints(item.run_id), saving=self._saving)
                for item in left
            )
            if runs:
                check_group(runs)
                tokens = sum(item.own_tokens for item in left)
                groups.append(TuneGroup(runs, tokens, len(items) if halving and len(items) > 1 else 0))
        return groups

    def _checkpoints(self, run_id: str) -> Path:
        return self.store.folder / "checkpoints" / run_id

    def _keep(self, result: FinetuneResult, progress: Progress) -> None:
        """Write what a run gave, and drop its checkpoints."""
        run_id, facts = finetune_id(result.config), find_facts(result, self.prepared)
        keep_weights(self.store.folder, run_id, result, self.prepared)
        self._recorder.write(run_id, result, facts, progress, self._checkpoints(run_id))


def choose_rates(sweep: FinetuneSweep, prepared: Prepared, store: RunStore) -> dict[str, float]:
    """Return each method's rate of the best dev score, of the runs that came to their end.

    A method that diverged at all of them has none.
    """
    metric = primary_metric(prepared.task.kind)
    records, chosen = store.finished(), {}
    for label in sweep.methods:
        scores = {}
        for run in sweep.first_runs(label):
            record = records[finetune_id(run)]
            found = record.finetuning
            if record.status == "done" and found is not None and found["dev"]:
                scores[run.optim.learning_rate] = found["dev"][metric]["value"]
        if scores:
            chosen[label] = best_rate(scores, metric not in SMALLER_IS_BETTER)
    return chosen
