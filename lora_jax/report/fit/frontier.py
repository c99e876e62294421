"""The least loss at each budget, as rows of text."""

from collections.abc import Sequence

from lora_jax.estimate import Estimate
from lora_jax.report.kit.numbers import format_count, format_interval, format_power
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.results import BudgetRow


def frontier_table(
    budgets: Sequence[BudgetRow], exponents: tuple[Estimate | None, Estimate | None], counted: str
) -> Table | None:
    """Tabulate N*, D* and the loss at budgets along the frontier. None if there are no budgets.

    Args:
        exponents: a and b of N* and D* over C.
        counted: What N counts, in words.
    """
    if not budgets:
        return None
    rows = []
    for row in budgets:
        cells = [format_power(row.flops)]
        for number in (row.n_params, row.n_tokens):
            ends = f"{format_count(number.low)} to {format_count(number.high)}"
            cells += [format_count(number.value), ends]
        rows.append((*cells, *format_interval(row.loss)))
    a, b = map(format_interval, exponents)
    note = (
        f"N* grows as C^{a[0]} ({a[1]}), D* as C^{b[0]} ({b[1]}). Here C = 6ND with N = {counted};"
        " the last budgets reach to the held-out cell."
    )
    columns = ("C (FLOPs)", "N*", INTERVAL, "D* (tokens)", INTERVAL, "loss", INTERVAL)
    return Table(
        "Compute-efficient frontier by L(N,D)", columns, tuple(rows), frozenset({0, 1, 3, 5}), note=note
    )
