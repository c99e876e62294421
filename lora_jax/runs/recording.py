"""How a finished run becomes a record and a curve, in pretraining as in fine-tuning."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.model.declare import count_parameters
from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions
from lora_jax.runs.record import Finetuning, RunRecord
from lora_jax.train.evaluate import HeldOut
from lora_jax.train.result import RunResult, final_train_loss

CURVE_POINTS = 200  # rows of a stored curve, each the mean loss of the steps since the row before


class Provenance(NamedTuple):
    """On what a run was made."""

    device: str
    versions: dict[str, str]
    commit: str | None


def find_provenance() -> Provenance:
    """Return what this process runs on."""
    return Provenance(describe_device(), describe_versions(), describe_commit())


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What pretraining and fine-tuning each say of a run in their own way; the fields are those of RunRecord.

    heldout: None where the run diverged or was halted. flops_per_token: of forward and backward.
    """

    config: dict[str, Any]
    data: dict[str, Any]
    model: ModelConfig
    seed: int
    n_tokens: int
    unique_tokens: int
    epochs: float
    flops_per_token: float
    heldout: HeldOut | None
    bits_per_byte: float | None
    cooled: bool
    learning_rate: float
    n_steps: int
    trained_tokens: int
    tokens_per_second: float | None
    finetuning: Finetuning | None = None


def make_record(
    sweep: str, run_id: str, result: RunResult, facts: Facts, provenance: Provenance
) -> RunRecord:
    """Gather what is known about a finished run."""
    counts, heldout = count_parameters(facts.model), facts.heldout
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
        wall_seconds=result.wall_seconds,
        trained_tokens=facts.trained_tokens,
        tokens_per_second=facts.tokens_per_second,
        device=provenance.device,
        versions=provenance.versions,
        git_commit=provenance.commit,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        finetuning=vars(facts.finetuning) if facts.finetuning else None,
        lanes=result.n_lanes,
        halted_at=result.halted_at,
    )


def thin_curve(
    losses: np.ndarray,
    flops_per_token: float,
    tokens_after: Callable[[int], int],
    rate_at: Callable[[int], float],
) -> list[dict[str, float]]:
    """Thin a loss curve to at most CURVE_POINTS rows, each a mean over the steps since the row before.

    Args:
        losses: of every step, all of them finite.
        flops_per_token: of training.
        tokens_after: the tokens seen after so many steps.
        rate_at: the learning rate of a step, counted from 0.
    """
    n = len(losses)
    stride = max(1, math.ceil(n / CURVE_POINTS))
    rows = []
    for start in range(0, n, stride):
        stop = min(start + stride, n)
        tokens = tokens_after(stop)
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
