"""Columns of numbers from cells of text, and the sentence for cells that are none."""

import math
from collections.abc import Mapping

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.ranges import ANY_NUMBER, CELL
from lora_jax.scaling.tables.columns import ALTERNATIVES, COUNTS, NEEDED, POSITIVE, UNIT_COLUMNS
from lora_jax.scaling.tables.number_text import read_count
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
        if name in UNIT_COLUMNS or name in NOT_MEASURED:
            continue
        values, bad = _numbers(rows, theirs, positive=name in POSITIVE, suffixes=name in COUNTS)
        short = next((c for _, row in rows if (c := row.get(theirs) or "")[-1:].isalpha()), None)
        if not bad and short is not None:
            notes.append(f"{name} is read from cells such as {short!r}, with the digits that they have.")
        if not bad:
            columns[name] = values
        elif name in mapped or name in NEEDED:
            raise refuse_cells(source, theirs, bad, positive=name in POSITIVE)
        elif any(row.get(theirs) for _, row in rows):
            notes.append(f"{name} is not read: {_name_cells(theirs, bad)}.")
    if all("cooled" in row for _, row in rows):
        columns["cooled"] = np.array([float(is_true(row["cooled"])) for _, row in rows])
    taken = {rename[name] for name in mapped if name in rename} | {*ALTERNATIVES, *NOT_MEASURED, ""}
    for name in header:
        if name in columns or name in rename or name in taken:
            continue
        values, bad = _numbers(rows, name, positive=False)
        if not bad:
            columns[name] = values
    return columns


def _numbers(
    rows: Rows, column: str, *, positive: bool, suffixes: bool = False
) -> tuple[Array, list[tuple[str, str]]]:
    """Return a column (n,), and place and cell of what is not a finite number, or not `positive`.

    suffixes: 1.3B is a number there. In other columns it may be a name: a size, a version.
    """
    values, bad = np.empty(len(rows)), []
    for i, (place, row) in enumerate(rows):
        cell = row.get(column) or ""
        try:
            values[i] = float(cell)
        except ValueError:
            number = read_count(cell) if suffixes else None
            values[i] = math.nan if number is None else number
        if not (CELL if positive else ANY_NUMBER).holds(values[i]):
            bad.append((place, cell))
    return values, bad


def refuse_cells(source: str, column: str, bad: list[tuple[str, str]], *, positive: bool) -> LoraJaxError:
    wanted = "a number above 0" if positive else "a number"
    if any(_is_extreme(cell) for _, cell in bad):
        wanted = (CELL if positive else ANY_NUMBER).words
    if len(bad) == 1:
        place, cell = bad[0]
        return LoraJaxError(f"{source}, {place}, column {column!r}: {cell!r} is not {wanted}, mend it.")
    return LoraJaxError(f"{source}, {_name_cells(column, bad)}: not {wanted}, mend them or filter them out.")


def _is_extreme(cell: str) -> bool:
    """Whether a cell is a number, but one so large or small that products of it are none."""
    number = read_count(cell)
    return number is not None and math.isfinite(number) and number > 0


def _name_cells(column: str, bad: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{place} {cell!r}" for place, cell in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return f"column {column!r} has {shown}{more}"
