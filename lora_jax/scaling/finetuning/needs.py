"""What a method needs to reach a loss: the size of the base, and what a run of that size costs."""

from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.scaling.finetuning.crossings import Rival
from lora_jax.scaling.finetuning.results import Need, Solution
from lora_jax.scaling.intervals.uncertainty import ENDS
from lora_jax.scaling.prediction.allocation import WIDE, ln_reaching
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.run_table import RunTable

# what costs are called -> columns, the first that a table has
COSTS = {
    "FLOPs": ("flops_exact", "flops"),
    "seconds": ("wall_seconds", "train_time", "seconds"),
    "bytes of the optimizer": ("optimizer_bytes",),
    "bytes of memory": ("memory_max", "peak_bytes"),
}


def find_needs(
    rivals: Sequence[Rival], x: str, targets: Sequence[float], runs: Mapping[str, RunTable]
) -> tuple[Need, ...]:
    """Return the least X with which each method reaches each loss, at the largest F that all have.

    Args:
        rivals: The methods.
        x: The letter of X.
        targets: Losses. Without any, the loss that every method reaches at its largest X.
        runs: The runs of each method, which say what a run costs.
    """
    has_f = "F" in rivals[0].law.problem.law.variables
    f = min(float(rival.cells.variable("F").max()) for rival in rivals) if has_f else None
    at = {} if f is None else {"F": f}
    if not targets:
        targets = [max(_loss_at(rival, {**at, x: float(rival.cells.variable(x).max())}) for rival in rivals)]
    return tuple(_need(rival, x, loss, at, runs[rival.name]) for loss in targets for rival in rivals)


def _loss_at(rival: Rival, at: Mapping[str, float]) -> float:
    problem = rival.law.problem
    return float(np.exp(problem.law.log_loss(rival.law.theta, problem.features_at(at))[0]))


def _need(rival: Rival, x: str, loss: float, at: Mapping[str, float], runs: RunTable) -> Need:
    law, largest = rival.law, float(rival.cells.variable(x).max())
    value = float(ln_reaching(law.problem, law.theta[None], np.log(loss), x, at)[0])
    samples = ln_reaching(law.problem, law.samples, np.log(loss), x, at)
    low, high = np.quantile(np.where(np.isfinite(samples), samples, 1e6), ENDS, method="weibull")
    middle = np.log(law.problem.centre[x])
    ends = [None if abs(end - middle) > WIDE - 1 else float(np.exp(end)) for end in (value, low, high)]
    found = Solution(ends[0], ends[1], ends[2])
    beyond = None if found.value is None else found.value / largest
    return Need(rival.name, loss, at.get("F"), found, beyond, _costs(runs, x, found, at.get("F")))


def _costs(runs: RunTable, x: str, size: Solution, f: float | None) -> dict[str, Solution]:
    """Return what a run of a size costs, by power laws of X and F through the method's own runs."""
    found = {}
    for name, columns in COSTS.items():
        column = next((c for c in columns if c in runs.columns and c not in runs.formulas), None)
        if column is None or not (runs[column] > 0).all():
            continue
        varying = [v for v in (x, "F") if runs.has(v) and levels(runs.variable(v)).max() > 0]
        if x not in varying:
            continue
        design = np.stack([np.ones(len(runs)), *(np.log(runs.variable(v)) for v in varying)], 1)
        slopes = np.linalg.lstsq(design, np.log(runs[column]), rcond=None)[0]
        rest = slopes[0] + (slopes[2] * np.log(f) if f is not None and "F" in varying else 0.0)
        ends = [
            None if end is None else float(np.exp(rest + slopes[1] * np.log(end)))
            for end in (size.value, size.low, size.high)
        ]
        found[name] = Solution(ends[0], ends[1], ends[2])
    return found
