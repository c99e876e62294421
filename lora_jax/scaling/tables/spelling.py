"""Rewrite a file's numbers as Python writes them: decimal commas, and marks between thousands.

This is done column by column, and notes say it.
"""

import re
from collections.abc import Mapping

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.number_text import COMMA, plain_text, respell

Rows = list[tuple[str, dict[str, str]]]
GROUPED = re.compile(r"\d[ \u00a0\u2009\u202f'\u2019.,_]\d{3}(?!\d)")
MARKED = re.compile(rf"{GROUPED.pattern}|10\s*(\^|\*\*)")
SHOWN = 5  # how many columns a note names


def respell_rows(
    header: list[str], rows: Rows, semicolons: bool = False
) -> tuple[Rows, list[str], dict[str, str]]:
    """Return the rows with plain numbers. A cell that is no number stays as it is.

    Args:
        header: Names of the columns.
        rows: The rows of the file.
        semicolons: Whether semicolons separate its cells.

    Returns:
        The rows. Then notes of what was done. Then, by column, a cell that can be read in two ways.
    """
    columns = {name: [cell for _, row in rows if (cell := row.get(name, ""))] for name in header}
    marks, unclear = respell(columns, semicolons)
    # leave "30 million" as it is: suffixes of counts are read later, and a name may have one
    marks = {n: mark for n, mark in marks.items() if mark == COMMA or any(map(MARKED.search, columns[n]))}
    if not marks:
        return rows, [], unclear

    def spell(name: str, cell: str) -> str:
        return (plain_text(cell, marks[name]) or cell) if name in marks else cell

    new = [(place, {name: spell(name, cell) for name, cell in row.items()}) for place, row in rows]
    decimal = [name for name, mark in marks.items() if mark == COMMA and any("," in c for c in columns[name])]
    grouped = [n for n in marks if n not in decimal and any(map(GROUPED.search, columns[n]))]
    notes = []
    if decimal:
        notes.append(f"Decimal commas are read as such in {_names(decimal)}.")
    if grouped:
        notes.append(f"Marks between thousands are left out in {_names(grouped)}.")
    return new, notes, unclear


def refuse_unclear(source: str, unclear: Mapping[str, str], rename: Mapping[str, str]) -> None:
    """Raise if one of our columns can be read in two ways.

    Args:
        source: Name of the table, for the message.
        unclear: The cells that `respell_rows` found unclear, by column.
        rename: For each of our names, the file's.

    Raises:
        LoraJaxError: A cell of our columns is unclear.
    """
    for column in (name for name in rename.values() if name in unclear):
        raise LoraJaxError(
            f"{source}, column {column!r}, has {unclear[column]!r}, one number with a decimal comma, another"
            " with a decimal point, and the file does not say which: write it without marks between thousands"
            " and with a decimal point."
        )


def _names(columns: list[str]) -> str:
    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return ", ".join(repr(name) for name in columns[:SHOWN]) + more
