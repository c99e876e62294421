"""Make wide tables long.

A wide table has a model in each row and a column for each size, such as `loss@1B`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.columns import VARIABLES
from lora_jax.scaling.tables.number_text import read_number
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.run_table import LeftOut

GROUP = "wide_row"  # the column that names the row of the file. Measurements from one row belong together.
SHOWN = 5  # how many names of columns a message lists


@dataclass(frozen=True)
class Wide:
    r"""Columns that hold `response` at several values of `variable`.

    Numbers in column names may be written 200, 1e9 or 1.3B.

    Attributes:
        variable: One of our names or letters ("finetune_tokens", "F"), or a new one to be mapped.
        response: The name of what the cells hold.
        columns: The columns' names with a * in place of the number ("loss@*"), or a regular expression with
            one group ("^loss_(\d+)$"). None takes the columns whose whole name is a number.
    """

    variable: str
    response: str = "loss"
    columns: str | None = None


def parse_wide(texts: Sequence[str]) -> Wide:
    """Return the `Wide` that ["finetune_tokens=loss"] or ["n_tokens=loss", "loss@*"] describes.

    Raises:
        LoraJaxError: The texts have another form.
    """
    variable, equals, response = texts[0].partition("=")
    if not (variable and equals and response) or len(texts) > 2:
        raise LoraJaxError(
            f"--wide got {' '.join(texts)!r}, it wants VARIABLE=RESPONSE and, where the columns are not named"
            " by bare numbers, their pattern: --wide finetune_tokens=loss, or --wide n_tokens=loss 'loss@*'."
        )
    variable, response = (VARIABLES.get(name, name) for name in (variable, response))
    return Wide(variable, response, texts[1] if len(texts) > 1 else None)


def read_size(text: str) -> float | None:
    """Return the number that a name states, such as 200, 1e9, 1.3B or 1_000. None if it states none."""
    if not text.strip()[:1].isdigit() and not text.strip().startswith("."):
        return None
    return read_number(text, even_unclear=True)


def melt(
    source: str, header: Sequence[str], rows: Rows, wide: Wide, name: str | None = None
) -> tuple[list[str], Rows, list[LeftOut]]:
    """Turn a wide table into one with a measurement in each row.

    A row gets `variable`, `response`, `run_id` ("MODEL @ SIZE"), `wide_row` (MODEL), and every other cell of
    its row.

    Args:
        source: Name of the table, for messages.
        header: Names of the columns.
        rows: The rows of the file.
        wide: Which columns to gather.
        name: The column that names a model. None takes the first of run_id, name and the like, else the first
            column of text that never repeats.

    Returns:
        The header, the rows, and the cells that are no measurement. These are cells without a value, and
        cells at size 0, where a law in that size has no point.

    Raises:
        LoraJaxError: `columns` matches no column, or a name is taken.
    """
    sizes = _sizes_of(source, header, wide)
    others = [column for column in header if column not in sizes]
    for taken in (wide.variable, wide.response):
        if taken in others:
            raise LoraJaxError(
                f"{source} has a column {taken!r} beside those that --wide gathers: name it otherwise, as"
                f" --wide {wide.variable}_at={wide.response}_at, and map these by --map."
            )
    names = _names_of(rows, others, name)
    kept: Rows = []
    gone: list[LeftOut] = []
    for (place, row), model in zip(rows, names, strict=True):
        rest = {column: row.get(column, "") for column in others}
        for column, size in sizes.items():
            cell = (row.get(column) or "").strip()
            added = {
                "run_id": f"{model} @ {column}",
                GROUP: model,
                wide.variable: repr(size),
                wide.response: cell,
            }
            if size > 0 and cell:
                kept.append((place, rest | added))
            else:
                reason = _zero(wide.variable) if not size > 0 else f"no {wide.response} at {column}"
                gone.append(LeftOut(added["run_id"], reason, rest | added))
    if not kept:
        raise LoraJaxError(f"{source} has no value in the columns that --wide gathers: name others.")
    return list(kept[0][1]), kept, gone


def _zero(variable: str) -> str:
    return "not fine-tuned: the set's size is 0" if variable == "finetune_tokens" else f"{variable} is 0"


def _sizes_of(source: str, header: Sequence[str], wide: Wide) -> dict[str, float]:
    """Return the gathered columns, each with the number that its name states."""
    read = _reader(wide)
    found = {column: size for column in header if (size := read(column)) is not None}
    if not found:
        shown = ", ".join(repr(c) for c in header[:SHOWN]) + (", ..." if len(header) > SHOWN else "")
        wanted = "named by a number" if wide.columns is None else f"named as {wide.columns!r} with a number"
        close = "" if wide.columns is None else nearest(wide.columns.replace("*", ""), header)
        raise LoraJaxError(
            f"{source} has no column {wanted}{close or f' (it has {shown})'}: give --wide the pattern of"
            " their names, such as 'loss@*'."
        )
    return found


def _reader(wide: Wide) -> Callable[[str], float | None]:
    if wide.columns is None:
        return read_size
    if "*" in wide.columns and "(" not in wide.columns:
        before, _, after = wide.columns.partition("*")
        pattern = re.compile(f"{re.escape(before)}(.+){re.escape(after)}")
    else:
        try:
            pattern = re.compile(wide.columns)
        except re.error as problem:
            raise LoraJaxError(
                f"--wide {wide.columns!r} is no regular expression ({problem}): mend it, or write a * where"
                " the number stands."
            ) from problem
        if pattern.groups != 1:
            raise LoraJaxError(
                f"--wide {wide.columns!r} says not where the number stands: write a * there, or a regular"
                " expression with one group."
            )

    def read(column: str) -> float | None:
        found = pattern.fullmatch(column) or (pattern.search(column) if "(" in str(wide.columns) else None)
        return None if found is None else read_size(found[1])

    return read


def _names_of(rows: Rows, others: Sequence[str], name: str | None) -> list[str]:
    """Return a name for each row of the file, from the column `name`, else from the first that differs."""
    for column in [name] if name is not None else _by_likeness(others):
        cells = [(row.get(column) or "").strip() for _, row in rows]
        if name is not None or (
            all(cells) and len(set(cells)) == len(cells) and not all(map(read_size, cells))
        ):
            return cells
    return [place for place, _ in rows]


def _by_likeness(columns: Sequence[str]) -> list[str]:
    usual = ("run_id", "run_name", "name", "model", "run")
    return sorted(columns, key=lambda c: usual.index(c.lower()) if c.lower() in usual else len(usual))
