"""Steps and batch size beside N and D: which rows are one cell, and in what unit the batch size is.

D = k S B. If k is 1, the batch size counts tokens. If it is another whole number, the batch size counts
sequences of k tokens. If k differs between the rows, one of the three columns is not what its name says.
"""

from collections.abc import Sequence

import numpy as np

from lora_jax.scaling.tables.cells import SAME_COUNT
from lora_jax.scaling.tables.run_table import RunTable

ROUNDED = 2 * SAME_COUNT  # tolerance of ln k, because D, S and B are published with few digits


def letters_apart(variables: Sequence[str]) -> tuple[str, ...]:
    """Return the variable of a law that tells rows of one N and D apart: batch size, else steps, or none.

    One is enough. At one D the steps follow from the batch size.
    """
    return next(((v,) for v in ("B", "S") if v in variables), ())


def tokens_per_unit(table: RunTable) -> float | None:
    """Return k of D = k S B. None if the table lacks one of the three or k differs between its rows."""
    if not all(table.has(v) for v in "DSB"):
        return None
    k = _log_k(table)
    return float(np.exp(np.median(k))) if np.ptp(k) <= ROUNDED else None


def batch_unit(table: RunTable) -> str | None:
    """Return what the batch size counts, such as "tokens" or "sequences of 2048 tokens".

    None if we cannot tell.
    """
    k = tokens_per_unit(table)
    if k is None:
        return None
    if abs(np.log(k)) <= ROUNDED:
        return "tokens"
    return f"sequences of {k:.4g} tokens" if k > 1 else None


def batch_note(table: RunTable, variables: Sequence[str]) -> str | None:
    """Return the note that says in which unit the batch size is.

    None if the law has no batch size or there is a doubt.
    """
    if "B" not in variables or batch_doubt(table, variables) is not None:
        return None
    unit, column = batch_unit(table), table.sources.get("batch_size", "batch_size")
    if unit is not None:
        return f"B, the batch size, counts {unit}: D / (S B) says so."
    return (
        f"B, the batch size, is in the unit of column {column!r}, tokens or sequences: without D and S the"
        " table does not say which."
    )


def batch_doubt(table: RunTable, variables: Sequence[str]) -> str | None:
    """Return the doubt that D is not k S B with one k. None if it is, or if we cannot tell.

    We can tell if the law has the batch size as a variable and the table has D, S and B.
    """
    if "B" not in variables or not all(table.has(v) for v in "DSB"):
        return None
    k = _log_k(table)
    if np.ptp(k) <= ROUNDED:
        middle = float(np.exp(np.median(k)))
        if middle >= np.exp(-ROUNDED):
            return None
        return f"D / (S B) is {middle:.3g} in every run: steps of a batch see more tokens than D counts"
    low, high = int(k.argmin()), int(k.argmax())
    return (
        f"D / (S B) runs from {np.exp(k[low]):.4g} ({table.run_ids[low]}) to {np.exp(k[high]):.4g}"
        f" ({table.run_ids[high]}): n_tokens, n_steps and batch_size do not agree,"
        " or sequences differ in length"
    )


def _log_k(table: RunTable) -> np.ndarray:
    return np.log(table.variable("D") / (table.variable("S") * table.variable("B")))
