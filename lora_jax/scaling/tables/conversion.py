"""Columns of the file as columns of ours: which is which, and their cells in our units."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lora_jax.scaling.tables.number_text import read_count
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.units import Unit


class File(NamedTuple):
    """A table as its file holds it; source: its name in sentences."""

    source: str
    header: list[str]
    rows: Rows


@dataclass
class Naming:
    """rename: our name -> the file's. mapped: our names that a mapping says. units: of those of our columns
    that have others than ours in the file. known: what was found by other names than ours, in words. notes:
    what a reader has to know of it. doubts: what a reader has to confirm.
    """

    rename: dict[str, str]
    mapped: set[str] = field(default_factory=set)
    units: dict[str, Unit] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def convert(cell: str, unit: Unit) -> str:
    """Return a cell in our unit, or as it is where it is no number.

    A cell with a suffix, "7B" under "params (M)", is in the unit that its suffix says.
    """
    number = read_count(cell)
    if number is None:
        return cell
    return repr(number if cell[-1:].isalpha() else float(unit.value(number)))


def convert_columns(file: File, naming: Naming) -> tuple[File, Naming]:
    """Return the file with a column more for each of ours in another unit, called as a mapping writes it."""
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
