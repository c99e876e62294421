"""Keep the row with the least loss of each cell. Learning rates are settled by the same rule (cells.py)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.cells import (
    RateGrid,
    diverged_rates,
    edge_warnings,
    least_loss,
    levels,
    make_grid,
    rows_of_each,
)
from lora_jax.scaling.tables.knobs import rates_of, settings_within
from lora_jax.scaling.tables.run_table import RunTable

CELL = ("N", "D", "U", "F", "P")  # letters that say what a run is, whatever its settings
EQUAL = 1e-4  # spread of ln x up to which we take sizes for equal; for tokens it is cells.SAME_COUNT
NOT_BEST = "not the least loss of its cell"


def number_of_cell(table: RunTable, letters: Sequence[str] = CELL) -> NDArray[np.int64]:
    """Return the number of each row's cell, (n,).

    Rows of one cell are equal in the letters that the table has, or in C if it has none of them.

    Args:
        table: The runs.
        letters: The letters that tell cells apart.

    Raises:
        LoraJaxError: The table has none of these columns.
    """
    known = [v for v in letters if table.has(v)] or [v for v in "C" if table.has(v)]
    if not known:
        raise LoraJaxError(
            f"{table.source} has no N, D or C, so no rows are of one cell: map one of these columns."
        )
    numbers = [levels(table.variable(v), EQUAL) if v in "NP" else levels(table.variable(v)) for v in known]
    return np.unique(np.stack(numbers, 1), axis=0, return_inverse=True)[1].reshape(-1)


def keep_best(table: RunTable, apart: Sequence[str] = ()) -> RunTable:
    """Return the row with the least loss of each cell.

    Rows of a cell have equal N, D and, if there, U, F and P.

    The others join `left_out`. Seeds of a cell compete too. A note says how many rows went, and what the
    choice does to the losses. If the best learning rate lies at an edge of its grid, that is a doubt.

    Args:
        table: The runs.
        apart: Further letters that tell cells apart.
    """
    letters = (*CELL, *apart)
    cells = number_of_cell(table, letters)
    groups = [rows.tolist() for rows in rows_of_each(cells)]
    drop = np.ones(len(table), dtype=bool)
    drop[[least_loss(rows, table["loss"]) for rows in groups]] = False
    several = sum(len(rows) > 1 for rows in groups)
    what = " and ".join(v for v in letters if table.has(v)) or "C"
    settings = settings_within(table, [np.array(rows) for rows in groups if len(rows) > 1])
    differing = f", which differ in {', '.join(settings)}" if settings else ""
    note = (
        f"Of {len(table)} rows the least loss of each of {len(groups)} cells (equal {what}) was kept."
        f" {several} of the cells had several rows{differing}. The best of several is low by selection, the"
        " more so the more there were."
        if several
        else f"No cell (equal {what}) has several rows, so there was no best to keep."
    )
    kept = table.without(drop, NOT_BEST)
    doubts = [warning.rstrip(".") for warning in edge_warnings(_grids(table, groups))]
    return replace(kept, notes=(*kept.notes, note), doubts=(*kept.doubts, *doubts))


def _grids(table: RunTable, groups: Sequence[Sequence[int]]) -> list[RateGrid]:
    """Return the grid of learning rates of each cell that has several. It reads the first column of rates."""
    column = next(iter(rates_of(table)), None)
    if column is None or not (table.has("N") and table.has("D")):
        return []
    rate, loss = table[column], table["loss"]
    gone = diverged_rates(table, column)
    grids = []
    for rows in groups:
        n_params, n_tokens = (float(table.variable(v)[rows[0]]) for v in "ND")
        lost = {r for (n, d, _), rates in gone.items() if (n, d) == (n_params, n_tokens) for r in rates}
        if len({float(rate[i]) for i in rows} | lost) > 1:
            grids.append(make_grid((n_params, n_tokens, 0.0), rate[rows], loss[rows], lost))
    return grids
