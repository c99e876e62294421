"""A file's columns as our columns: which is which, and their cells in our units."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lora_jax.scaling.tables.number_text import read_count
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.units import Unit


class File(NamedTuple):
    """A table as its file holds it.

    Attributes:
        source: Its name, for messages.
        header: Names of the columns.
        rows: For each row, its place in the file and its cells.
    """

    source: str
    header: list[str]
    rows: Rows


@dataclass
class Naming:
    """Which column of a file is which of ours.

    Attributes:
        rename: For each of our names, the file's.
        mapped: Our names that the user mapped.
        units: Units of our columns that the file counts otherwise.
        known: Columns that we found under other names than ours, in words.
        notes: What a reader should know about it.
        doubts: What a reader should confirm.
    """

    rename: dict[str, str]
    mapped: set[str] = field(default_factory=set)
    units: dict[str, Unit] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def convert(cell: str, unit: Unit) -> str:
    """Return a cell in our unit. A cell that is no number stays as it is.

    If a cell has a suffix, such as "7B" under "params (M)", the suffix gives the unit.
    """
    number = read_count(cell)
    if number is None:
        return cell
    return repr(number if cell[-1:].isalpha() else float(unit.value(number)))


def convert_columns(file: File, naming: Naming) -> tuple[File, Naming]:
    """Add a column in our unit for each of our columns that the file counts otherwise.

    The new columns are named as a mapping would write them, such as "params (M)*1e6".
    """
    names = {ours: unit.formula(naming.rename[ours]) for ours, unit in naming.units.items()}
    if not names:
        return file, naming
    more: Rows = []
    for place, row in file.rows:
        cells = {
            new: convert(row.get(naming.rename[ours], ""), naming.units[ours]) for ours, new in names.items()
        }
        more.append((place, row | cells))
    converted = replace(naming, rename=naming.rename | names)
    return File(file.source, [*file.header, *names.values()], more), converted
