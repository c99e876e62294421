"""The record of a finished pretraining run, and a line about it."""

from typing import Any

from lora_jax.config import RunConfig, to_dict
from lora_jax.data import Dataset
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.runs.plan import PlannedRun
from lora_jax.runs.record import RunRecord
from lora_jax.runs.recording import Facts
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.result import PretrainResult
from lora_jax.training.schedules import peak_learning_rate, unit_rate

# A run is cooled if the rate of its last step is at most this share of the peak. Fits of curves use it too.
COOLED = 0.5


def find_facts(result: PretrainResult, dataset: Dataset) -> Facts:
    """Return what only pretraining can say in the record of a finished run."""
    run, heldout, peak = result.run, result.heldout, peak_learning_rate(result.run)
    n_tokens = run.n_steps * run.tokens_per_step
    return Facts(
        config=to_dict(run),
        data=dataset.describe(),
        model=run.model,
        seed=run.seed,
        n_tokens=n_tokens,
        unique_tokens=dataset.unique_seen(n_tokens),
        epochs=dataset.epochs(n_tokens),
        flops_per_token=flops_per_token(run.model, run.data.seq_len),
        bits_per_byte=heldout.bits_per_byte(dataset.bytes_per_token) if heldout else None,
        cooled=is_cooled(run),  # only the curves have the losses of a trunk that was not cooled
        learning_rate=peak,
        n_steps=run.n_steps,
        rate_at=lambda step: peak * unit_rate(run, step),
        summarise=summarise,
    )


def describe_planned(planned: PlannedRun) -> dict[str, Any]:
    """Return what is known of a run before it begins: its config, N by each convention, C, and D/N."""
    counts, run = count_parameters(planned.run.model), planned.run
    return to_dict(run) | {
        "n_params": counts.non_embedding,
        "n_params_with_head": counts.with_head,
        "n_params_total": counts.total,
        "flops_planned": planned.flops,
        "tokens_per_param": run.n_tokens / counts.non_embedding,
        "peak_learning_rate": planned.learning_rate,
    }


def is_cooled(run: RunConfig) -> bool:
    """Did the learning rate come down before the end, so that its last value is at most half the peak?

    A run also counts as cooled if its optimizer averages the weights instead.
    """
    if make_optimizer(run.optim).takes_rate:
        return True
    return unit_rate(run, run.n_steps - 1) <= COOLED


def summarise(record: RunRecord) -> str:
    """Return one line about a finished run."""
    size = f"N {record.n_params:,}  D {record.n_tokens:,}  seed {record.seed}"
    if record.status == "halted":
        return f"{size}  halted at step {record.halted_at}: others were better; left out of the fits"
    if record.heldout_loss is None:
        return f"{size}  DIVERGED at step {record.diverged_at}: recorded, and left out of the fits"
    speed = f"  {record.tokens_per_second:,.0f} tokens/s" if record.tokens_per_second else ""
    speed += f" in 1 of {record.lanes} lanes" if speed and record.lanes > 1 else ""
    bits = "" if record.bits_per_byte is None else f"  {record.bits_per_byte:.3f} bits/byte"
    return f"{size}  held-out {record.heldout_loss:.4f} nats/token{bits}{speed}"
