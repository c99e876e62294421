"""Where a column came from, in words: the file's own column or a formula, and the convention it follows.

We name a convention only if we know it. We know it for our own counts, and if the name of a column says it.
"""

import re

import numpy as np

from lora_jax.scaling.tables.columns import N_COLUMNS, VARIABLES
from lora_jax.scaling.tables.derive import SHAPED
from lora_jax.scaling.tables.last_steps import RUN_NAMES, simplify
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.wide import GROUP

CONVENTIONS = {
    "n_params": "without embeddings and output head",
    "n_params_with_head": "with the output head",
    "n_params_total": "every weight",
}
NO_EMBEDDINGS = re.compile(r"(non|no|without|wo|excl|ex)_?embed|non_?emb(_|$)")
SIX_ND = "6 N D"
SAME = 0.01  # relative difference up to which C is 6 N D, because sources print few digits


def convention_of(table: RunTable, column: str) -> str | None:
    """Return how the N of a column was counted. None if we do not know.

    We know it for counts from shapes, for tables with all three of our counts under our names (a results
    folder has them), and for columns whose name says it.
    """
    if table.formulas.get(column) == SHAPED:
        return CONVENTIONS.get(column)
    if all(c in table.columns and table.sources.get(c, c) == c for c in N_COLUMNS):
        return CONVENTIONS.get(column)
    name = simplify(table.sources.get(column, column))
    if NO_EMBEDDINGS.search(name):
        return "without embeddings"
    return CONVENTIONS[name] if name in N_COLUMNS[1:] else None


def describe_columns(table: RunTable) -> dict[str, str]:
    """Return where each variable of the table came from, by letter: "column 'Model Size'", "6 N D"."""
    return {v: _describe(table, v) for v in VARIABLES if table.has(v)}


def _describe(table: RunTable, letter: str) -> str:
    column = table.column_of(letter)
    formula, origin = table.formulas.get(column), table.sources.get(column, column)
    if letter == "C" and formula is not None and formula.startswith("6 "):
        return SIX_ND
    words = formula or (column if origin == column else f"column {origin!r}")
    said = convention_of(table, column) if letter == "N" else None
    if letter == "C" and is_six_nd(table):
        said = f"that is {SIX_ND}"
    return words if said is None else f"{words} ({said})"


def is_six_nd(table: RunTable) -> bool:
    """Return whether C is 6 N D in every row of the table."""
    if not all(table.has(v) for v in "NDC"):
        return False
    return bool(np.allclose(table.variable("C"), 6 * table.variable("N") * table.variable("D"), rtol=SAME))


def has_own_compute(table: RunTable) -> bool:
    """Return whether C is the table's own and not computed from its N and D."""
    return table.has("C") and table.column_of("C") not in table.formulas


def loss_name(table: RunTable) -> str:
    """Return what to call the loss: "held-out loss" for our own runs, otherwise "loss"."""
    return "held-out loss" if table.sources.get("loss") == "heldout_loss" else "loss"


def noun_of_units(table: RunTable) -> str:
    """Return a plural noun for the rows that belong together, such as training runs or cells."""
    if table.clusters is None:
        return "cells"
    column = table.cluster_column
    if not column or simplify(column) in RUN_NAMES[:-1]:
        return "training runs"
    named = {"trunk_id": "trunks", GROUP: "rows of the file"}
    return named.get(column, f"values of {column}")


def units_in_words(table: RunTable, letters: tuple[str, ...]) -> str:
    """Return `noun_of_units`, with what is equal within one of them.

    Args:
        table: The runs.
        letters: The variables that make a cell.
    """
    noun, column = noun_of_units(table), table.cluster_column
    if table.clusters is not None:
        return f"{noun} by {column}" if column and noun in ("training runs", "trunks") else noun
    follows = {"C"} if {"N", "D"} <= set(letters) else set()
    known = [v for v in dict.fromkeys(letters) if table.has(v) and v not in follows]
    return f"{noun} of equal {', '.join(known)}"
