"""What a plan says about learning rates that depend on the batch and the length, and what the latter cost."""

from collections.abc import Sequence
from dataclasses import replace

from lora_jax.config import HORIZON_EXPONENT, RunConfig, trunk_id
from lora_jax.runs.plan import PlannedRun
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.schedules import cooldown_start

LENGTH_RULES = {
    "base_tokens": "the rate is multiplied by (optim.base_tokens / D)^optim.horizon_exponent",
    "warmup_fraction": "warmup is a share of the steps (optim.warmup_fraction)",
}


def explain_rules(planned: Sequence[PlannedRun]) -> list[str]:
    """Return a sentence for each rule that is on: optim.base_batch, and those that depend on the length."""
    lines = _explain_batch(planned)
    rules = [
        words
        for field, words in LENGTH_RULES.items()
        if any(getattr(item.run.optim, field) is not None for item in planned)
    ]
    if rules:
        alone, shared = count_steps([item.run for item in planned])
        lines.append(
            f"Length: {' and '.join(rules)}. So runs that differ in D share no trunk: {alone:,} steps in all,"
            f" where branches would take {shared:,}."
        )
    return lines


def _explain_batch(planned: Sequence[PlannedRun]) -> list[str]:
    """Say what optim.base_batch does, and which optimizers have no second moment for it to change."""
    ruled = [item.run.optim for item in planned if item.run.optim.base_batch is not None]
    if not ruled:
        return []
    batches = sorted({optim.base_batch for optim in ruled if optim.base_batch is not None})
    optimizers = [make_optimizer(optim) for optim in ruled]
    without = sorted({one.kind for one in optimizers if not one.has_second_moment})
    said = ["Beta2 follows the batch"] if any(one.has_second_moment for one in optimizers) else []
    said += [f"{kind} has no second moment, so its numbers stay" for kind in without]
    return [
        f"Batch: the rate is multiplied by sqrt(batch_size / {' or '.join(map(str, batches))})"
        f" (optim.base_batch). {'; '.join(said)}."
    ]


def count_steps(runs: Sequence[RunConfig]) -> tuple[int, int]:
    """Return the steps of the runs, and the steps that they would take if no rate depended on the length."""
    free = [
        replace(
            run,
            optim=replace(
                run.optim, base_tokens=None, horizon_exponent=HORIZON_EXPONENT, warmup_fraction=None
            ),
        )
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
