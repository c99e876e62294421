"""How a finished run becomes a record and a curve and is written, in pretraining as in fine-tuning."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lora_jax.config import ModelConfig
from lora_jax.model.declare import count_parameters
from lora_jax.runs.progress import Progress
from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions
from lora_jax.runs.record import Finetuning, RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracking import Tracking
from lora_jax.training.checkpoint import clear
from lora_jax.training.result import RunResult, final_train_loss

CURVE_POINTS = 200  # most rows of a stored curve, each the mean loss of the steps since the row before


class Provenance(NamedTuple):
    """What a run was made on.

    Attributes:
        device: The device.
        versions: Versions of Python and of the libraries.
        commit: Commit of the code. None if it is not a checkout.
    """

    device: str
    versions: dict[str, str]
    commit: str | None


def find_provenance() -> Provenance:
    """Return what this process runs on."""
    return Provenance(describe_device(), describe_versions(), describe_commit())


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What pretraining and fine-tuning each say about a run in their own way. Most are fields of RunRecord.

    Attributes:
        config: The configuration, as nested dictionaries.
        data: What the tokens were.
        model: The shape of the model.
        seed: The seed.
        n_tokens: Tokens seen.
        unique_tokens: Different tokens among them.
        epochs: How often the training data was seen.
        flops_per_token: FLOPs per token, forward and backward.
        bits_per_byte: The held-out loss in bits per byte.
        cooled: Whether the learning rate came down before the end.
        learning_rate: The peak.
        n_steps: Number of steps.
        rate_at: Returns the learning rate of a step, counted from 0.
        summarise: Makes the line that is printed about the record.
        finetuning: What only a fine-tuning run has.
    """

    config: dict[str, Any]
    data: dict[str, Any]
    model: ModelConfig
    seed: int
    n_tokens: int
    unique_tokens: int
    epochs: float
    flops_per_token: float
    bits_per_byte: float | None
    cooled: bool
    learning_rate: float
    n_steps: int
    rate_at: Callable[[int], float]
    summarise: Callable[[RunRecord], str]
    finetuning: Finetuning | None = None


@dataclass(frozen=True)
class Recorder:
    """Writes the finished runs of one sweep. This is the one place where a result becomes a record.

    Attributes:
        sweep: Name of the sweep.
        store: The results folder.
        tracker: Told of each run. None if there is none.
        provenance: What the runs are made on.
    """

    sweep: str
    store: RunStore
    tracker: Tracking | None = None
    provenance: Provenance = field(default_factory=find_provenance)

    def write(
        self,
        run_id: str,
        result: RunResult,
        facts: Facts,
        progress: Progress,
        checkpoints: Path | None = None,
    ) -> RunRecord:
        """Write a run's curve, its record and its row of the table. Tell the tracker and the bar.

        Write kept weights before you call this, so that a record always has them.

        Args:
            run_id: The run's id.
            result: Its result.
            facts: What else is known about it.
            progress: The bar.
            checkpoints: A folder of checkpoints. Once the record is there, all of it is removed except for
                states that are kept for good.

        Returns:
            The record.
        """
        record = make_record(self.sweep, run_id, result, facts, self.provenance)
        curve = make_curve(result, record.flops_exact / max(1, record.n_tokens), facts.rate_at)
        self.store.write(record, curve)
        if checkpoints is not None:
            self.store.secure()
            clear(checkpoints)
        if self.tracker is not None:
            self.tracker.log_run(record, curve)
        progress.finish_run(run_id, facts.summarise(record))
        return record


def make_record(
    sweep: str, run_id: str, result: RunResult, facts: Facts, provenance: Provenance
) -> RunRecord:
    """Gather what is known about a finished run."""
    counts, heldout, cost = count_parameters(facts.model), result.heldout, result.cost
    return RunRecord(
        run_id=run_id,
        sweep=sweep,
        status="halted" if result.halted_at is not None else "done" if heldout else "diverged",
        config=facts.config,
        data=facts.data,
        seed=facts.seed,
        n_params=counts.non_embedding,
        n_params_with_head=counts.with_head,
        n_params_total=counts.total,
        n_tokens=facts.n_tokens,
        unique_tokens=facts.unique_tokens,
        epochs=facts.epochs,
        flops=6.0 * counts.with_head * facts.n_tokens,
        flops_exact=float(facts.flops_per_token) * facts.n_tokens,
        train_loss=final_train_loss(result.losses) if heldout else None,
        heldout_loss=heldout.loss if heldout else None,
        heldout_loss_se=heldout.standard_error if heldout else None,
        bits_per_byte=facts.bits_per_byte,
        cooled=facts.cooled,
        learning_rate=facts.learning_rate,
        n_steps=facts.n_steps,
        diverged_at=result.diverged_at,
        wall_seconds=cost.wall_seconds,
        trained_tokens=cost.trained_tokens,
        tokens_per_second=cost.tokens_per_second,
        device=provenance.device,
        versions=provenance.versions,
        git_commit=provenance.commit,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        finetuning=vars(facts.finetuning) if facts.finetuning else None,
        lanes=cost.n_lanes,
        halted_at=result.halted_at,
    )


def make_curve(
    result: RunResult, flops_per_token: float, rate_at: Callable[[int], float]
) -> list[dict[str, float]]:
    """Return at most CURVE_POINTS rows of the loss, each a mean over the steps since the row before.

    The curve of a diverged run ends at its last finite loss.

    Args:
        result: The result of the run.
        flops_per_token: FLOPs of training per token.
        rate_at: Returns the learning rate of a step, counted from 0.
    """
    losses, tokens_seen = result.losses[: result.diverged_at], result.tokens.cumsum()
    n = len(losses)
    stride = max(1, math.ceil(n / CURVE_POINTS))
    rows = []
    for start in range(0, n, stride):
        stop = min(start + stride, n)
        tokens = int(tokens_seen[stop - 1])
        rows.append(
            {
                "step": stop,
                "n_tokens": tokens,
                "flops": tokens * flops_per_token,
                "loss": round(float(losses[start:stop].mean(dtype="float64")), 6),
                "learning_rate": round(rate_at(stop - 1), 9),
            }
        )
    return rows
