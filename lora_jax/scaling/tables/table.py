"""Make a RunTable from a results folder, a file, a published table, or columns."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import N_COLUMNS, NATS, POSITIVE, UNIT_COLUMNS, VARIABLES
from lora_jax.scaling.tables.conversion import File, convert_columns
from lora_jax.scaling.tables.derive import derive
from lora_jax.scaling.tables.last_steps import drop_unlogged, refuse_unlogged
from lora_jax.scaling.tables.mixtures import check_rows
from lora_jax.scaling.tables.naming import (
    CLUSTER_COLUMNS,
    check_unit,
    label_clusters,
    name_columns,
    nameable,
    unit_of,
)
from lora_jax.scaling.tables.numeric import NOT_MEASURED, read_columns, refuse_cells
from lora_jax.scaling.tables.plausibility import question
from lora_jax.scaling.tables.published import PREFIX, PublishedTable, find_published
from lora_jax.scaling.tables.reading import Rows, Sheet, read_rows
from lora_jax.scaling.tables.reshaping import Reshaping, choose_rows
from lora_jax.scaling.tables.run_table import LeftOut, RunTable
from lora_jax.scaling.tables.sifting import (
    drop_worst_runs,
    filter_derived,
    filter_rows,
    find_repeats,
    run_id_of,
    sift,
)
from lora_jax.scaling.tables.spelling import refuse_unclear
from lora_jax.scaling.tables.statuses import find_statuses
from lora_jax.scaling.tables.where import parse_condition
from lora_jax.scaling.tables.wide import GROUP, melt
from lora_jax.table_lag import TABLE, refuse_lag

__all__ = ["N_COLUMNS", "VARIABLES", "LeftOut", "Reshaping", "RunTable", "make_table", "read_table"]


def make_table(source: str, run_ids: Iterable[str] | None = None, **columns: Iterable[float]) -> RunTable:
    """Make a table of training runs from columns.

    If one of N, D and C is missing, it is derived from the other two (`derive`). Losses are in nats per
    token. To set other fields, use `dataclasses.replace(table, clusters=..., loss_unit=...)`.

    Args:
        source: A name for the table, for messages.
        run_ids: A name for each row. None numbers the rows.
        columns: One value for each run, such as n_params, n_tokens, flops, loss.

    Returns:
        The table.

    Raises:
        LoraJaxError: The columns differ in length, or a value of N, D, C or the loss is not above 0.
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
    # do not refuse other units here, because whoever makes a table knows its units
    return question(derive(RunTable(source, ids, arrays)), arrays, refuse=False)


def read_table(
    path: str | Path,
    mapping: Mapping[str, str] | None = None,
    *,
    where: Sequence[str] = (),
    drop_worst: int = 0,
    loss_unit: str | None = None,
    cluster: str | None = None,
    keep_uncooled: bool = False,
    needs_loss: bool = True,
    reshaping: Reshaping = Reshaping(),  # noqa: B008 (frozen)
) -> RunTable:
    """Read a table of training runs.

    Some rows are left out, and the table says why. These are the rows that `where` and `drop_worst` remove,
    runs that diverged, and runs whose learning rate was never decayed in a table where others were.

    Args:
        path: A results folder (its runs.csv), a CSV, TSV, JSON-lines, JSON or Parquet file, or
            `published:NAME`.
        mapping: Our column names and the file's, such as {"n_params": "Model Size"}. Other columns of numbers
            keep their names. None uses the mapping of a published table, or else goes by the names. The loss
            is `loss`, otherwise `heldout_loss`. A loss in bits per byte is `bits_per_byte` or `loss`.
        where: Conditions that a row must meet, on columns of the file or of the table, such as
            "n_params>=1e6", "dataset=wiki" or "seed in 0,1".
        drop_worst: How many of the rows with the largest losses to leave out.
        loss_unit: Unit of the loss. None takes it from a column of units, otherwise nats per token.
        cluster: Column that names the training run. Rows of one run share their error. None takes the first
            of trunk_id, run_name and run that has several values and repeats one.
        keep_uncooled: Whether to keep runs whose learning rate was never decayed.
        needs_loss: Whether to refuse a table without a loss. A table of optima has none.
        reshaping: How to turn rows into runs, after `where`, such as Reshaping(best_per_cell=True) of
            `lora_jax.scaling.tables.reshaping`.

    Returns:
        The runs, in the program's own column names and units.

    Raises:
        LoraJaxError: The file or a column is missing; the table of a results folder does not have all of its
            records (`lora-jax fit FOLDER` renews it); a cell of N, D, C, the loss or a mapped column is not a
            number above 0; the loss has several units; no row meets the conditions; or there are no runs.
    """
    unit = NATS if loss_unit is None else unit_of(loss_unit)
    named, sheet, entry = _open(path)
    header, rows = sheet.header, sheet.rows
    wide = reshaping.wide if entry is None or entry.wide is None else entry.wide
    notes = [] if entry is None else [f"{named}: {entry.source}", *entry.notes]
    gathered: list[LeftOut] = []
    if wide is not None and rows:
        header, rows, gathered = melt(named, header, rows, wide, None if entry is None else entry.cluster)
    mapping = mapping or (entry.mapping if entry is not None else {})
    if not rows:
        raise LoraJaxError(f"{named} holds no runs: train some, or name another file.")
    file = File(named, header, rows)
    naming = name_columns(file, mapping, unit, needs_loss)
    refuse_unclear(named, sheet.unclear, naming.rename)
    (_, header, rows), naming = convert_columns(file, naming)
    rename, notes = naming.rename, [*notes, *sheet.notes, *naming.notes]
    conditions = [parse_condition(text, nameable(header, rename), named) for text in where]
    early = [c for c in conditions if c.column in header or c.column in rename]
    rows, left_out = filter_rows(named, rows, rename, early)
    why_not = find_statuses(named, header, rows, mapping, early, notes)
    kept, gone = sift(rows, rename, why_not, keep_uncooled)
    left_out = [*gathered, *left_out, *gone]
    if not kept:
        reasons = sorted({out.reason for out in gone})
        raise LoraJaxError(f"{named}: none of {len(rows)} runs is done ({', '.join(reasons)}), train some.")
    if reshaping.last_step_per_run:
        kept, gone = drop_unlogged(kept, rename)
        left_out += gone
    else:
        refuse_unlogged(named, header, kept, rename)
    if entry is None and wide is None:  # we know what the rows of a published table are
        notes += find_repeats(kept)
    if unit != NATS:
        notes.append(f"The loss is in {unit}.")
    check_unit(named, kept, rename, unit)
    columns = read_columns(named, kept, header, rename, naming.mapped, notes)
    usual = (GROUP, *CLUSTER_COLUMNS) if entry is None or entry.cluster is None else (entry.cluster,)
    ids = tuple(run_id_of(place, row) for place, row in kept)
    clusters = label_clusters(named, kept, header, rename, cluster, usual)
    column = cluster or next((c for c in usual if clusters == tuple(row.get(c, "") for _, row in kept)), "")
    table = RunTable(
        str(path),
        ids,
        columns,
        tuple(left_out),
        tuple(notes),
        loss_unit=unit,
        clusters=clusters,
        cluster_column=column,
        unit_told=loss_unit is not None or entry is not None or _says_unit(rename),
        labels=_read_labels(kept, header, {*columns, *rename.values()}),
        sources={ours: theirs for ours, theirs in rename.items() if ours in columns},
        doubts=tuple(naming.doubts),
    )
    late = [c for c in conditions if c not in early]
    table = choose_rows(filter_derived(derive(table), late), reshaping, cluster)
    # we know what the rows of a published table are
    table = check_rows(drop_worst_runs(table, drop_worst), logs=entry is None, apart=reshaping.apart)
    return question(table, columns, rename)


def read_cells(path: str | Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the text of these columns in every row of the file, whether left out or not.

    It is empty if a column is missing.

    Raises:
        LoraJaxError: The file cannot be read.
    """
    _, sheet, _ = _open(path)
    if not set(columns) <= set(sheet.header):
        return []
    return [tuple((row.get(c) or "").strip() for c in columns) for _, row in sheet.rows]


def _open(path: str | Path) -> tuple[str, Sheet, PublishedTable | None]:
    """Return the table's name, what its file holds, and the entry of a published table."""
    named = str(path)
    if not named.startswith(PREFIX):
        refuse_lag(Path(path))
        file = Path(path) / TABLE if Path(path).is_dir() else Path(path)
        return str(file), read_rows(file), None
    file, entry = find_published(named.removeprefix(PREFIX))
    sheet = read_rows(file)
    if entry.named:
        named_rows = [(p, {entry.named.get(c, c): cell for c, cell in row.items()}) for p, row in sheet.rows]
        sheet = sheet._replace(header=[entry.named.get(c, c) for c in sheet.header], rows=named_rows)
    return named, sheet, entry


def _says_unit(rename: Mapping[str, str]) -> bool:
    """Return whether the file states the unit of its loss, or the loss is our own."""
    return rename.get("loss") in ("heldout_loss", "bits_per_byte") or any(c in rename for c in UNIT_COLUMNS)


def _read_labels(rows: Rows, header: list[str], read: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns of text that were not read otherwise."""
    names = [name for name in header if name and name not in read and name not in NOT_MEASURED]
    return {name: tuple((row.get(name) or "").strip() for _, row in rows) for name in names}
