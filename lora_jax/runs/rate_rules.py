"""What a plan says of rates that follow the batch and the length, and what the latter costs."""

from collections.abc import Sequence
from dataclasses import replace

from lora_jax.config import HORIZON_EXPONENT, RunConfig, trunk_id
from lora_jax.runs.plan import PlannedRun
from lora_jax.training.schedules import cooldown_start


def explain_rules(planned: Sequence[PlannedRun]) -> list[str]:
    """Return a sentence for each rule that is on: optim.base_batch, optim.base_tokens."""
    lines = []
    batches = sorted({b for item in planned if (b := item.run.optim.base_batch) is not None})
    if batches:
        lines.append(
            f"Batch: the rate is multiplied by sqrt(batch_size / {' or '.join(map(str, batches))})"
            " (optim.base_batch), and AdamW's beta2 follows the batch."
        )
    if any(item.run.optim.base_tokens is not None for item in planned):
        alone, shared = count_steps([item.run for item in planned])
        lines.append(
            "Length: the rate is multiplied by (optim.base_tokens / D)^optim.horizon_exponent, so runs that"
            f" differ in D share no trunk: {alone:,} steps in all, where branches would take {shared:,}."
        )
    return lines


def count_steps(runs: Sequence[RunConfig]) -> tuple[int, int]:
    """Return the steps of the runs, and those that they would take if no rate knew its length."""
    free = [
        replace(run, optim=replace(run.optim, base_tokens=None, horizon_exponent=HORIZON_EXPONENT))
        for run in runs
    ]
    return _steps(runs), _steps(free)


def _steps(runs: Sequence[RunConfig]) -> int:
    trunks: dict[str, list[RunConfig]] = {}
    for run in runs:
        trunks.setdefault(trunk_id(run), []).append(run)
    total = 0
    for members in trunks.values():
        members.sort(key=lambda run: run.n_tokens)
        shared = [0, *(cooldown_start(run) for run in members[:-1])]
        total += sum(run.n_steps - start for run, start in zip(members, shared, strict=True))
    return total
