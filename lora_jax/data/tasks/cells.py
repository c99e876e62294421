"""Cells of training files as text: columns that a template may name, and the names of labels."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.rows import read_rows

LONGEST = 2**31 - 1  # most characters of a cell, because a cell may be a whole document
WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Record(NamedTuple):
    """One row as it was read.

    Attributes:
        where: Where it stands, such as "Line 3 of FILE".
        number: Its number, such as 3.
        cells: Its cells, by column.
    """

    where: str
    number: int
    cells: dict[str, Any]

    def get_text(self, column: str) -> str:
        """Return a cell as text.

        Raises:
            LoraJaxError: There is no such column, or the cell is empty or neither text nor a number.
        """
        if column not in self.cells:
            raise LoraJaxError(f"{self.where} has no column {column!r}{nearest(column, self.cells)}: add it.")
        value = self.cells[column]
        text = as_text(value)
        if text is None and value is not None:
            raise LoraJaxError(
                f"{self.where} has a {type(value).__name__} in {column!r}, but it must be a text or a number:"
                " mend it."
            )
        if text is None or not text.strip():
            raise LoraJaxError(f"{self.where} has an empty {column}: fill it.")
        return text


class Table(NamedTuple):
    """The rows of a split.

    Attributes:
        columns: The columns, in the order of the file.
        records: The rows.
    """

    columns: list[str]
    records: list[Record]


def read_records(paths: Iterable[Path]) -> Table:
    """Return the rows of a split's files. Cells are as they stand there, with spaces and indentation.

    Raises:
        LoraJaxError: There are no rows, or `read_rows` refuses the file.
    """
    columns: dict[str, None] = {}
    records: list[Record] = []
    for path in paths:
        sheet = read_rows(path, tabs_quote=False, longest=LONGEST)
        if not sheet.rows:
            raise LoraJaxError(f"The task file {path} has no rows: fill it or take it away.")
        columns |= dict.fromkeys(sheet.header)
        records += [
            Record(f"{place.capitalize()} of {path}", int(place.split()[1]), cells)
            for place, cells in sheet.rows
        ]
    return Table(list(columns), records)


def as_text(value: Any) -> str | None:
    """Return a cell as text, with numbers as JSON writes them. None if it is neither text nor a number."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, str | int | float) else None


def fields_of(record: Record, answer: str) -> dict[str, str]:
    """Return the columns that a template may name: all that are text or numbers, except the answer."""
    return {
        name: text
        for name, value in record.cells.items()
        if name != answer and (text := as_text(value)) is not None
    }


def note_unread(split: str, table: Table, used: Iterable[str]) -> list[str]:
    """Return a sentence about columns that hold lists or other things that are no text.

    Empty if there are none.
    """
    kinds: dict[str, str] = {}
    for record in table.records:
        for name, value in record.cells.items():
            if name not in used and name not in kinds and value is not None and as_text(value) is None:
                kinds[name] = type(value).__name__
    listed = ", ".join(f"{name!r} ({kind})" for name, kind in kinds.items())
    return [f"columns of {split} that are no text and are not read: {listed}"] if kinds else []


def plain_labels(labels: Iterable[str], source: str) -> dict[str, str]:
    """Return the name of each label, over all labels of a task.

    0.0 and 1.0, as pandas writes them, become 0 and 1.

    Raises:
        LoraJaxError: All labels are numbers and some have fractions, so they are no classes.
    """
    found = {label: label.strip() for label in labels}
    if all(WHOLE.fullmatch(name) for name in found.values()):
        return {label: name.partition(".")[0] for label, name in found.items()}
    fraction = next((name for name in found.values() if not WHOLE.fullmatch(name)), "")
    if all(NUMBER.fullmatch(name) for name in found.values()):
        raise LoraJaxError(
            f"{source} has the label {fraction!r}, a number with a fraction: its labels are measurements, and"
            " lora_jax has classes. Give classes names, such as low and high."
        )
    return found
