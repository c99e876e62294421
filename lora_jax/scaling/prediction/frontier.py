"""The compute-efficient frontier: the runs that lie on it, and N*(C) and D*(C) of the joint fit."""

from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.scaling.intervals.uncertainty import Bootstrap, interval
from lora_jax.scaling.laws.law import LARGEST_LN, Array
from lora_jax.scaling.results import BudgetRow
from lora_jax.scaling.sweep_results import SweepFrontier
from lora_jax.scaling.tables.table import RunTable


def efficient_runs(table: RunTable) -> np.ndarray:
    """Return the indices (k,) of the compute-efficient runs, by rising compute.

    They are the Pareto set: no run with as much compute or less has a lower loss. We do not take the lower
    convex hull of (ln C, ln L). On simulated sweeps its exponent is no less biased and varies more, because
    the hull keeps 6 to 8 runs where the Pareto set keeps 13 to 35.
    """
    flops, loss = table.variable("C"), table["loss"]
    order = np.lexsort((loss, flops))
    best = np.minimum.accumulate(np.concatenate([[np.inf], loss[order][:-1]]))
    return order[loss[order] < best]


def optimum(params: Mapping[str, Array], flops: float) -> dict[str, Array]:
    """Return a, b, G, N*, D* and the loss at a budget C = 6ND.

    N* = G (C/6)^a and D* = (C/6)^b / G, with a = beta / (alpha + beta), b = 1 - a and G = (alpha A / (beta
    B))^(1 / (alpha + beta)). Logarithms are clipped to +-690.

    Args:
        params: Parameters of Chinchilla's law, of any common shape.
        flops: C.

    Returns:
        The six numbers, each of the parameters' shape.

    Reference: Hoffmann et al. 2022 (arXiv 2203.15556), equation 4.
    """
    alpha, beta = params["alpha"], params["beta"]
    ln_a, ln_b = np.log(params["A"]), np.log(params["B"])
    a = beta / (alpha + beta)

    def power(ln_value: Array) -> Array:
        return np.exp(np.clip(ln_value, -LARGEST_LN, LARGEST_LN))

    ln_g = (np.log(alpha) + ln_a - np.log(beta) - ln_b) / (alpha + beta)
    ln_n = ln_g + a * np.log(flops / 6)
    ln_d = np.log(flops / 6) - ln_n
    loss = params["E"] + power(ln_a - alpha * ln_n) + power(ln_b - beta * ln_d)
    return {
        "a": a,
        "b": 1 - a,
        "G": power(ln_g),
        "n_params": power(ln_n),
        "n_tokens": power(ln_d),
        "loss": loss,
    }


def frontier(replicates: Bootstrap, budgets: Array, run_ids: Sequence[str] = ()) -> SweepFrontier:
    """Find a, b, G and one row for each budget (in FLOPs, counted as 6ND), each number with its interval.

    Args:
        run_ids: The compute-efficient runs.
    """
    best = {k: np.array([v]) for k, v in replicates.fit.params.items()}
    rows: list[BudgetRow] = []
    intervals: dict[str, Estimate] = {}
    for flops in budgets:
        value, samples = optimum(best, float(flops)), optimum(replicates.params, float(flops))
        intervals = {k: interval(float(value[k][0]), samples[k]) for k in value}
        rows.append(BudgetRow(float(flops), **{k: intervals[k] for k in ("n_params", "n_tokens", "loss")}))
    a, b, coefficient = (intervals.get(k) for k in ("a", "b", "G"))
    return SweepFrontier(a=a, b=b, coefficient=coefficient, rows=tuple(rows), run_ids=tuple(run_ids))
