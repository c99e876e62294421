"""Run a fine-tuning sweep: each method's rates, then its best rate with every seed.

Each run gets a record.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from lora_jax.config import digest
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import (
    FinetuneConfig,
    FinetuneSweep,
    best_rate,
    finetune_id,
    finetune_to_dict,
)
from lora_jax.finetuning.feed import count_epochs, count_steps
from lora_jax.finetuning.forgetting import SourceText, forget
from lora_jax.finetuning.group import TuneRun, check_group, lane_shape
from lora_jax.finetuning.lane_count import TuneGroup, check_lanes, check_memory, settle_lane_count
from lora_jax.finetuning.loop import FinetuneResult, finetune_group
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.recording import find_facts, keep_weights, price
from lora_jax.metrics import SMALLER_IS_BETTER, primary_metric
from lora_jax.runs.lane_count import memory_limit
from lora_jax.runs.machine import present_speed
from lora_jax.runs.progress import Progress
from lora_jax.runs.record import InStudy
from lora_jax.runs.recording import Recorder
from lora_jax.runs.rounds import Rounds
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracking import Tracking
from lora_jax.runs.watching import watched
from lora_jax.training.saving import DEFAULT, Saving


@dataclass(frozen=True)
class TuneCell:
    """One comparison of methods: a sweep, and what its runs share.

    Attributes:
        sweep: The methods, rates and seeds.
        prepared: The base and the task.
        source: Held-out text that the base knows, on which forgetting is measured. None measures none.
        pretraining_tokens: Tokens that the base of a study was trained on.
        in_study: Whether the runs belong to a study. Their records then say more (`runs.record.InStudy`).
    """

    sweep: FinetuneSweep
    prepared: Prepared
    source: SourceText | None = None
    pretraining_tokens: int | None = None
    in_study: bool = False


@dataclass(frozen=True)
class PlannedTune:
    """One run of a phase and what it will cost.

    Attributes:
        run: The run.
        cell: The comparison that it belongs to.
        run_id: Its id.
        n_steps: Its number of steps.
        own_tokens: Tokens that it trains on.
        seconds: Estimated time.
        finished: Whether it has a record already.
    """

    run: FinetuneConfig
    cell: TuneCell
    run_id: str
    n_steps: int
    own_tokens: int
    seconds: float
    finished: bool

    @property
    def description(self) -> str:
        """Label, rate and seed of the run, for the progress bar."""
        size = f" {self.run.task.n_train} examples" if self.cell.in_study else ""
        return f"{self.run.label}{size} lr {self.run.optim.learning_rate:g} seed {self.run.seed}"


Asked = tuple[TuneCell, FinetuneConfig]


@dataclass(frozen=True)
class TuneSettings:
    """How a sweep is trained: which runs train together, and when states are saved.

    Attributes:
        lanes: Largest number of runs of one shape side by side. None measures how many pay.
        halving: Whether to stop the worse half of the runs that choose a method's rate, at every dev score
            but the last.
        saving: When the state of a run is saved, and which states are kept.
    """

    lanes: int | None = 1
    halving: bool = False
    saving: Saving = DEFAULT


class Tuner:
    """One or several sweeps of one base in one results folder. Runs of one shape train side by side."""

    def __init__(
        self,
        name: str,
        cells: Sequence[TuneCell],
        store: RunStore,
        tracker: Tracking,
        settings: TuneSettings = TuneSettings(),
    ) -> None:
        self.cells, self.store = tuple(cells), store
        self.lanes, self.halving, self._saving = settings.lanes, settings.halving, settings.saving
        self._tracker, self._recorder = tracker, Recorder(name, store, tracker)

    def check(self) -> None:
        """Refuse what cannot work, before anything is compiled.

        Raises:
            LoraJaxError: Halving has no scores to compare, or the memory does not hold the runs or their
                lanes.
        """
        for cell in self.cells:
            if self.halving and cell.sweep.optim.evaluations < 2:
                raise LoraJaxError(
                    f"--halving compares a method's rates at every dev score but the last, and"
                    f" optim.evaluations is {cell.sweep.optim.evaluations}: make it at least 2, or leave"
                    " --halving out."
                )
        planned = self.plan(self._first_runs())
        groups, limit = self.form_groups(planned, self.halving), memory_limit()
        check_lanes(groups, self.lanes, limit)
        check_memory(groups, limit)

    def _first_runs(self) -> list[Asked]:
        return [
            (cell, run)
            for cell in self.cells
            for label in cell.sweep.methods
            for run in cell.sweep.first_runs(label)
        ]

    def run_all(self, should_stop: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Train what is not finished: first the rates, then the seeds.

        Args:
            should_stop: Training stops soon after this returns True.
            say: Called with lines for the user.

        Raises:
            LoraJaxError: `check` refuses the sweep.
            Stopped: `should_stop` returned True. The states are saved.
        """
        self.check()
        self._run_phase("learning rates, first seed", self._first_runs(), self.halving, should_stop, say)
        rest = [asked for cell in self.cells for asked in self._further_runs(cell, say)]
        self._run_phase("further seeds at each method's best rate", rest, False, should_stop, say)

    def _further_runs(self, cell: TuneCell, say: Callable[[str], None]) -> list[Asked]:
        sweep = cell.sweep
        chosen = choose_rates(sweep, cell.prepared, self.store)
        for label in sweep.methods.keys() - chosen.keys():
            say(f"{label} diverged at every rate: it has no further seeds.")
        return [
            (cell, sweep.run(label, rate, seed)) for label, rate in chosen.items() for seed in sweep.seeds[1:]
        ]

    def _run_phase(
        self,
        title: str,
        runs: Sequence[Asked],
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
        rounds = Rounds(
            self.store.crew,
            [item.run_id for item in planned],
            partial(self.store.is_settled, halving=self.halving),
            progress,
            should_stop,
        )
        with watched(self.store.folder, planned, progress, self._tracker) as watching:
            for turn in rounds:
                for group in groups:
                    held = self._hold_runs(group, turn, progress)
                    first = next(held, None)
                    if first is None:
                        continue
                    n_lanes = self._pick_lanes(group, turn, progress)
                    coming = chain([first], held)
                    cells = {item.run_id: item.cell for item in planned}
                    while part := list(islice(coming, n_lanes)):
                        results = finetune_group(part, should_stop, watching, n_rivals=group.n_rivals)
                        for run, result in zip(part, results, strict=True):
                            run.guard()
                            self._keep(result, cells[finetune_id(result.config)], progress)

    def _hold_runs(self, group: TuneGroup, turn: Rounds, progress: Progress) -> Iterator[TuneRun]:
        """Take the runs of a group one after another. Rivals of successive halving are taken together."""
        guard = turn.hold(group.name, group.run_ids) if group.n_rivals else None
        if group.n_rivals and guard is None:
            return
        for run, run_id in zip(group.runs, group.run_ids, strict=True):
            own = guard if group.n_rivals else turn.hold(run_id, [run_id])
            if own is not None and turn.is_left(run_id):
                yield replace(run, say=progress.say, guard=own)

    def _pick_lanes(self, group: TuneGroup, turn: Rounds, progress: Progress) -> int:
        """Return how many runs of a group train side by side: all rivals, or this worker's share."""
        settle = partial(settle_lane_count, group, self.lanes, self.store.folder, progress.say)
        if self.lanes is not None or group.n_rivals:
            n_lanes = settle()
        else:
            with self.store.alone(f"measuring-{digest(group.run_ids)}", progress.say):
                n_lanes = settle()
        return n_lanes if group.n_rivals else min(n_lanes, turn.share(group.runs))

    def plan(self, runs: Sequence[Asked]) -> list[PlannedTune]:
        """Price the runs by their FLOPs and this machine's speed.

        A run that successive halving stopped counts as finished only if this sweep uses halving.
        """
        speed, planned = present_speed(), []
        records = self.store.finished().values()
        finished = {record.run_id for record in records if self.halving or record.status != "halted"}
        for cell, run in runs:
            prepared = cell.prepared
            flops = price(prepared.model, run.method, prepared.mean_length)
            tokens = round(int(prepared.train.lengths_N.sum()) * count_epochs(run, prepared))
            run_id, steps = finetune_id(run), count_steps(run, prepared)
            planned.append(
                PlannedTune(run, cell, run_id, steps, tokens, tokens * flops / speed, run_id in finished)
            )
        return planned

    def form_groups(self, planned: Sequence[PlannedTune], halving: bool) -> list[TuneGroup]:
        """Put unfinished runs of one shape together. With halving, only the rates of one method form a group.

        Runs of several set sizes are sorted by their lengths, so that lanes end at about the same time.
        """
        members: dict[Hashable, list[PlannedTune]] = {}
        for item in planned:
            rivals = (item.run.label, item.run.task) if halving else None
            key = id(item.cell.prepared.pretrained), lane_shape(item.run), rivals
            members.setdefault(key, []).append(item)
        groups = []
        for items in members.values():
            left = list({item.run_id: item for item in items if not item.finished}.values())
            runs = tuple(
                TuneRun(
                    item.run,
                    item.cell.prepared,
                    self._checkpoints(item.run_id),
                    saving=self._saving,
                    source=None if item.cell.source is None else item.cell.source.windows,
                )
                for item in sorted(left, key=lambda item: item.n_steps)
            )
            if runs:
                check_group(runs)
                tokens = sum(item.own_tokens for item in left)
                n_rivals = len(items) if halving and len(items) > 1 else 0
                name = f"rivals-{digest([item.run_id for item in items])}"
                groups.append(TuneGroup(runs, tokens, n_rivals, name))
        return groups

    def _checkpoints(self, run_id: str) -> Path:
        return self.store.folder / "checkpoints" / run_id

    def _keep(self, result: FinetuneResult, cell: TuneCell, progress: Progress) -> None:
        """Write a run's record and weights, and drop its checkpoints."""
        run_id = finetune_id(result.config)
        facts = find_facts(result, cell.prepared)
        if cell.in_study and facts.finetuning is not None:
            study = vars(_in_study(result, cell))
            facts = replace(facts, finetuning=replace(facts.finetuning, study=study))
        keep_weights(self.store.folder, run_id, result, cell.prepared)
        self._recorder.write(run_id, result, facts, progress, self._checkpoints(run_id))


def _in_study(result: FinetuneResult, cell: TuneCell) -> InStudy:
    train, after, forgotten = cell.prepared.train, result.source, None
    if cell.source is not None and after is not None:
        forgotten = asdict(forget(cell.source, np.array(after.values)))
    return InStudy(
        n_train=len(train),
        finetune_tokens=int(train.lengths_N.sum()),
        pretraining_tokens=cell.pretraining_tokens,
        source=forgotten,
    )


def choose_rates(sweep: FinetuneSweep, prepared: Prepared, store: RunStore) -> dict[str, float]:
    """Return each method's rate with the best dev score, among the runs that came to their end.

    A method that diverged at all rates is missing.
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
