"""Conditions on rows, such as "dataset=rpj", "tok_mult>=20", "name!=x", "name~regex" or "size in 1,2,3"."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.number_text import read_number

# longer ones first, because "<=" begins with "<"
OPERATORS = re.compile(r"==|!=|>=|<=|=|<|>|~|\s+in\s+")
ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """One condition on the cells of a column.

    Attributes:
        text: The condition as it was written.
        column: The column.
        operator: One of = != < <= > >= ~ in.
        value: What the cell is compared with.
    """

    text: str
    column: str
    operator: str
    value: str

    def holds(self, cell: str) -> bool:
        """Return whether the condition holds for a cell.

        Two numbers compare as numbers. An empty cell is neither smaller nor larger than anything.
        """
        if self.operator == "~":
            return re.search(self.value, cell) is not None
        if self.operator == "in":
            return any(_equal(cell, value) for value in self.value.split(","))
        if self.operator == "=":
            return _equal(cell, self.value)
        if self.operator == "!=":
            return not _equal(cell, self.value)
        number = _number(cell)
        return number is not None and ORDERS[self.operator](number, _number(self.value) or 0.0)


def parse_condition(text: str, columns: Iterable[str], source: str) -> Condition:
    """Return the condition that a text states about one of the columns.

    A column's name may hold operators or spaces. So we take the first split whose left side is a column.

    Args:
        text: The condition, such as "tok_mult>=20".
        columns: Names of the columns.
        source: Name of the table, for messages.

    Raises:
        LoraJaxError: The column is unknown, the text compares nothing, an order needs a number, or a regular
            expression is faulty.
    """
    known = list(columns)
    splits = [
        (text[: m.start()].strip(), m[0].strip(), text[m.end() :].strip()) for m in OPERATORS.finditer(text)
    ]
    splits = [split for split in splits if split[0]]
    if not splits:
        raise LoraJaxError(
            f"Condition {text!r} compares nothing: write COLUMN=VALUE, or another of != < <= > >= ~ (a"
            " regular expression) and 'in' (values with commas between them)."
        )
    column, sign, value = next((split for split in splits if split[0] in known), splits[0])
    if column not in known:
        raise LoraJaxError(
            f"{source} has no column {column!r}{nearest(column, known)}: mend the condition {text!r}."
        )
    if sign in ORDERS and _number(value) is None:
        raise LoraJaxError(f"Condition {text!r} orders by {value!r}, which is not a number: give one.")
    if sign == "~":
        try:
            re.compile(value)
        except re.error as problem:
            raise LoraJaxError(
                f"Condition {text!r} is no regular expression ({problem}): mend it."
            ) from problem
    return Condition(text, column, "=" if sign == "==" else sign, value)


def first_failing(
    source: str, conditions: Sequence[Condition], n_rows: int, cells: Callable[[Condition], Sequence[str]]
) -> list[Condition | None]:
    """Return the first condition that removes each row, or None for rows that stay.

    Args:
        source: Name of the table, for messages.
        conditions: The conditions, in order.
        n_rows: Number of rows.
        cells: Returns the cells of a condition's column, (n_rows,).

    Raises:
        LoraJaxError: No row stays. The message names the condition that removed the last ones.
    """
    removed: list[Condition | None] = [None] * n_rows
    for condition in conditions:
        before = [i for i in range(n_rows) if removed[i] is None]
        column = cells(condition)
        for i in before:
            if not condition.holds(column[i]):
                removed[i] = condition
        if before and all(removed[i] is not None for i in before):
            values = list(dict.fromkeys(column[i] for i in before))
            shown = ", ".join(_show(v) for v in values[:5]) + (", ..." if len(values) > 5 else "")
            raise LoraJaxError(
                f"{source}: no run is left once the condition {condition.text!r} has removed the last"
                f" {len(before)}, where {condition.column!r} is {shown}: loosen it."
            )
    return removed


def _number(cell: str) -> float | None:
    value = read_number(cell)
    return None if value is None or math.isnan(value) else value


def _show(cell: str) -> str:
    value = _number(cell)
    return repr(cell) if value is None else f"{value:.6g}"


def _equal(a: str, b: str) -> bool:
    x, y = _number(a), _number(b)
    return a.strip() == b.strip() if x is None or y is None else x == y
