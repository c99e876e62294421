"""Groups of a table's rows: the values that some columns take together, and conditions to select them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.names import unique_names
from lora_jax.scaling.tables.columns import VARIABLES
from lora_jax.scaling.tables.number_text import read_number
from lora_jax.scaling.tables.run_table import RunTable

TAKEN = ("figures", "report.html", "groups.json")  # names that stand beside the folders of the groups


@dataclass(frozen=True)
class Group:
    """One group of rows.

    Attributes:
        columns: The columns that the table is divided by.
        values: The group's value in each column, as text.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def conditions(self) -> list[str]:
        """The conditions by which `read_table` reads this group."""
        return [f"{c}={v}" for c, v in zip(self.columns, self.values, strict=True)]

    @property
    def words(self) -> str:
        """The group in words, such as "dataset = rpj"."""
        return ", ".join(f"{c} = {v or '(empty)'}" for c, v in zip(self.columns, self.values, strict=True))


def groups_of(table: RunTable, columns: Sequence[str], cells: Sequence[tuple[str, ...]] = ()) -> list[Group]:
    """Return the groups of the table's rows by their values in these columns, in order of appearance.

    Args:
        table: The runs.
        columns: The columns that divide it.
        cells: The text of these columns in every row of the file. Groups in which every row was left out come
            last.

    Raises:
        LoraJaxError: A column does not exist, or is named twice.
    """
    found: dict[tuple[str | float, ...], tuple[str, ...]] = {}
    for row in (*zip(*_values_of(table, columns), strict=True), *cells):
        found.setdefault(tuple(map(_key, row)), row)
    return [Group(tuple(columns), row) for row in found.values()]


def rows_by(table: RunTable, columns: Sequence[str]) -> dict[Group, np.ndarray]:
    """Return the rows of each group of `groups_of`.

    Raises:
        LoraJaxError: A column does not exist, or is named twice.
    """
    keys = [tuple(map(_key, row)) for row in zip(*_values_of(table, columns), strict=True)]
    return {
        group: np.flatnonzero([key == tuple(map(_key, group.values)) for key in keys])
        for group in groups_of(table, columns)
    }


def _values_of(table: RunTable, columns: Sequence[str]) -> list[Sequence[str]]:
    """Return the text of each column, one for each row."""
    known = [*table.labels, *table.columns]
    values: list[Sequence[str]] = []
    for i, name in enumerate(columns):
        if name in columns[:i]:
            raise LoraJaxError(f"--by names {name!r} twice: name every column once.")
        if name in table.labels:
            values.append(table.labels[name])
        elif name in table.columns or (name in VARIABLES and table.has(name)):
            numbers = table.columns[name] if name in table.columns else table.variable(name)
            values.append([_spell(float(x)) for x in numbers])
        else:
            raise LoraJaxError(
                f"{table.source} has no column {name!r} to divide by{nearest(name, known)}: name one."
            )
    return values


def folder_names(groups: Sequence[Group]) -> list[str]:
    """Return a folder name for each group. Any file system accepts them, and no two differ only in case."""
    return unique_names(["_".join(group.values) for group in groups], TAKEN)


def _key(cell: str) -> str | float:
    """Return the key by which cells are equal: the number if the cell is one, otherwise the text."""
    number = read_number(cell)
    return cell.strip() if number is None else number


def _spell(x: float) -> str:
    return repr(int(x)) if x == int(x) and abs(x) < 1e15 else repr(x)
