"""Where recipes are compared: budgets, lengths and sizes that the runs of both cover."""

from collections.abc import Mapping

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.groups import groups_of
from lora_jax.scaling.tables.run_table import RunTable

N_SCALES = 5
MOST_SIZES = 6
SAME_SIZE = 0.02  # of ln N


def compute_of(table: RunTable) -> np.ndarray:
    """Return 6ND of each row, (n,). The frontier of a law counts compute in this way."""
    return 6 * table.variable("N") * table.variable("D")


def largest_compute(table: RunTable) -> float:
    """Return the largest 6ND."""
    return float(compute_of(table).max())


def largest_of(table: RunTable, variable: str, at: Mapping[str, float]) -> float:
    """Return the largest value of a variable. If the place has an N, only rows of that N count."""
    values = table.variable(variable)
    if "N" not in at or not table.has("N"):
        return float(values.max())
    near = np.abs(np.log(table.variable("N") / at["N"])) < SAME_SIZE
    return float(values[near].max()) if near.any() else float(values.max())


def frontier_budgets(first: RunTable, second: RunTable) -> list[float]:
    """Return budgets of the second recipe at which to compare: within the compute of the runs of both.

    Raises:
        LoraJaxError: No budget is within both.
    """
    return _between(compute_of(first), compute_of(second), "compute", (first, second))


def scales_of(first: RunTable, second: RunTable, variable: str) -> list[float]:
    """Return values of a variable within those of both recipes. It raises as `frontier_budgets`."""
    return _between(first.variable(variable), second.variable(variable), variable, (first, second))


def _between(a: np.ndarray, b: np.ndarray, what: str, tables: tuple[RunTable, RunTable]) -> list[float]:
    low, high = max(a.min(), b.min()), min(a.max(), b.max())
    if not low < high:
        spans = "; ".join(f"{x.min():.3g} to {x.max():.3g}" for x in (a, b))
        raise LoraJaxError(
            f"{tables[0].source} and {tables[1].source} have no {what} in common ({spans}): add runs where"
            " both are."
        )
    return [float(x) for x in np.geomspace(low, high, N_SCALES)]


def lengths_at_sizes(first: RunTable, second: RunTable) -> list[tuple[float, float]]:
    """Return (N, D) for each size that both recipes have. D is the largest that both have there.

    If there are many sizes, some are returned, among them the smallest and the largest.
    """
    n = np.concatenate([first.variable("N"), second.variable("N")])
    d = np.concatenate([first.variable("D"), second.variable("D")])
    mine = np.arange(len(n)) < len(first)
    level = levels(n)
    found = []
    for k in range(level.max() + 1):
        here = level == k
        if (here & mine).any() and (here & ~mine).any():
            found.append((float(n[here].mean()), float(min(d[here & mine].max(), d[here & ~mine].max()))))
    if len(found) <= MOST_SIZES:
        return found
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, MOST_SIZES).round().astype(int))]


def groups_by(table: RunTable, column: str) -> dict[str, np.ndarray]:
    """Return the rows of each value of a column, in the order in which the values appear.

    Raises:
        LoraJaxError: There is no such column.
    """
    groups_of(table, [column])  # says what is missing
    if column in table.labels:
        texts = list(table.labels[column])
    else:
        numbers = table.columns[column] if column in table.columns else table.variable(column)
        texts = [f"{x:.6g}" for x in numbers]
    return {text: np.flatnonzero([other == text for other in texts]) for text in dict.fromkeys(texts)}
