"""Columns of numbers from cells of text, and the sentence for cells that are none."""

import math
from collections.abc import Mapping

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import NEEDED, POSITIVE, UNIT_COLUMNS
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.run_table import Array
from lora_jax.scaling.tables.sifting import is_true

NOT_MEASURED = ("run_id", "status", "cooled")
SHOWN = 5  # bad cells that a sentence names


def read_columns(
    source: str, rows: Rows, header: list[str], rename: Mapping[str, str], mapped: set[str], notes: list[str]
) -> dict[str, Array]:
    """Return every column of numbers, ours by our names.

    A column with a cell that is no number is refused where it is needed or mapped, and is none elsewhere; an
    optional one of ours that is dropped so joins `notes`.
    """
    columns: dict[str, Array] = {}
    for name, theirs in rename.items():
        if name in UNIT_COLUMNS:
            continue
        values, bad = _numbers(rows, theirs, positive=name in POSITIVE)
        if not bad:
            columns[name] = values
        elif name in mapped or name in NEEDED:
            raise refuse_cells(source, theirs, bad, positive=name in POSITIVE)
        elif any(row.get(theirs) for _, row in rows):
            notes.append(f"{name} is not read: {_name_cells(theirs, bad)}.")
    if all("cooled" in row for _, row in rows):
        columns["cooled"] = np.array([float(is_true(row["cooled"])) for _, row in rows])
    for name in header:
        if name in columns or name in rename or name in rename.values() or name in NOT_MEASURED or not name:
            continue
        values, bad = _numbers(rows, name, positive=False)
        if not bad:
            columns[name] = values
    return columns


def _numbers(rows: Rows, column: str, *, positive: bool) -> tuple[Array, list[tuple[str, str]]]:
    """Return a column (n,), and place and cell of what is not a finite number, or not `positive`."""
    values, bad = np.empty(len(rows)), []
    for i, (place, row) in enumerate(rows):
        cell = row.get(column) or ""
        try:
            values[i] = float(cell)
        except ValueError:
            values[i] = math.nan
        if not math.isfinite(values[i]) or (positive and values[i] <= 0):
            bad.append((place, cell))
    return values, bad


def refuse_cells(source: str, column: str, bad: list[tuple[str, str]], *, positive: bool) -> LoraJaxError:
    wanted = "a number above 0" if positive else "a number"
    if len(bad) == 1:
        place, cell = bad[0]
        return LoraJaxError(f"{source}, {place}, column {column!r}: {cell!r} is not {wanted}, mend it.")
    return LoraJaxError(f"{source}, {_name_cells(column, bad)}: not {wanted}, mend them or filter them out.")


def _name_cells(column: str, bad: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{place} {cell!r}" for place, cell in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return f"column {column!r} has {shown}{more}"
