"""Read the rows of a table of runs: cells as stripped text, with numbers as Python writes them."""

from pathlib import Path
from typing import NamedTuple

from lora_jax import rows
from lora_jax.scaling.tables.spelling import Rows, respell_rows

__all__ = ["Rows", "Sheet", "read_rows"]


class Sheet(NamedTuple):
    """The rows of a table as the file has them.

    Attributes:
        header: Names of the columns.
        rows: For each row, its place in the file, such as "line 3", and its cells by column name, stripped.
        notes: What we read differently from how it is written.
        unclear: By column, a cell that is one number with a decimal point and another with a decimal comma.
    """

    header: list[str]
    rows: Rows
    notes: list[str]
    unclear: dict[str, str]


def read_rows(file: Path) -> Sheet:
    """Return the columns' names and the rows of a file. Numbers come as Python writes them (spelling.py).

    Raises:
        LoraJaxError: As `lora_jax.rows.read_rows` raises it.
    """
    found = rows.read_rows(file)
    cells = [
        (place, {name: "" if value is None else str(value).strip() for name, value in row.items()})
        for place, row in found.rows
    ]
    cells, said, unclear = respell_rows(found.header, cells, found.delimiter == ";")
    return Sheet(found.header, cells, found.notes + said, unclear)
