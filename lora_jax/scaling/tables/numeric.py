"""Columns of numbers from cells of text, and the message for cells that are no numbers."""

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
SHOWN = 5  # how many bad cells a message names


def read_columns(
    source: str, rows: Rows, header: list[str], rename: Mapping[str, str], mapped: set[str], notes: list[str]
) -> dict[str, Array]:
    """Return every column of numbers. Ours have our names.

    If a cell is no number, we refuse a column that is needed or mapped, and skip any other. A note names the
    optional columns of ours that were skipped.

    Args:
        source: Name of the table, for messages.
        rows: The rows of the file.
        header: Its columns.
        rename: For each of our names, the file's.
        mapped: Our names that the user mapped.
        notes: The notes, to which we add.

    Raises:
        LoraJaxError: A needed or mapped column has a cell that is not a number, or not one above 0.
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
    """Return a column, (n,), and the place and text of each cell that is no finite or no `positive` number.

    Args:
        rows: The rows of the file.
        column: The column.
        positive: Whether numbers must be above 0.
        suffixes: Whether 1.3B is a number. In other columns it may be a name, of a size or a version.
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
    """Return the error for cells that are not numbers, or not above 0 if they must be `positive`."""
    wanted = "a number above 0" if positive else "a number"
    if any(_is_extreme(cell) for _, cell in bad):
        wanted = (CELL if positive else ANY_NUMBER).words
    if len(bad) == 1:
        place, cell = bad[0]
        return LoraJaxError(
            f"{source}, {place}, column {column!r}: {cell!r} is not {wanted}: mend the cell or take the row"
            " away."
        )
    return LoraJaxError(
        f"{source}, {_name_cells(column, bad)}: not {wanted}: mend the cells or take the rows away."
    )


def _is_extreme(cell: str) -> bool:
    """Return whether a cell is a number so large or small that products with it would overflow."""
    number = read_count(cell)
    return number is not None and math.isfinite(number) and number > 0


def _name_cells(column: str, bad: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{place} {cell!r}" for place, cell in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return f"column {column!r} has {shown}{more}"
