"""Rows that are steps of a run: which column names the run, which gives the step, and the last step."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.run_table import LeftOut, RunTable
from lora_jax.scaling.tables.sifting import leave_out
from lora_jax.scaling.tables.wide import GROUP

RUN_NAMES = (
    "run_id",
    "run_name",
    "run",
    "name",
    "id",
    "trial",
    "trial_id",
    "experiment",
    "experiment_name",
    GROUP,
)
SURE_NAMES = (
    "run_id",
    "run_name",
    "run",
    "trial",
    "trial_id",
)  # the other names may mean a model, which can have several runs
# where a run is in its training; LENGTHS may also be how long it was planned to be
POSITIONS = ("step", "global_step", "train_step", "training_step", "iteration", "iter", "it")
LENGTHS = ("steps", "n_steps", "num_steps", "iterations", "num_iterations", "n_iterations", "n_tokens")
FEWEST_WITHOUT_STEP = 4  # with this many rows for each run, tokens alone make it a curve
FEWEST_WITHOUT_NAME = 8  # with this many rows of one size and label, steps alone make it a curve
NOT_LAST = "not the last step of its run"


def drop_unlogged(rows: Rows, rename: Mapping[str, str]) -> tuple[Rows, list[LeftOut]]:
    """Return the rows with a loss, and the rows without.

    A log has steps at which only another number was written.

    We keep a loss that is no number. A run that ends with it has diverged, and its last step must say so.
    """
    if "loss" not in rename:
        return rows, []  # in a table of something else, every row stands for itself
    logged = [bool((row.get(rename["loss"]) or "").strip()) for _, row in rows]
    gone = [
        leave_out(place, row, rename, "no loss at this step")
        for (place, row), yes in zip(rows, logged, strict=True)
        if not yes
    ]
    return [pair for pair, yes in zip(rows, logged, strict=True) if yes], gone


def refuse_unlogged(source: str, header: Sequence[str], rows: Rows, rename: Mapping[str, str]) -> None:
    """Raise if some rows of a log have no loss and nobody asked for the last step of each run.

    Raises:
        LoraJaxError: The table has a column of steps, and rows without a loss.
    """
    steps = next((c for c in header if simplify(c) in POSITIONS), None)
    if "loss" not in rename or steps is None:
        return
    blank = sum(not (row.get(rename["loss"]) or "").strip() for _, row in rows)
    if blank:
        raise LoraJaxError(
            f"{source} has no {rename['loss']!r} in {blank} of {len(rows)} rows and a column {steps!r}, as"
            " the log of a training: --last-step-per-run keeps the last step of each run that has one."
        )


def keep_last_steps(table: RunTable, cluster: str | None) -> RunTable:
    """Keep the last row of each run. The others join `left_out`.

    A column of steps (step, _step, global_step, iteration, ...) orders the rows, otherwise the tokens do. If
    two rows have the same step, we keep the later one in the file. We do not judge whether a run had cooled
    down by then.

    Args:
        table: The rows.
        cluster: The column that names the runs. None takes the first of run_id, run_name, Name and the like
            that repeats.

    Raises:
        LoraJaxError: No column names runs of several rows, or none gives their order.
    """
    column, labels = _named_by(table, cluster)
    order = _order_within(table, labels, (*POSITIONS, *LENGTHS))
    if order is None:
        raise LoraJaxError(
            f"{table.source} has no column of steps that differs within the rows of one {column}: name one"
            " 'step', or map n_steps or n_tokens."
        )
    position = table[order]
    last: dict[str, int] = {}
    for i, label in enumerate(labels):
        if label not in last or position[i] >= position[last[label]]:
            last[label] = i
    earlier = np.ones(len(table), dtype=bool)
    earlier[list(last.values())] = False
    kept = table.without(earlier, NOT_LAST)
    # if every run has one row left, a bootstrap need not draw rows together
    clusters = kept.clusters if kept.clusters is not None and len(set(kept.clusters)) < len(kept) else None
    ends = position[~earlier]
    note = (
        f"Of {len(table)} rows the last {order} of each of {len(kept)} runs ({column}) was kept:"
        f" {order} {_show(ends.min())} to {_show(ends.max())}."
    )
    return replace(kept, clusters=clusters, notes=(*kept.notes, note))


@dataclass(frozen=True)
class Steps:
    """Rows that are steps of runs.

    Attributes:
        column: The column that names the runs. "" if there is none.
        labels: A label for each row, (n,). Rows of one run share it.
        order: The column that gives the step within a run.
        offer: How to keep the last step of each run, in words.
    """

    column: str
    labels: tuple[str, ...]
    order: str
    offer: str


def step_doubt(table: RunTable) -> str | None:
    """Return the doubt about a table whose rows are steps of runs. None if they are not.

    A row before the end does not stand for a run of that many tokens, because its learning rate has not come
    down.
    """
    steps = find_steps(table)
    if steps is None:
        return None
    n = len(set(steps.labels))
    return (
        f"{len(table)} rows are steps of {n} run{'s' if n > 1 else ''} ({steps.order} differs within one):"
        f" the loss on the way is not what a run of that length reaches; {steps.offer}"
    )


def find_steps(table: RunTable) -> Steps | None:
    """Return the training curves, if the rows look like several steps of each run. Otherwise return None."""
    named = _repeating_name(table)
    if named is not None:
        column, labels = named
        order = _order_within(table, labels, POSITIONS)
        sure = simplify(column) in SURE_NAMES and GROUP not in table.labels
        if order is None and sure and _rows_a_group(labels) >= FEWEST_WITHOUT_STEP:
            order = _order_within(table, labels, LENGTHS)
        offer = f"--last-step-per-run keeps the last of each {column}"
    else:
        if any(_is_name(c) for c in (*table.labels, *table.columns)):
            return None  # every row has a name of its own, or all share one
        column, labels = "", _alike(table)
        order = _order_within(table, labels, POSITIONS)
        if order is None or _rows_a_group(labels) < FEWEST_WITHOUT_NAME:
            return None
        offer = "--last-step-per-run with --cluster COLUMN, which names the runs, keeps the last of each"
    return None if order is None else Steps(column, labels, order, offer)


def simplify(name: str) -> str:
    """Return a column's name in small letters and underscores, without the part before the last slash."""
    return re.sub(r"[^a-z0-9]+", "_", name.rpartition("/")[2].strip().lower()).strip("_")


def _is_name(column: str) -> bool:
    return simplify(column) in RUN_NAMES


def _named_by(table: RunTable, cluster: str | None) -> tuple[str, tuple[str, ...]]:
    if cluster is not None and table.clusters is not None:
        return cluster, table.clusters
    found = _repeating_name(table)
    if found is None:
        known = [*table.labels, *table.columns]
        raise LoraJaxError(
            f"{table.source} has no column of names of runs that repeats, as steps of one run would"
            f"{nearest('run_id', known)}: name the one that says which run a row is of by --cluster."
        )
    return found


def _repeating_name(table: RunTable) -> tuple[str, tuple[str, ...]] | None:
    """Return the first column that names runs and repeats, with its values, (n,)."""
    if len(set(table.run_ids)) < len(table):
        return "run_id", table.run_ids
    columns = [*table.labels, *table.columns]
    for name in sorted((c for c in columns if _is_name(c)), key=lambda c: RUN_NAMES.index(simplify(c))):
        values = table.labels[name] if name in table.labels else tuple(map(repr, table.columns[name]))
        if len(set(values)) < len(values):
            return name, values
    return None


def _alike(table: RunTable) -> tuple[str, ...]:
    """Return a label for each row, made of N and of text that repeats. Steps of one run share it."""
    repeated = [v for v in table.labels.values() if len(set(v)) < len(v)]
    size = [f"{n:.6g}" for n in table.variable("N")] if table.has("N") else [""] * len(table)
    return tuple("\t".join(parts) for parts in zip(size, *repeated, strict=True))


def _rows_a_group(labels: tuple[str, ...]) -> float:
    _, counts = np.unique(np.asarray(labels), return_counts=True)
    return float(np.median(counts))


def _order_within(table: RunTable, labels: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """Return the first column with one of these names that differs within the rows of one label."""
    called = {c: simplify(table.sources.get(c, c)) for c in table.columns}
    called |= {c: c for c in ("n_tokens", "n_steps") if called.get(c) not in (None, *names)}
    found = [c for c in table.columns if called[c] in names]
    group = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    for column in sorted(found, key=lambda c: names.index(called[c])):
        low, high = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
        np.minimum.at(low, group, table[column])
        np.maximum.at(high, group, table[column])
        if (high > low).any():
            return column
    return None


def _show(x: float) -> str:
    return f"{x:.6g}"
