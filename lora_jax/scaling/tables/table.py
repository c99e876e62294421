"""From a results folder, a file, a published name, or columns given directly to a RunTable."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import N_COLUMNS, NATS, POSITIVE, VARIABLES
from lora_jax.scaling.tables.derive import derive
from lora_jax.scaling.tables.naming import (
    CLUSTER_COLUMNS,
    check_unit,
    label_clusters,
    name_columns,
    nameable,
    unit_of,
)
from lora_jax.scaling.tables.numeric import read_columns, refuse_cells
from lora_jax.scaling.tables.published import PREFIX, PublishedTable, find_published, long_rows
from lora_jax.scaling.tables.reading import Rows, read_rows
from lora_jax.scaling.tables.run_table import LeftOut, RunTable
from lora_jax.scaling.tables.sifting import drop_worst_runs, filter_derived, filter_rows, run_id_of, sift
from lora_jax.scaling.tables.where import parse_condition

__all__ = ["N_COLUMNS", "VARIABLES", "LeftOut", "RunTable", "make_table", "read_table"]


def make_table(source: str, run_ids: Iterable[str] | None = None, **columns: Iterable[float]) -> RunTable:
    """Return a table of columns given directly, what is missing derived (`derive`), losses in nats per token.

    dataclasses.replace(table, clusters=..., loss_unit=...) says what else there is to say.

    Raises LoraJaxError for columns of several lengths, and for N, D, C and losses that are not above 0.
    """
    arrays = {name: np.asarray(list(values), dtype=np.float64) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise LoraJaxError(f"{source} has columns of lengths {lengths}: give every column one value a run.")
    n = next(iter(lengths.values()))
    for name in (name for name in arrays if name in POSITIVE):
        bad = [(f"row {i + 1}", repr(float(v))) for i, v in enumerate(arrays[name]) if not 0 < v < math.inf]
        if bad:
            raise refuse_cells(source, name, bad, positive=True)
    ids = tuple(run_ids) if run_ids is not None else tuple(f"row {i + 1}" for i in range(n))
    if len(ids) != n:
        raise LoraJaxError(f"{source} has {n} rows and {len(ids)} run_ids: give one a row.")
    return derive(RunTable(source, ids, arrays))


def read_table(
    path: str | Path,
    mapping: Mapping[str, str] | None = None,
    *,
    where: Sequence[str] = (),
    drop_worst: int = 0,
    loss_unit: str = NATS,
    cluster: str | None = None,
    keep_uncooled: bool = False,
) -> RunTable:
    """Read the runs of a results folder (its runs.csv), a CSV, TSV, JSON-lines, JSON or Parquet file, or of
    `published:NAME` (published.py), whose mapping holds unless one is given.

    mapping: names here -> names in the file, as {"n_params": "Model Size"}; every other column of numbers
        keeps its name. The loss is `loss`, else `heldout_loss`; in bits per byte `bits_per_byte` or `loss`.
    where: conditions that all hold for the rows that stay (where.py), on columns of the file or of the table.
    drop_worst: leave out the so many largest losses of the rows that stay.
    cluster: the column whose equal values are one training run; None: trunk_id, run_name or run, the first
        with several values of which one comes twice.

    Left out, with a reason: rows that `where` and `drop_worst` remove, runs that diverged, and runs whose
    rate never came down where others' did.

    Raises LoraJaxError for a missing file or column; cells of N, D, C, the loss or a mapped column that are
    not numbers (above 0); several units of loss; conditions that no row meets; and a table without runs.
    """
    unit = unit_of(loss_unit)
    named, header, rows, entry = _open(path)
    notes = [] if entry is None else [f"{named}: {entry.source}", *entry.notes]
    mapping = mapping or (entry.mapping if entry is not None else {})
    if not rows:
        raise LoraJaxError(f"{named} holds no runs: train some, or name another file.")
    rename = name_columns(named, header, mapping, unit)
    conditions = [parse_condition(text, nameable(header, rename), named) for text in where]
    early = [c for c in conditions if c.column in header or c.column in rename]
    rows, left_out = filter_rows(named, rows, rename, early)
    kept, gone = sift(rows, rename, keep_uncooled)
    left_out += gone
    if not kept:
        reasons = sorted({out.reason for out in gone})
        raise LoraJaxError(f"{named}: none of {len(rows)} runs is done ({', '.join(reasons)}), train some.")
    if unit != NATS:
        notes.append(f"The loss is in {unit}.")
    check_unit(named, kept, rename, unit)
    columns = read_columns(named, kept, header, rename, set(mapping), notes)
    usual = CLUSTER_COLUMNS if entry is None or entry.cluster is None else (entry.cluster,)
    ids = tuple(run_id_of(place, row) for place, row in kept)
    clusters = label_clusters(named, kept, header, rename, cluster, usual)
    table = RunTable(
        str(path), ids, columns, tuple(left_out), tuple(notes), loss_unit=unit, clusters=clusters
    )
    late = [c for c in conditions if c not in early]
    return drop_worst_runs(filter_derived(derive(table), late), drop_worst)


def _open(path: str | Path) -> tuple[str, list[str], Rows, PublishedTable | None]:
    """Return the table's name, its header and rows, and its entry where it is a published one."""
    named = str(path)
    if not named.startswith(PREFIX):
        file = Path(path) / "runs.csv" if Path(path).is_dir() else Path(path)
        return str(file), *read_rows(file), None
    file, entry = find_published(named.removeprefix(PREFIX))
    header, rows = read_rows(file)
    if entry.wide:
        rows = long_rows(rows)
        header = list(rows[0][1])
    return named, header, rows, entry
