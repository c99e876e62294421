"""What an answer must not claim, whatever its intervals.

These are budgets out of reach of the runs, and optima that fall with compute.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lora_jax.estimate import Estimate
from lora_jax.scaling.estimate import Prediction
from lora_jax.scaling.tables.run_table import RunTable

FARTHEST = 1e6  # times the largest compute of the runs; nobody has tested a law so far beyond them


def largest_compute(table: RunTable) -> float | None:
    """Return the most FLOPs that a run of the table took: its C, or else 6ND. None without either."""
    if table.has("C"):
        return float(table.variable("C").max())
    if table.has("N") and table.has("D"):
        return float((6 * table.variable("N") * table.variable("D")).max())
    return None


def out_of_reach(table: RunTable, budgets: Iterable[float]) -> list[str]:
    """Return a sentence for each budget, in FLOPs, that is more than `FARTHEST` times the largest run."""
    largest = largest_compute(table)
    if largest is None:
        return []
    return [
        f"C = {flops:.3g} is {flops / largest:.2g} times the largest compute of the runs: they cannot tell"
        for flops in dict.fromkeys(budgets)
        if flops > FARTHEST * largest
    ]


def predictions_out_of_reach(table: RunTable, predictions: Sequence[Prediction]) -> list[str]:
    """Return a sentence for each prediction whose target is more than `FARTHEST` times the largest run.

    A serving load counts by the compute that training its model takes. A target without C, or N and D, counts
    by its variables.
    """
    budgets: list[float] = []
    serving: dict[tuple[Any, ...], dict[str, float]] = {}
    others: list[str] = []
    for row in predictions:
        at, quantity = row.at, row.quantity
        if quantity in ("N to serve", "D to serve"):
            serving.setdefault(tuple(at.items()), {})[quantity] = row.value
        elif "C" in at:
            budgets.append(at["C"])
        elif {"N", "D"} <= set(at):
            budgets.append(6 * at["N"] * at["D"])
        elif row.beyond is not None and row.beyond > FARTHEST:
            told = ", ".join(f"{name} = {value:.3g}" for name, value in at.items())
            others.append(f"{told} is {row.beyond:.2g} times the largest of the runs: they cannot tell")
    loads = [both for both in serving.values() if len(both) == 2 and all(map(math.isfinite, both.values()))]
    budgets += [6 * both["N to serve"] * both["D to serve"] for both in loads]
    return [*out_of_reach(table, budgets), *dict.fromkeys(others)]


def falling(exponents: Mapping[str, Estimate]) -> list[str]:
    """Return a sentence if N* or D* falls as C rises.

    Args:
        exponents: a and b with their intervals.
    """
    return [
        f"{optimum} falls with C ({name} = {exponents[name].value:.3f}): see the units of N, D, C"
        for name, optimum in (("a", "N*"), ("b", "D*"))
        if name in exponents and exponents[name].value < 0
    ]
