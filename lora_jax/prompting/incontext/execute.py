"""Make the runs of a comparison: score prompts, tune models and score them in the same way.

Each has a file.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import jax

from lora_jax.finetuning.config import best_rate
from lora_jax.finetuning.group import TuneRun
from lora_jax.finetuning.loop import finetune_group
from lora_jax.finetuning.recording import find_facts
from lora_jax.generation.engine import Engine
from lora_jax.metrics import SMALLER_IS_BETTER, primary_metric
from lora_jax.prompting.incontext.config import InContextConfig
from lora_jax.prompting.incontext.plan import (
    Planned,
    ShotRun,
    TuneRunPlan,
    list_shots,
    list_tunings,
    price_shots,
    price_tunings,
)
from lora_jax.prompting.incontext.records import PromptRecord, PromptStore
from lora_jax.prompting.incontext.scoring import LikelihoodTester, ask
from lora_jax.prompting.incontext.sources import Sources, deal, narrow
from lora_jax.runs.progress import Progress
from lora_jax.runs.record import RunRecord
from lora_jax.runs.recording import Facts, Recorder
from lora_jax.runs.rounds import Rounds
from lora_jax.runs.store import RunStore
from lora_jax.training.rows import Watching
from lora_jax.training.side_by_side import Stopped

Say = Callable[[str], None]
Stop = Callable[[], bool]
Guard = Callable[[], None]  # raises LoraJaxError if another worker has the run now


class Comparison:
    """One comparison in one results folder. It finds finished runs and does not repeat them.

    Args:
        name: Name of the comparison.
        config: What to compare.
        sources: The bases and tasks.
        store: The results folder.
    """

    def __init__(self, name: str, config: InContextConfig, sources: Sources, store: RunStore) -> None:
        self.name, self.config, self.sources = name, config, sources
        self.store, self.prompts = store, PromptStore(store.folder)
        self._recorder = Recorder(name, store)
        self._engines: dict[str, Engine] = {}

    def run_all(self, should_stop: Stop, say: Say) -> None:
        """Make the runs that are not finished.

        They follow the order of the config, prompts first. So put what matters most first. An unfinished
        comparison lacks the last plans. If a cell has several rates, its further draws come last, at the best
        rate.

        Args:
            should_stop: Asked before each run whether to stop.
            say: Called with a line about what is done.

        Raises:
            Stopped: `should_stop` returned True.
        """
        tunings = list(list_tunings(self.config, self.sources))
        waiting = [run for run in tunings if run.has_rivals and run.draw != run.plan.draws[0]]
        first = [run for run in tunings if not (run.has_rivals and run.draw != run.plan.draws[0])]
        self._run_phase("runs", list(list_shots(self.config)), first, should_stop, say)
        chosen = self._choose_rates(first)
        rest = [run for run in waiting if chosen.get(_cell(run)) == run.config.optim.learning_rate]
        self._run_phase("further draws at the best rates", [], rest, should_stop, say)

    def _run_phase(
        self, title: str, shots: list[ShotRun], tunings: list[TuneRunPlan], should_stop: Stop, say: Say
    ) -> None:
        planned = price_shots(shots, self.sources, set(self.prompts.finished()))
        planned += price_tunings(tunings, self.sources, self.store.settled(False))
        pending = [item for item in planned if not item.finished]
        if not pending:
            return
        seconds = sum(item.seconds for item in pending)
        say(f"{title}: {len(pending)} of {len(planned)} runs to make, about {seconds / 60:.1f} min")
        progress = Progress(planned)
        asked = {item.run_id for item in pending if isinstance(item.what, ShotRun)}

        def is_settled(run_id: str) -> bool:
            return self.prompts.is_scored(run_id) if run_id in asked else self.store.is_settled(run_id, False)

        rounds = Rounds(self.store.crew, [item.run_id for item in pending], is_settled, progress, should_stop)
        programs = None
        with progress.showing():
            for turn in rounds:
                for item in pending:
                    if should_stop():
                        raise Stopped
                    guard = turn.hold(item.run_id, [item.run_id])
                    if guard is None:
                        continue
                    needed = _name_programs(item.what)
                    if needed != programs:
                        programs = needed
                        # a cell's programs take a thousand memory mappings, and Linux allows 65,530
                        jax.clear_caches()
                    if isinstance(item.what, ShotRun):
                        self._ask(item.what, item, progress, guard)
                    else:
                        self._tune(item.what, progress, should_stop, guard)

    def _engine(self, base: str, label: str) -> Engine:
        """Return the base model without an adapter. We make it once, and all its tasks share it."""
        if base not in self._engines:
            prepared = self.sources.get(base, label)
            self._engines[base] = Engine(prepared.model, prepared.base)
        return self._engines[base]

    def _ask(self, run: ShotRun, item: Planned, progress: Progress, guard: Guard) -> None:
        prepared = self.sources.get(run.base, run.label)
        demonstrations = deal(prepared, run.k, run.draw)
        found = ask(
            self._engine(run.base, run.label),
            prepared.pretrained.tokenizer,
            run.prompt,
            demonstrations,
            prepared.task.test,
            calibrate=True,
        )
        device, versions, commit = self._recorder.provenance
        record = PromptRecord(
            run_id=run.run_id,
            sweep=self.name,
            config=run.to_dict(),
            n_shots=found.n_shots,
            n_test=len(prepared.task.test),
            demonstrations=[[e.text, e.label] for e in demonstrations],
            plain=asdict(found.plain),
            calibrated=asdict(found.calibrated) if found.calibrated else None,
            notes=list(found.notes),
            device=device,
            versions=versions,
            git_commit=commit,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        guard()
        self.prompts.write(record)
        progress.advance(item.run, 1, found.plain.loss["value"], item.own_tokens)
        progress.finish_run(item.run_id, _summarise_prompt(item.description, record))

    def _tune(self, run: TuneRunPlan, progress: Progress, should_stop: Stop, guard: Guard) -> None:
        plan = self.config.tasks[run.label]
        prepared = narrow(self.sources.get(run.plan.base, run.label, run.plan.head), plan, run.n, run.draw)
        folder = self._checkpoints(run.run_id)
        test = None if run.plan.head else LikelihoodTester(plan.asked)
        tuned = TuneRun(run.config, prepared, folder, progress.say, guard=guard)
        (result,) = finetune_group([tuned], should_stop, Watching(sink=progress), test=test)
        facts = _complete(find_facts(result, prepared), run, test)
        guard()
        self._recorder.write(run.run_id, result, facts, progress, folder)

    def _checkpoints(self, run_id: str) -> Path:
        return self.store.folder / "checkpoints" / run_id

    def _choose_rates(self, firsts: list[TuneRunPlan]) -> dict[tuple[Any, ...], float]:
        """Return the rate with the best dev score of every cell.

        A cell that diverged at all rates has none.
        """
        records = self.store.finished()
        scores: dict[tuple[Any, ...], dict[float, float]] = {}
        for run in firsts:
            record, metric = records.get(run.run_id), dev_metric(run.plan.head)
            if run.has_rivals and record is not None and record.status == "done" and record.finetuning:
                value = record.finetuning["dev"][metric]["value"]
                scores.setdefault(_cell(run), {})[run.config.optim.learning_rate] = value
        return {
            cell: best_rate(found, dev_metric(cell[-1]) not in SMALLER_IS_BETTER)
            for cell, found in scores.items()
        }


def dev_metric(head: bool) -> str:
    """Return the metric that chooses rates and weights.

    With a head it is accuracy, otherwise the loss on the answers' words.
    """
    return primary_metric("classification" if head else "generation")


def _name_programs(what: ShotRun | TuneRunPlan) -> tuple[Any, ...]:
    """Return a key that runs share if they share their compiled programs."""
    if isinstance(what, ShotRun):
        return what.base, what.label, what.k
    return what.plan.base, what.label, what.plan.head, what.config.label


def _cell(run: TuneRunPlan) -> tuple[Any, ...]:
    """Return a key that runs share if they differ only in rate and draw."""
    return run.plan.base, run.label, run.n, run.config.label, run.plan.head


def _complete(facts: Facts, run: TuneRunPlan, test: LikelihoodTester | None) -> Facts:
    """Add what only this comparison knows: the score, the examples, the cost of the test, and the line."""
    assert facts.finetuning is not None
    said = {"label": run.label, "n": run.n, "draw": run.draw, "head": run.plan.head}
    if test is not None and test.answered is not None:
        answered = asdict(test.answered)
        del answered["rights"]  # the record has them already
        said |= {"answered": answered}
    return replace(
        facts,
        data=facts.data | {"in_context": said},
        finetuning=replace(facts.finetuning, metric="accuracy"),
        summarise=partial(_summarise_tuning, run),
    )


def _summarise_prompt(words: str, record: PromptRecord) -> str:
    found = f"{words}  accuracy {record.plain['accuracy']['value']:.3f}"
    if record.calibrated is not None:
        found += f", calibrated {record.calibrated['accuracy']['value']:.3f}"
    cut = f", {record.notes[0]}" if record.notes else ""
    return f"{found}  {record.plain['n_tokens_run']} tokens  {record.plain['seconds']:.0f} s{cut}"


def _summarise_tuning(run: TuneRunPlan, record: RunRecord) -> str:
    n = "all" if run.n is None else run.n
    what = f"{run.plan.base} {run.label} {run.config.label} n {n} lr {record.learning_rate:g} draw {run.draw}"
    if record.heldout_loss is None or record.finetuning is None:
        return f"{what}  DIVERGED at step {record.diverged_at}: recorded, and left out of the comparison"
    score = record.finetuning["test"]["accuracy"]["value"]
    return f"{what}  accuracy {score:.3f}  {record.n_steps} steps  {record.wall_seconds:.0f} s"
