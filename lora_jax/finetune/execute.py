"""Run a fine-tuning sweep: each method's rates, then its best rate with every seed; a record for each run."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from lora_jax.config import ModelConfig
from lora_jax.files import write_atomically
from lora_jax.finetune.config import (
    FinetuneConfig,
    FinetuneSweep,
    best_rate,
    finetune_id,
    finetune_to_dict,
)
from lora_jax.finetune.evaluate import SMALLER_IS_BETTER, choose_metric
from lora_jax.finetune.loop import OnProgress, TuneOutcome, count_steps, finetune, unit_rate
from lora_jax.finetune.prepare import Prepared
from lora_jax.model.declare import count_parameters
from lora_jax.params import count
from lora_jax.peft.checkpoint import save_adapter
from lora_jax.peft.method import MethodConfig, task_head
from lora_jax.peft.methods import method_to_dict
from lora_jax.peft.methods.subset import Full
from lora_jax.peft.summary import training_flops_per_token
from lora_jax.runs.execute import CURVE_POINTS
from lora_jax.runs.machine import present_speed
from lora_jax.runs.progress import Progress
from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions
from lora_jax.runs.record import Finetuning, RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracker import Tracker
from lora_jax.train.trunk import final_train_loss


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
    def words(self) -> str:
        return f"{self.run.label} lr {self.run.optim.learning_rate:g} seed {self.run.seed}"


class Tuner:
    """One sweep in one results folder."""

    def __init__(
        self, name: str, sweep: FinetuneSweep, prepared: Prepared, store: RunStore, tracker: Tracker
    ) -> None:
        self.name, self.sweep, self.prepared, self.store, self.tracker = name, sweep, prepared, store, tracker
        self._provenance = (describe_device(), describe_versions(), describe_commit())
        self._n_tokens = int(prepared.train.lengths_N.sum())

    def run_all(self, should_stop: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Train what is not finished: first the rates, then the seeds. Raises loop.Stopped where stopped."""
        first = [run for label in self.sweep.methods for run in self.sweep.first_runs(label)]
        self._run_phase("learning rates, first seed", first, should_stop, say)
        chosen = choose_rates(self.sweep, self.prepared, self.store)
        for label in self.sweep.methods.keys() - chosen.keys():
            say(f"{label} diverged at every rate: it has no further seeds.")
        rest = [
            self.sweep.run(label, rate, seed)
            for label, rate in chosen.items()
            for seed in self.sweep.seeds[1:]
        ]
        self._run_phase("further seeds at each method's best rate", rest, should_stop, say)

    def _run_phase(
        self,
        title: str,
        runs: list[FinetuneConfig],
        should_stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        planned = self.plan(runs)
        pending = [item for item in planned if not item.finished]
        if not pending:
            return
        seconds = sum(item.seconds for item in pending)
        say(f"{title}: {len(pending)} of {len(planned)} runs to train, about {seconds / 60:.1f} min")
        progress = Progress(planned)
        with progress.showing():
            for item in pending:
                self._run_one(item, progress.advance, should_stop, progress)

    def plan(self, runs: list[FinetuneConfig]) -> list[PlannedTune]:
        """Price the runs by their FLOPs and this machine's speed."""
        speed, finished, planned = present_speed(), self.store.finished(), []
        for run in runs:
            flops = price(self.prepared.model, run.method, self.prepared.mean_length)
            tokens = self._n_tokens * run.optim.epochs
            run_id = finetune_id(run)
            steps = count_steps(run, self.prepared)
            planned.append(
                PlannedTune(run, run_id, steps, tokens, tokens * flops / speed, run_id in finished)
            )
        return planned

    def _run_one(
        self,
        item: PlannedTune,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
        progress: Progress,
    ) -> None:
        folder = self.store.folder / "checkpoints" / item.run_id
        outcome = finetune(item.run, self.prepared, folder, on_progress, should_stop)
        record = self.make_record(item.run_id, outcome)
        curve = make_curve(outcome, record.flops_exact / max(1, record.n_tokens))
        self._keep_weights(outcome, record)
        self.store.write(record, curve)
        shutil.rmtree(folder)
        self.tracker.log_run(record, curve)
        progress.finish_run(item.run_id, summarise(record))

    def _keep_weights(self, outcome: TuneOutcome, record: RunRecord) -> None:
        """Save the adapter, and the completions of the test split, beside the record."""
        if outcome.kept is None:
            return
        path = adapter_path(self.store.folder, record.run_id)
        save_adapter(path, outcome.kept, outcome.config.method, self.prepared.fingerprint)
        if outcome.completions is not None:
            examples = zip(self.prepared.task.test, outcome.completions, strict=False)  # the first ones
            lines = [
                json.dumps({"prompt": e.text, "completion": text, "references": e.references})
                for e, text in examples
            ]
            path = self.store.folder / "completions" / f"{record.run_id}.jsonl"
            write_atomically(path, "".join(line + "\n" for line in lines))

    def make_record(self, run_id: str, outcome: TuneOutcome) -> RunRecord:
        """Gather what is known about a finished run."""
        run, prepared, counts = outcome.config, self.prepared, count_parameters(self.prepared.model)
        n_tokens = int(outcome.tokens.sum())
        flops = price(prepared.model, run.method, prepared.mean_length)
        test, device_facts = outcome.test, self._provenance
        device, versions, commit = device_facts
        return RunRecord(
            run_id=run_id,
            sweep=self.name,
            status="done" if test else "diverged",
            config=finetune_to_dict(run),
            data=prepared.describe(),
            seed=run.seed,
            n_params=counts.non_embedding,
            n_params_with_head=counts.with_head,
            n_params_total=counts.total,
            n_tokens=n_tokens,
            unique_tokens=min(self._n_tokens, n_tokens),
            epochs=n_tokens / self._n_tokens,
            flops=6.0 * counts.with_head * n_tokens,
            flops_exact=float(flops) * n_tokens,
            train_loss=final_train_loss(outcome.losses) if test else None,
            heldout_loss=test.loss if test else None,
            heldout_loss_se=test.scores["loss"]["se"] if test else None,
            bits_per_byte=None,
            cooled=not outcome.stopped_early and test is not None,
            learning_rate=run.optim.learning_rate,
            n_steps=len(outcome.losses),
            diverged_at=outcome.diverged_at,
            wall_seconds=outcome.wall_seconds,
            trained_tokens=n_tokens,
            tokens_per_second=(
                n_tokens / len(outcome.losses) / outcome.seconds_per_step
                if outcome.seconds_per_step
                else None
            ),
            device=device,
            versions=versions,
            git_commit=commit,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            finetuning=vars(self._describe(outcome)),
        )

    def _describe(self, outcome: TuneOutcome) -> Finetuning:
        run, prepared, method = outcome.config, self.prepared, outcome.method
        n_head = count({path: method.specs[path] for path in task_head(method.specs)})
        n_all = count({path: method.specs[path] for path in method.trainable})
        return Finetuning(
            base=run.base,
            base_fingerprint=prepared.fingerprint,
            task=run.task.name,
            label=run.label,
            method=method_to_dict(run.method),
            n_trainable=n_all - n_head,
            n_head=n_head,
            flops_share=price(prepared.model, run.method, prepared.mean_length)
            / price(prepared.model, Full(), prepared.mean_length),
            optimizer_bytes=8 * n_all,
            metric=choose_metric(prepared.task.kind),
            dev=outcome.dev.scores if outcome.dev else {},
            test=outcome.test.scores if outcome.test else {},
            test_values=outcome.test.values if outcome.test else [],
            kept_step=outcome.kept_step,
            stopped_early=outcome.stopped_early,
            seconds_per_step=outcome.seconds_per_step,
        )


def choose_rates(sweep: FinetuneSweep, prepared: Prepared, store: RunStore) -> dict[str, float]:
    """Return each method's rate of the best dev score; a method that diverged at all of them has none."""
    metric = choose_metric(prepared.task.kind)
    records, chosen = store.finished(), {}
    for label in sweep.methods:
        scores = {}
        for run in sweep.first_runs(label):
            found = records[finetune_id(run)].finetuning
            if found is not None and found["dev"]:
                scores[run.optim.learning_rate] = found["dev"][metric]["value"]
        if scores:
            chosen[label] = best_rate(scores, metric not in SMALLER_IS_BETTER)
    return chosen


@lru_cache
def price(model: ModelConfig, method: MethodConfig, seq_len: int) -> float:
    """Return the FLOPs of training on one token by a method."""
    return training_flops_per_token(model, method.build(model), seq_len)


def make_curve(outcome: TuneOutcome, flops_per_token: float) -> list[dict[str, float]]:
    """Thin a run's losses to at most CURVE_POINTS rows, each a mean over the steps since the row before."""
    losses, optim = outcome.losses[: outcome.diverged_at], outcome.config.optim
    tokens = outcome.tokens.cumsum()
    stride = max(1, math.ceil(len(losses) / CURVE_POINTS))
    rows = []
    for start in range(0, len(losses), stride):
        stop = min(start + stride, len(losses))
        rate = optim.learning_rate * unit_rate(optim, outcome.planned_steps, stop - 1)
        rows.append(
            {
                "step": stop,
                "n_tokens": int(tokens[stop - 1]),
                "flops": float(tokens[stop - 1]) * flops_per_token,
                "loss": round(float(losses[start:stop].mean(dtype="float64")), 6),
                "learning_rate": round(rate, 9),
            }
        )
    return rows


def summarise(record: RunRecord) -> str:
    """One line about a finished run."""
    found: Mapping[str, object] = record.finetuning or {}
    what = f"{found['label']}  lr {record.learning_rate:g}  seed {record.seed}"
    if record.heldout_loss is None:
        return f"{what}  DIVERGED at step {record.diverged_at}: recorded, and left out of the comparison"
    scores = {name: number["value"] for name, number in (record.finetuning or {})["test"].items()}
    words = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
    return f"{what}  test {words}  {record.wall_seconds:.0f} s"


def adapter_path(folder: Path, run_id: str) -> Path:
    """Return where a run's adapter lies in a results folder."""
    return folder / "adapters" / f"{run_id}.safetensors"
