"""Which rows of a file are runs: wide tables made long, the last step of a run, the best row of a cell."""

from dataclasses import dataclass

from lora_jax.scaling.tables.best_rows import keep_best
from lora_jax.scaling.tables.last_steps import keep_last_steps
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.wide import Wide


@dataclass(frozen=True)
class Reshaping:
    """How the rows of a file become the rows of a table.

    Attributes:
        wide: Columns that hold one response at several values of a variable (wide.py).
        last_step_per_run: Whether to keep only the last row of each run (last_steps.py).
        best_per_cell: Whether to keep only the row with the least loss where N and D are equal
            (best_rows.py).
        apart: Letters besides N and D that tell cells apart: those of the law, such as "B" (batches.py).
    """

    wide: Wide | None = None
    last_step_per_run: bool = False
    best_per_cell: bool = False
    apart: tuple[str, ...] = ()


def choose_rows(table: RunTable, reshaping: Reshaping, cluster: str | None) -> RunTable:
    """Return the table with the rows that `reshaping` keeps.

    Args:
        table: The rows.
        reshaping: Which rows to keep.
        cluster: The column that names the runs, if the user named one.
    """
    if reshaping.last_step_per_run:
        table = keep_last_steps(table, cluster)
    return keep_best(table, reshaping.apart) if reshaping.best_per_cell else table
