"""Which rows are fitted: those that meet the conditions and are done.

If some have cooled down, only these.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import VARIABLES
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.run_table import LeftOut, Row, RunTable
from lora_jax.scaling.tables.where import Condition, first_failing


def filter_rows(
    source: str, rows: Rows, rename: Mapping[str, str], conditions: Sequence[Condition]
) -> tuple[Rows, list[LeftOut]]:
    """Return the rows that meet all conditions on the file's cells, and the others."""

    def cells(condition: Condition) -> list[str]:
        column = rename.get(condition.column, condition.column)
        return [row.get(column, "") for _, row in rows]

    failing = first_failing(source, conditions, len(rows), cells)
    kept = [pair for pair, condition in zip(rows, failing, strict=True) if condition is None]
    left_out = [
        leave_out(place, row, rename, f"not {condition.text}")
        for (place, row), condition in zip(rows, failing, strict=True)
        if condition is not None
    ]
    return kept, left_out


def find_repeats(rows: Rows) -> list[str]:
    """Return the note about rows that repeat another in every cell, or nothing.

    They stay. Two seeds may have one loss by its printed digits, so only the user knows.
    """
    first: dict[tuple[str, ...], str] = {}  # all rows have the same columns
    pairs = [(place, first.setdefault(tuple(row.values()), place)) for place, row in rows]
    repeats = [(place, earlier) for place, earlier in pairs if place != earlier]
    if not repeats:
        return []
    (place, earlier), more = repeats[0], len(repeats) - 1
    others = f", and {more} more such {'rows' if more > 1 else 'row'}" if more else ""
    return [
        f"In every cell {place} is the same as {earlier}{others}. Each counts as a run of its own: take it"
        " away if it is one run listed twice."
    ]


def filter_derived(table: RunTable, conditions: Sequence[Condition]) -> RunTable:
    """Return the rows that meet all conditions on derived columns, or on letters such as "D"."""

    def cells(condition: Condition) -> list[str]:
        name = condition.column
        values = table.variable(name) if name in VARIABLES and name not in table.columns else table[name]
        return [repr(float(value)) for value in values]

    for condition in conditions:
        failing = first_failing(table.source, [condition], len(table), cells)
        table = table.without(np.array([c is not None for c in failing]), f"not {condition.text}")
    return table


def drop_worst_runs(table: RunTable, k: int) -> RunTable:
    """Leave out the k runs with the largest losses.

    Raises:
        LoraJaxError: k is negative, or no run would be left.
    """
    if k < 0 or k >= len(table):
        raise LoraJaxError(
            f"{table.source} has {len(table)} runs to drop {k} of: drop at least 0, and not all."
        )
    if k == 0:
        return table
    worst = np.zeros(len(table), dtype=bool)
    worst[np.argsort(table["loss"], kind="stable")[len(table) - k :]] = True
    return table.without(worst, f"among the {k} largest losses")


def sift(
    rows: Rows, rename: Mapping[str, str], reasons: Sequence[str], keep_uncooled: bool
) -> tuple[Rows, list[LeftOut]]:
    """Split the rows into those to fit and those left out, each with a reason.

    Args:
        rows: The rows of the file.
        rename: For each of our names, the file's.
        reasons: Why each row does not count (statuses.py), "" if it does.
        keep_uncooled: Whether to keep runs that have not cooled down beside runs that have.
    """
    kept = [pair for pair, reason in zip(rows, reasons, strict=True) if not reason]
    left_out = [
        leave_out(place, row, rename, reason)
        for (place, row), reason in zip(rows, reasons, strict=True)
        if reason
    ]
    cooled = [is_true(row.get("cooled", "")) for _, row in kept]
    if any(cooled) and not all(cooled) and not keep_uncooled:
        reason = "not cooled down, while others are"
        left_out += [
            leave_out(place, row, rename, reason)
            for (place, row), yes in zip(kept, cooled, strict=True)
            if not yes
        ]
        kept = [pair for pair, yes in zip(kept, cooled, strict=True) if yes]
    return kept, left_out


def is_true(cell: str) -> bool:
    """Return whether a cell means yes."""
    return cell.strip().lower() in ("true", "1", "yes", "1.0")


def run_id_of(place: str, row: Row) -> str:
    """Return the name of a run. If it has none, its row in the file names it."""
    return row.get("run_id") or f"row {place.split()[-1]}"


def leave_out(place: str, row: Row, rename: Mapping[str, str], reason: str) -> LeftOut:
    """Return a row as a run that was left out for this reason."""
    cells = {**row, **{n: row.get(c, "") for n, c in rename.items()}}
    return LeftOut(run_id_of(place, row), reason, cells)
