"""Doubts about rows that are not runs of one kind: several settings in a cell, or several steps of a run."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lora_jax.percent import percent
from lora_jax.scaling.tables.best_rows import CELL, number_of_cell
from lora_jax.scaling.tables.cells import levels, rows_of_each
from lora_jax.scaling.tables.knobs import SEEDS, is_rate, is_tuned, settings_within
from lora_jax.scaling.tables.last_steps import find_steps, simplify, step_doubt
from lora_jax.scaling.tables.run_table import RunTable

# If the pooled sd of ln L within cells is above one of these, more than seeds differ. Seeds of published runs
# differ by .05 to .5 %. The limit depends on whether a column of rates, another setting or nothing differs.
BY_RATE, BY_SETTING, BY_NOTHING = 0.003, 0.01, 0.02
TIMES = 3.0  # times the sd between rows that differ in no setting: the least spread that is a doubt
MOST = 0.005  # the most that this sd counts for if no column says that the rows are seeds
SHOWN = 4  # columns that a sentence names


def check_rows(table: RunTable, logs: bool = True, apart: Sequence[str] = ()) -> RunTable:
    """Return the table with a doubt if its rows are not runs of one kind.

    Rows may be steps of a run. Otherwise several settings may share a cell. Steps of one run also become a
    cluster, if the table names no clusters.

    Args:
        table: The rows.
        logs: Whether rows may be steps of a run although nobody said so.
        apart: Letters besides N and D that tell cells apart.
    """
    if len(table) < 2 or "loss" not in table.columns or not any(table.has(v) for v in "NDC"):
        return table
    steps = find_steps(table) if logs else None
    doubt = step_doubt(table) if steps is not None else setting_doubt(table, apart)
    if doubt is None:
        return table
    table = replace(table, doubts=(*table.doubts, doubt))
    if steps is None or table.clusters is not None:
        return table
    return replace(table, clusters=steps.labels, cluster_column=steps.column)


def setting_doubt(table: RunTable, apart: Sequence[str] = ()) -> str | None:
    """Return the doubt that rows of one cell differ by more than seeds would.

    It names the settings that differ. It is None without a doubt. A difference in `learning_rate` or
    `base_learning_rate` alone is no doubt, because `settle_learning_rates` keeps one of them.

    Args:
        table: The runs.
        apart: Letters besides N and D that tell cells apart.
    """
    letters = (*CELL, *apart)
    groups = [rows for rows in rows_of_each(number_of_cell(table, letters)) if len(rows) > 1]
    if not groups:
        return None
    settings = settings_within(table, groups)
    if "base_learning_rate" in table.columns and table.has("N") and table.has("D"):
        groups = _settled(table, groups)
    rates = [c for c in settings if is_rate(c)]
    limit = BY_RATE if rates else BY_SETTING if settings else BY_NOTHING
    spread, seeds = _pooled(table, groups), any(simplify(c) in SEEDS for c in table.columns)
    alike = _between_alike(table, groups, settings)
    if spread <= max(limit, TIMES * (alike if seeds else min(alike, MOST))) or (seeds and not settings):
        return None
    n = sum(len(rows) for rows in groups)
    what = " and ".join(v for v in letters if table.has(v)) or "C"
    head = (
        f"{n} of {len(table)} rows share their {what} with others, and their losses differ by"
        f" {percent(spread, 1)} (sd of ln L within a cell)"
    )
    if not settings:
        return f"{head}, which no column explains: --best-per-cell keeps the least loss of each cell"
    differ = f"{head}: {_list(settings)} differ{'s' if len(settings) == 1 else ''}"
    kinds = [c for c in settings if c in table.labels or not is_tuned(c)]
    best = "--best-per-cell keeps the least loss of each cell"
    if not kinds:
        return f"{differ}; {best}"
    kind = min(kinds, key=lambda c: len(set(_values(table, c))))
    return f"{differ}; keep one kind, as --where '{kind}={_values(table, kind)[0]}'; of what was tuned {best}"


def _values(table: RunTable, column: str) -> Sequence[str]:
    if column in table.labels:
        return table.labels[column]
    return [f"{x:g}" for x in table[column]]


def repeated_data_doubt(table: RunTable, variables: Sequence[str]) -> str | None:
    """Return the doubt that rows of one N and D differ in unique tokens and in loss. None if they do not.

    There is no doubt if U is a variable of the law.
    """
    if "U" in variables or not all(table.has(v) for v in "NDU"):
        return None
    cells = number_of_cell(table, ("N", "D"))
    unique = levels(table.variable("U"))
    groups = rows_of_each(cells)
    mixed = [rows for rows in groups if len(set(unique[rows])) > 1]
    spread = _pooled(table, mixed) if mixed else 0.0
    if spread <= BY_SETTING:
        return None
    return (
        f"{sum(map(len, mixed))} rows share N and D with rows of other unique tokens, and their losses differ"
        f" by {percent(spread, 1)}: this law knows no repeated data, data-constrained does"
    )


def _list(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return ", ".join(columns[:SHOWN]) + more


def _settled(table: RunTable, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the groups divided by base learning rate. One of these is kept without being asked for."""
    rate = levels(table["base_learning_rate"], 1e-9)
    parts = [rows[rate[rows] == r] for rows in groups for r in np.unique(rate[rows])]
    return [rows for rows in parts if len(rows) > 1]


def _pooled(table: RunTable, groups: Sequence[np.ndarray]) -> float:
    """Return the pooled sd of ln L within groups of rows."""
    log_loss = np.log(table["loss"])
    spare = sum(len(rows) - 1 for rows in groups)
    squares = sum(float(((log_loss[rows] - log_loss[rows].mean()) ** 2).sum()) for rows in groups)
    return float(np.sqrt(squares / spare)) if spare else 0.0


def _between_alike(table: RunTable, groups: Sequence[np.ndarray], settings: Sequence[str]) -> float:
    """Return the pooled sd of ln L between rows of one cell that differ in no setting.

    0 if there are none.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    columns = [table.labels[c] if c in table.labels else table.columns[c].tolist() for c in settings]
    for number, rows in enumerate(groups):
        for i in rows.tolist():
            alike.setdefault((number, *(hash(column[i]) for column in columns)), []).append(i)
    parts = [np.array(rows) for rows in alike.values() if len(rows) > 1]
    return _pooled(table, parts) if settings and parts else 0.0
